"""The loop over a dataset: batch, analyse, write; one bad image stops nothing."""

import collections
import concurrent.futures
import contextlib
import dataclasses
import functools
import itertools
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import tqdm

from experiments.datasets.records import Record
from experiments.loop import reading, truth
from experiments.loop.backbone import Backbone, Features
from experiments.loop.batches import Batch, Lanes
from experiments.loop.reading import Pairs, Work
from experiments.runs.store import Store
from experiments.runs.writers import Writers
from specjax._folder import OutputError
from specjax.errors import SpecjaxError

_END = object()


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
    """Seconds per stage of this process, whichever thread they pass in."""

    def __init__(self):
        self.seconds: dict[str, float] = collections.defaultdict(float)
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Count the time inside under `stage`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            with self._lock:
                self.seconds[stage] += time.perf_counter() - start

    def each(self, stage: str, items: Iterable[Any]) -> Iterator[Any]:
        """The items; the time until each is there counts under `stage`."""
        iterator = iter(items)
        while True:
            with self(stage):
                item = next(iterator, _END)
            if item is _END:
                return
            yield item


@dataclasses.dataclass(frozen=True)
class Group:
    """Images that are analysed together.

    Attributes:
        examples: one per image.
        batch: where they are.
        features: [rows, tokens, C] of the batch.
        grids: int32 [rows, 2].
    """

    examples: Sequence[Example]
    batch: Batch
    features: jax.Array
    grids: jax.Array


# Outcomes by setting, of each image of a group.
Outcomes = list[Mapping[str, Outcome]]
# From a group and the settings that are missing to a call that gives the outcomes: it is made in
# another thread, while the next group is in work.
Analyse = Callable[[Group, Sequence[str]], Callable[[], Outcomes]]


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
    lanes: Lanes,
    total: int | None = None,
    first: int = 0,
    step: int = 1,
) -> Progress:
    """Bring every record up to date under every setting.

    A record whose lines and files are all there is skipped unread. A record that fails is
    reported and left for the next run. The records' places in the run are `first`,
    `first + step`, ... Lines are added batch by batch.

    Raises:
        OutputError: results cannot be written; those of earlier records are kept.
    """
    progress = Progress()
    with tqdm.tqdm(total=total, unit=" images", disable=None, dynamic_ncols=True) as bar:
        tally = _Tally(bar)
        placed = zip(itertools.count(first, step), records, strict=False)
        missing = _missing(placed, store, writers, settings, progress, tally)
        decode = functools.partial(reading.decode, backbone=backbone, image_size=image_size)
        groups = watch.each("decode", reading.groups(missing, decode, lanes, tally.failed))
        write = functools.partial(_write, store, writers, watch, tally)
        last = None
        with concurrent.futures.ThreadPoolExecutor(1) as writer:
            for pairs in groups:
                works, group = _extracted(pairs, backbone, lanes, watch, tally)
                if not works:
                    continue
                outcomes = analyse(group, works[0].undone)
                # One group is written while the next is in work, and no more wait.
                if last is not None:
                    last.result()
                last = writer.submit(write, works, group, outcomes)
            if last is not None:
                last.result()
    progress.failures = tally.failures()
    return progress


class _Tally:
    """What is done and what failed, told by several threads."""

    def __init__(self, bar: tqdm.tqdm):
        self._bar = bar
        self._failures: dict[int, dict[str, str]] = {}
        self._lock = threading.Lock()

    def done(self) -> None:
        """An image is finished."""
        with self._lock:
            self._bar.update()

    def failed(self, work: Work, error: SpecjaxError) -> None:
        """An image is finished with, for now."""
        with self._lock:
            self._failures[work.position] = {"id": work.record.id, "error": str(error)}
            tqdm.tqdm.write(f"skipped {work.record.id}: {error}", file=sys.stderr)
            self._bar.update()

    def failures(self) -> list[dict[str, str]]:
        """What failed, in the order of the stream."""
        return [self._failures[position] for position in sorted(self._failures)]


def _missing(placed, store, writers, settings, progress, tally) -> Iterator[Work]:
    """Records with work left."""
    for position, record in placed:
        progress.visited.append(record.id)
        undone = tuple(
            setting
            for setting in settings
            if store.lines.get(record.id, setting) is None
            or writers.lack(record.id, position, setting)
        )
        if undone:
            yield Work(record, position, undone)
        else:
            tally.done()


def _extracted(
    pairs: Pairs, backbone: Backbone, lanes: Lanes, watch: Stopwatch, tally: _Tally
) -> tuple[Sequence[Work], Group | None]:
    """The images with their features; one whose features are not finite fails."""
    while pairs:
        works, found = zip(*pairs, strict=True)
        with watch("backbone"):
            prepared = [one.prepared for one in found]
            batch = Batch(lanes, len(pairs), prepared[0].tokens)
            features, finite = backbone.extract(batch, prepared)
            jax.block_until_ready(features)
        if all(finite):
            examples = [
                Example(
                    work.record.id, work.position, work.record.source, one.image,
                    dataclasses.replace(one.prepared, source=features, row=row),
                    one.truth, one.instances,
                )
                for work, one, row in zip(works, found, batch.rows, strict=True)
            ]  # fmt: skip
            grids = batch.stack([np.asarray(one.grid, np.int32) for one in prepared])
            return works, Group(examples, batch, features, grids)
        for work, fine in zip(works, finite, strict=True):
            if not fine:
                problem = "the backbone gave features that are not finite"
                tally.failed(work, SpecjaxError(f"{work.record.id}: {problem}"))
        pairs = [pair for pair, fine in zip(pairs, finite, strict=True) if fine]
    return (), None


def _write(store, writers, watch, tally, works, group: Group, outcomes_of) -> None:
    """Write what was found of a group."""
    found = outcomes_of()
    with watch("write"):
        for work, example, outcomes in zip(works, group.examples, found, strict=True):
            try:
                for setting, outcome in outcomes.items():
                    writers.write(example, setting, outcome)
                store.lines.append(
                    {"id": example.id, "setting": setting, **outcome.line}
                    for setting, outcome in outcomes.items()
                )
            except OutputError:
                raise
            except SpecjaxError as error:
                tally.failed(work, error)
            else:
                tally.done()
