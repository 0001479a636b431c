"""What an image is in a run: a task, then an example, read and cut, in the end its outcomes."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from experiments.datasets import truth
from experiments.datasets.records import Record
from experiments.datasets.truth import Truth
from experiments.loop.backbone import Backbone, Inputs
from specjax import SpecjaxError, resize_short_side
from specjax._batching import Lanes
from specjax._reading import gather, read_ahead

# Examples that wait at most for a batch of their length to fill, in batches of the largest size.
_WAITING_BATCHES = 4


@dataclasses.dataclass(frozen=True)
class Task:
    """A record that is not done yet, its place in the run, and the settings that it lacks."""

    place: int
    record: Record
    undone: tuple[str, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Example:
    """A record that was read.

    `image` is uint8 [H, W, 3] at its native size; `instances` is the annotation at that size and
    `truth` the same on the token grid, both None without annotation; `inputs` is what the backbone
    makes features of; `undone` are the settings that the record lacks.
    """

    id: str
    place: int
    source: str
    image: np.ndarray
    instances: np.ndarray | None
    truth: Truth | None
    inputs: Inputs
    undone: tuple[str, ...]

    @property
    def tokens(self) -> int:
        """Padded length of every array over the example's tokens."""
        return len(self.inputs.values)

    @property
    def nbytes(self) -> int:
        """Memory that it takes."""
        arrays = (self.image, self.inputs.values, self.instances)
        return sum(array.nbytes for array in arrays if array is not None)


@dataclasses.dataclass(frozen=True, eq=False)
class Outcome:
    """What was found in one image under one setting."""

    line: Mapping[str, Any]  # for `per_image.jsonl`; `id` and `setting` are added
    labels: np.ndarray  # int [tokens], 0 background
    foreground: np.ndarray  # bool [tokens]
    maps: np.ndarray | None = None  # [segments, tokens] eigensegments, where there are any


Examples = Sequence[Example]  # of a batch
# Outcomes by setting, of each image of a batch; and a call that brings them from the devices, which
# another thread makes while the next batch is computed.
Outcomes = list[dict[str, Outcome]]
Pending = Callable[[], Outcomes]


def read(task: Task, *, backbone: Backbone, image_size: int | None) -> Example:
    """Read a record, resize its image, and prepare it for the backbone."""
    record = task.record
    image = record.read_image()
    instances = None if record.read_instances is None else record.read_instances()
    if instances is not None:
        truth.check_size(instances, image, record.source)
    resized = image
    if image_size is not None:
        resized = resize_short_side(image, image_size, name=record.source)
    inputs = backbone.prepare(record.id, resized)
    on_grid = None
    if instances is not None:
        on_grid = truth.on_grid(instances, inputs.tiling.grid, len(inputs.values))
    return Example(
        record.id, task.place, record.source, image, instances, on_grid, inputs, task.undone
    )


def batches(
    tasks: Iterable[Task],
    read: Callable[[Task], Example],
    lanes: Lanes,
    failed: Callable[[int, str, SpecjaxError], None],
) -> Iterator[list[Example]]:
    """Examples of one padded length and with the same left to do, a batch of them at a time.

    Examples are read ahead. Of a record that cannot be read `failed` gets place, id and reason.
    """

    def readable() -> Iterator[Example]:
        for task, found in read_ahead(tasks, read):
            if isinstance(found, SpecjaxError):
                failed(task.place, task.record.id, found)
            else:
                yield found

    return gather(
        readable(),
        key=lambda example: (example.tokens, example.undone),
        room=lambda example: lanes.room_for(example.tokens),
        nbytes=lambda example: example.nbytes,
        most=_WAITING_BATCHES * lanes.most,
    )
