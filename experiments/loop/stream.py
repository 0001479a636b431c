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
from specjax._in_work import InWork
from specjax._memory import in_smaller_parts, is_out_of_memory


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
        with (
            InWork(self.folder.in_work_path) as in_work,
            Progress(total, in_work) as progress,
            concurrent.futures.ThreadPoolExecutor(1) as writer,
        ):
            written: _Written | None = None
            tasks = self._tasks(records, progress)
            batches = reading.batches(tasks, read, self.lanes, progress.failed)
            for batch in self.setup.watch.waiting_for("decode", batches):
                if batch[0].alone:  # so that a killed process is its doing
                    self._alone(_unwritten(written), progress)
                    written = None
                    self._alone(batch, progress)
                    continue
                try:
                    computed = self._compute(batch, progress)
                except Exception as error:
                    if not is_out_of_memory(error):
                        raise
                    computed = None
                unwritten = _unwritten(written)  # at most one batch waits to be written
                written = None
                self._alone(unwritten, progress)
                if computed is None:
                    self._alone(batch, progress)
                else:
                    written = batch, writer.submit(self._write, *computed, progress)
            unwritten = _unwritten(written)
            written = None
            self._alone(unwritten, progress)
        return progress

    def _compute(self, batch: Sequence[Example], progress: "Progress") -> "_Computed":
        """The examples of a batch that have features, these, and the outcomes to fetch."""
        progress.begin(example.id for example in batch)
        examples, features = self._features(batch, progress)
        if features is None:
            return (), None, list
        return examples, features, self.experiment.analyse(examples, features, batch[0].undone)

    def _alone(self, batch: Sequence[Example], progress: "Progress") -> None:
        """Compute and write the examples of a batch for which memory ran out, now alone."""

        def complete(part: Sequence[Example]) -> None:
            left = [example for example in part if not progress.knows(example.place)]
            if left:
                self._write(*self._compute(left, progress), progress)

        for part, found in in_smaller_parts(batch, complete) if batch else ():
            if isinstance(found, SpecjaxError):
                progress.failed(part[0].place, part[0].id, found)

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
            refusal = progress.in_work.refusal(record.id) if undone else None
            if refusal:
                progress.failed(place, record.id, refusal)
            elif undone:
                yield Task(place, record, undone, progress.in_work.is_suspect(record.id))
            else:
                progress.done(place, record.id)

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
        features: Features | None,
        pending: Pending,
        progress: "Progress",
    ) -> None:
        """Write the outcomes of a batch."""
        found = pending()
        if features is None:
            return
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
                            "source": example.source,
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
                    progress.done(example.place, example.id)


# What `Stream._write` writes, and a batch that it is writing.
_Computed = tuple[Sequence[Example], Features | None, Pending]
_Written = tuple[Sequence[Example], concurrent.futures.Future]


def _unwritten(written: _Written | None) -> Sequence[Example]:
    """Wait until a batch is written; returns its examples if memory ran out."""
    if written is None:
        return ()
    batch, writing = written
    try:
        writing.result()
    except Exception as error:
        if is_out_of_memory(error):
            return batch
        raise
    return ()


class Progress:
    """The images done and failed so far, and a progress bar; several threads report to it.

    Attributes:
        visited: the ids of images, in the order of the stream.
        in_work: the images in work, on disk.
    """

    def __init__(self, total: int | None, in_work: InWork):
        self.visited: list[str] = []
        self.in_work = in_work
        self._bar = tqdm.tqdm(total=total, unit=" images", disable=None, dynamic_ncols=True)
        self._failures: dict[int, dict[str, str]] = {}
        self._known: set[int] = set()
        self._lock = threading.Lock()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def begin(self, image_ids: Iterable[str]) -> None:
        """Report that images are in work."""
        with self._lock:
            self.in_work.begin(image_ids)

    def done(self, place: int, image_id: str) -> None:
        """Report that an image is finished."""
        with self._lock:
            self._end(place, image_id)

    def _end(self, place: int, image_id: str) -> None:
        self._known.add(place)
        self.in_work.end([image_id])
        self._bar.update()

    def knows(self, place: int) -> bool:
        """Whether an image is finished, or has failed."""
        with self._lock:
            return place in self._known

    def failed(self, place: int, image_id: str, error: SpecjaxError) -> None:
        """Report that an image failed in this run."""
        reason = with_flag(error)
        with self._lock:
            self._failures[place] = {"id": image_id, "error": reason}
            tqdm.tqdm.write(f"skipped {image_id}: {reason}", file=sys.stderr)
            self._end(place, image_id)

    @property
    def failures(self) -> list[dict[str, str]]:
        """The failures, in the order of the stream."""
        return [self._failures[place] for place in sorted(self._failures)]
