"""The loop over a dataset: decode ahead, analyse, write, count; one bad image stops nothing."""

import collections
import concurrent.futures
import contextlib
import dataclasses
import itertools
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tqdm

from experiments.datasets.records import Record
from experiments.harness import truth
from experiments.harness.backbone import Backbone, Features
from experiments.harness.files import OutputError
from experiments.harness.store import Store
from experiments.harness.writers import Writers
from specjax import images
from specjax.errors import UserError

# Images decoded ahead of the one in work.
_AHEAD = 4


@dataclasses.dataclass(frozen=True)
class Example:
    """An image ready for analysis.

    Attributes:
        id: the record's.
        position: the record's place in the run, from 0.
        source: the record's image file.
        image: uint8 [H, W, 3] at its native size.
        features: of the image, or of its resized version.
        truth: the annotation on the token grid; None without annotation.
        instances: the annotation at image resolution; None without annotation.
    """

    id: str
    position: int
    source: str
    image: np.ndarray
    features: Features
    truth: truth.Truth | None
    instances: np.ndarray | None


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What an analysis says of one image under one setting.

    Attributes:
        line: for `per_image.jsonl`; `id` and `setting` are added.
        labels: int [tokens], 0 background.
        foreground: bool [tokens].
        maps: [segments, tokens] eigensegments; None where there are none.
    """

    line: Mapping[str, Any]
    labels: np.ndarray
    foreground: np.ndarray
    maps: np.ndarray | None = None


class Stopwatch:
    """Seconds per stage of this process."""

    def __init__(self):
        self.seconds: dict[str, float] = collections.defaultdict(float)

    @contextlib.contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Count the time inside under `stage`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] += time.perf_counter() - start


# From an example and the settings that are missing to an outcome for each of them.
Analyse = Callable[[Example, Sequence[str]], Mapping[str, Outcome]]


@dataclasses.dataclass
class Progress:
    """What became of the images of a run so far."""

    visited: list[str] = dataclasses.field(default_factory=list)
    failures: list[dict[str, str]] = dataclasses.field(default_factory=list)


def process(
    records: Iterable[Record],
    backbone: Backbone,
    store: Store,
    writers: Writers,
    settings: Sequence[str],
    analyse: Analyse,
    *,
    image_size: int | None,
    watch: Stopwatch,
    total: int | None = None,
    first: int = 0,
    step: int = 1,
) -> Progress:
    """Bring every record up to date under every setting.

    A record whose lines and files are all there is skipped unread. A record that fails is
    reported and left for the next run. The records' places in the run are `first`,
    `first + step`, ...

    Raises:
        OutputError: results cannot be written; those of earlier records are kept.
    """
    progress = Progress()
    bar = tqdm.tqdm(total=total, unit=" images", disable=None, dynamic_ncols=True)
    with bar, concurrent.futures.ThreadPoolExecutor(2) as pool:
        placed = zip(itertools.count(first, step), records, strict=False)
        missing = _missing(placed, store, writers, settings, progress, bar)
        for record, position, undone, decoding in _ahead(pool, missing, image_size):
            try:
                with watch("decode"):
                    image, resized, instances = decoding.result()
                with watch("backbone"):
                    features = backbone.features(record.id, resized)
                example = _example(record, position, image, instances, features)
                outcomes = analyse(example, undone)
                with watch("write"):
                    for setting, outcome in outcomes.items():
                        writers.write(example, setting, outcome)
                    store.lines.append(
                        {"id": record.id, "setting": setting, **outcome.line}
                        for setting, outcome in outcomes.items()
                    )
            except OutputError:
                raise
            except UserError as error:
                progress.failures.append({"id": record.id, "error": str(error)})
                tqdm.tqdm.write(f"skipped {record.id}: {error}", file=sys.stderr)
            bar.update()
    return progress


def _missing(placed, store, writers, settings, progress, bar):
    """Records with work left, each with its place in the run and the settings that it lacks."""
    for position, record in placed:
        progress.visited.append(record.id)
        undone = [
            setting
            for setting in settings
            if store.lines.get(record.id, setting) is None
            or writers.lack(record.id, position, setting)
        ]
        if undone:
            yield record, position, undone
        else:
            bar.update()


def _ahead(pool, missing, image_size):
    """Start decoding a few records before they are needed."""
    waiting = collections.deque()
    for record, position, undone in missing:
        waiting.append((record, position, undone, pool.submit(_decode, record, image_size)))
        if len(waiting) > _AHEAD:
            yield waiting.popleft()
    yield from waiting


def _decode(record: Record, image_size: int | None):
    image = record.read_image()
    instances = None if record.read_instances is None else record.read_instances()
    if instances is not None:
        truth.check_size(instances, image, record.source)
    resized = image
    if image_size is not None:
        resized = images.resize_short_side(image, image_size, name=record.source)
    return image, resized, instances


def _example(record, position, image, instances, features) -> Example:
    sampled = None
    if instances is not None:
        sampled = truth.on_grid(instances, features.grid, features.array.shape[0])
    return Example(record.id, position, record.source, image, features, sampled, instances)
