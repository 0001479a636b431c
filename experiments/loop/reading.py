"""The forms of an image in a run: a task, then an example (read and cut), then its outcomes."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from experiments.datasets import truth
from experiments.datasets.records import Origin, Record
from experiments.datasets.truth import Truth
from experiments.loop.backbone import Backbone, Inputs
from experiments.runs.sources import Sources
from specjax import SpecjaxError, resize_short_side
from specjax._batching import Lanes
from specjax._reading import gather, read_ahead

# Limit on the examples that wait for a full batch of their length, in batches of the largest size.
_WAITING_BATCHES = 4


@dataclasses.dataclass(frozen=True)
class Task:
    """A record that is not done yet, its place in the run, and the settings still to do.

    `alone` asks for a batch of its own.
    """

    place: int
    record: Record
    undone: tuple[str, ...]
    alone: bool = False


@dataclasses.dataclass(frozen=True, eq=False)
class Example:
    """A record after reading.

    `image` is uint8 [H, W, 3] at its native size. `instances` is the annotation at that size and
    `truth` is the annotation on the token grid; both are None without annotation. `inputs` is what
    the backbone computes features from, `undone` are the settings still to do, `alone` asks for a
    batch of its own. `notes` counts what reading passed over (`experiments.datasets.notes`), `read`
    are the versions of the files that all of it was read from.
    """

    id: str
    place: int
    source: str
    image: np.ndarray
    instances: np.ndarray | None
    truth: Truth | None
    inputs: Inputs
    undone: tuple[str, ...]
    origin: Origin | None = None
    notes: Mapping[str, int] = dataclasses.field(default_factory=dict)
    read: Sequence[str] = ()
    alone: bool = False

    @property
    def tokens(self) -> int:
        """The padded length of every array over the example's tokens."""
        return len(self.inputs.values)

    @property
    def nbytes(self) -> int:
        """The memory that the example takes, in bytes."""
        arrays = (self.image, self.inputs.values, self.instances)
        return sum(array.nbytes for array in arrays if array is not None)


@dataclasses.dataclass(frozen=True, eq=False)
class Outcome:
    """The results for one image under one setting."""

    line: Mapping[str, Any]  # for `per_image.jsonl`; `id` and `setting` are added
    labels: np.ndarray  # int [tokens], 0 background
    foreground: np.ndarray  # bool [tokens]
    maps: np.ndarray | None = None  # [segments, tokens] eigensegments, if there are any


Examples = Sequence[Example]  # of a batch
# The outcomes of each image of a batch, by setting; and a function that fetches them from the
# devices, which another thread calls while the next batch is computed.
Outcomes = list[dict[str, Outcome]]
Pending = Callable[[], Outcomes]


def read(task: Task, *, sources: Sources, backbone: Backbone, image_size: int | None) -> Example:
    """Read a record, resize its image, and prepare it for the backbone."""
    record = task.record
    versions = sources.versions(record.id)  # first: files that change meanwhile are read again
    image, instances = truth.read_both(record)
    resized = image
    if image_size is not None:
        resized = resize_short_side(image, image_size, name=record.source)
    inputs = backbone.prepare(record.id, resized)
    on_grid = None
    if instances is not None:
        on_grid = truth.on_grid(instances, inputs.tiling.grid, len(inputs.values))
    return Example(
        id=record.id,
        place=task.place,
        source=record.source,
        image=image,
        instances=instances,
        truth=on_grid,
        inputs=inputs,
        undone=task.undone,
        origin=record.origin,
        notes=record.notes,
        read=versions,
        alone=task.alone,
    )


def batches(
    tasks: Iterable[Task],
    read: Callable[[Task], Example],
    lanes: Lanes,
    failed: Callable[[int, str, SpecjaxError], None],
) -> Iterator[list[Example]]:
    """Batches of examples that have one padded length and the same settings to do.

    Examples are read ahead. `failed` is called with the place, the id and the error of each record
    that cannot be read.
    """

    def readable() -> Iterator[Example]:
        for task, found in read_ahead(tasks, read):
            if isinstance(found, SpecjaxError):
                failed(task.place, task.record.id, found)
            else:
                yield found

    return gather(
        readable(),
        key=lambda example: (example.tokens, example.undone, example.alone),
        room=lambda example: 1 if example.alone else lanes.room_for(example.tokens),
        nbytes=lambda example: example.nbytes,
        most=_WAITING_BATCHES * lanes.most,
    )
