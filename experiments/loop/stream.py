"""The loop over the records of a run; a bad image fails alone."""

import concurrent.futures
import dataclasses
import functools
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence

import jax
import tqdm

from experiments.datasets.records import Record
from experiments.loop import reading
from experiments.loop.backbone import Features, features_of
from experiments.loop.experiment import Experiment, Setup
from experiments.loop.reading import Example, Pending, Task
from experiments.loop.writers import Writers
from experiments.runs.folder import RunFolder
from specjax import SpecjaxError
from specjax._batching import Lanes
from specjax._flags import with_flag
from specjax._folder import OutputError


@dataclasses.dataclass(frozen=True)
class Stream:
    """Takes the records of a run from reading to writing."""

    setup: Setup
    experiment: Experiment
    folder: RunFolder
    writers: Writers
    lanes: Lanes

    def process(
        self, records: Iterable[tuple[int, Record]], *, total: int | None = None
    ) -> "Progress":
        """Complete every record, given with its place in the run, under every setting.

        A record whose lines and files all exist is skipped unread, if the files that it was read
        from have not changed. The others are read ahead and gathered into batches. For each batch
        the features are computed, then the experiment's outcomes, which are written while the next
        batch is computed. A record that fails is reported and left for the next run.

        Raises:
            OutputError: results cannot be written; those of earlier records are kept.
        """
        read = functools.partial(
            reading.read,
            sources=self.folder.sources,
            backbone=self.setup.backbone,
            image_size=self.setup.options.image_size,
        )
        with Progress(total) as progress, concurrent.futures.ThreadPoolExecutor(1) as writer:
            written: concurrent.futures.Future | None = None
            tasks = self._tasks(records, progress)
            batches = reading.batches(tasks, read, self.lanes, progress.failed)
            for batch in self.setup.watch.waiting_for("decode", batches):
                examples, features = self._features(batch, progress)
                if features is None:
                    continue
                undone = examples[0].undone
                outcomes = self.experiment.analyse(examples, features, undone)
                if written is not None:
                    written.result()  # at most one batch waits to be written
                written = writer.submit(self._write, examples, features, outcomes, progress)
            if written is not None:
                written.result()
        return progress

    def _tasks(self, records: Iterable[tuple[int, Record]], progress: "Progress") -> Iterator[Task]:
        """The records with something left to do."""
        for place, record in records:
            progress.visited.append(record.id)
            self._remove_outdated(record.id)
            undone = tuple(
                setting
                for setting in self.experiment.settings
                if self.folder.lines.get(record.id, setting) is None
                or self.writers.lack(record.id, place, setting)
            )
            if undone:
                yield Task(place, record, undone)
            else:
                progress.done()

    def _remove_outdated(self, image_id: str) -> None:
        """Delete what was made from earlier versions of the files of an image."""
        lines = self.folder.lines
        for setting in lines.settings():
            if lines.outdated(image_id, setting):
                self.writers.remove(image_id, setting)

    def _features(
        self, examples: Sequence[Example], progress: "Progress"
    ) -> tuple[Sequence[Example], Features | None]:
        """The examples with their features; an example whose features are not finite fails."""
        while examples:
            with self.setup.watch("backbone"):
                inputs = [example.inputs for example in examples]
                features, finite = features_of(inputs, self.setup.backbone, self.lanes)
                jax.block_until_ready(features.values)
            if all(finite):
                return examples, features
            for example, is_finite in zip(examples, finite, strict=True):
                if not is_finite:
                    problem = f"{example.id}: the backbone returned features that are not finite"
                    progress.failed(example.place, example.id, SpecjaxError(problem))
            examples = [
                example for example, is_finite in zip(examples, finite, strict=True) if is_finite
            ]
        return examples, None

    def _write(
        self,
        examples: Sequence[Example],
        features: Features,
        pending: Pending,
        progress: "Progress",
    ) -> None:
        """Write the outcomes of a batch."""
        found = pending()
        with self.setup.watch("write"):
            for number, (example, outcomes) in enumerate(zip(examples, found, strict=True)):
                of_image = functools.partial(features.of, number)
                try:
                    for setting, outcome in outcomes.items():
                        self.writers.write(example, setting, outcome, of_image)
                    notes = {"notes": dict(example.notes)} if example.notes else {}
                    self.folder.lines.append(
                        {
                            "id": example.id,
                            "setting": setting,
                            **outcome.line,
                            "read": example.read,
                            **notes,
                        }
                        for setting, outcome in outcomes.items()
                    )
                except OutputError:
                    raise
                except SpecjaxError as error:
                    progress.failed(example.place, example.id, error)
                else:
                    progress.done()


class Progress:
    """The images done and failed so far, and a progress bar; several threads report to it.

    Attributes:
        visited: the ids of images, in the order of the stream.
    """

    def __init__(self, total: int | None):
        self.visited: list[str] = []
        self._bar = tqdm.tqdm(total=total, unit=" images", disable=None, dynamic_ncols=True)
        self._failures: dict[int, dict[str, str]] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def done(self) -> None:
        """Report that an image is finished."""
        with self._lock:
            self._bar.update()

    def failed(self, place: int, image_id: str, error: SpecjaxError) -> None:
        """Report that an image failed in this run."""
        reason = with_flag(error)
        with self._lock:
            self._failures[place] = {"id": image_id, "error": reason}
            tqdm.tqdm.write(f"skipped {image_id}: {reason}", file=sys.stderr)
            self._bar.update()

    @property
    def failures(self) -> list[dict[str, str]]:
        """The failures, in the order of the stream."""
        return [self._failures[place] for place in sorted(self._failures)]
