"""A run in parts: one process each, on any machines that see the folder of the run.

Part i of n takes the records whose place in the stream is i modulo n. Results of two images do not
depend on each other, so processes need not communicate while they compute. All that they must know
of each other is in the folder:

    run.json                         the identity of the run, as without parts
    labels/, overlays/, ...          files of single images, as without parts
    parts/1-of-2/per_image.jsonl     lines of the first of two parts (segments.jsonl likewise)
    parts/1-of-2/report.json         written when the part is finished
    per_image.jsonl, summary.json    of all parts, written when all are finished

A run without parts is treated as part 1 of 1.
"""

import dataclasses
import datetime
import hashlib
import itertools
import json
import pathlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from experiments.runs.names import PARTS
from specjax import SpecjaxError
from specjax._folder import write_json

_REPORT = "report.json"
_MOST = 9999


@dataclasses.dataclass(frozen=True)
class Part:
    """The records whose place in the stream is `index`, from 0, modulo `count`."""

    index: int
    count: int

    def __str__(self) -> str:
        return f"{self.index + 1}/{self.count}"

    @property
    def whole(self) -> bool:
        """Whether it is the whole run."""
        return self.count == 1

    def home(self, folder: pathlib.Path) -> pathlib.Path:
        """The folder of the files that belong to the part alone."""
        name = f"{self.index + 1}-of-{self.count}"
        return folder if self.whole else folder / PARTS / name

    def size(self, total: int) -> int:
        """How many of `total` records belong to the part."""
        return len(range(self.index, total, self.count))

    def siblings(self) -> list["Part"]:
        """All parts of the run, including this one."""
        return [Part(index, self.count) for index in range(self.count)]


WHOLE = Part(0, 1)


def part_of(text: str) -> Part:
    """The part that a text such as `1/2` means: the first of two."""
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text.strip())
    if match:
        number, count = int(match[1]), int(match[2])
        if 1 <= number <= count <= _MOST:
            return Part(number - 1, count)
    raise SpecjaxError(
        f"--part={text}: give the part and the number of parts, such as 1/2 and 2/2 for two parts"
        f" (at most {_MOST})"
    )


class Share:
    """A part of a stream of records, each with its place; `seen` counts the whole stream.

    `note` is called with each record of the stream, also with those of other parts.
    """

    def __init__(
        self, records: Iterable[Any], part: Part, note: Callable[[Any], None] = lambda record: None
    ):
        self.seen = 0
        self._records = records
        self._part = part
        self._note = note
        self._ids = hashlib.sha256()

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        for place, record in enumerate(self._records):
            self.seen = place + 1
            self._ids.update(record.id.encode() + b"\0")
            self._note(record)
            if place % self._part.count == self._part.index:
                yield place, record

    def digest(self) -> str:
        """A hash of the ids of all records so far: equal if two processes saw the same stream."""
        return self._ids.hexdigest()


@dataclasses.dataclass(frozen=True)
class Report:
    """What a finished part reports; parts are merged if their `work`, the task, is the same.

    `visited` are ids in the order of the stream, `failures` are `{"id": ..., "error": ...}`.
    """

    work: Mapping[str, Any]
    visited: Sequence[str]
    failures: Sequence[Mapping[str, str]]
    seconds: Mapping[str, float]
    device: str
    finished: str = dataclasses.field(
        default_factory=lambda: datetime.datetime.now(datetime.UTC).isoformat()
    )

    def entry(self, part: Part) -> dict[str, Any]:
        """The part's entry in `summary.json`."""
        return {
            "part": str(part),
            "images": len(self.visited),
            "finished": self.finished,
            "device": self.device,
            "seconds": dict(self.seconds),
        }


def write_report(folder: pathlib.Path, part: Part, report: Report) -> None:
    """Mark a part as finished; a whole run has its summary instead."""
    if not part.whole:
        write_json(part.home(folder) / _REPORT, dataclasses.asdict(report))


def withdraw_report(folder: pathlib.Path, part: Part) -> None:
    """Mark a part as not finished."""
    (part.home(folder) / _REPORT).unlink(missing_ok=True)


def read_reports(folder: pathlib.Path, part: Part, own: Report) -> dict[Part, Report | None]:
    """The report of each part; None if it is not finished or belongs to another task."""
    reports: dict[Part, Report | None] = {}
    for sibling in part.siblings():
        if sibling == part:
            reports[sibling] = own
            continue
        try:
            report = Report(**json.loads((sibling.home(folder) / _REPORT).read_text()))
            size = sibling.size(own.work["images"])
            fits = report.work == own.work and len(report.visited) == size
        except (OSError, ValueError, TypeError):  # missing or damaged
            fits = False
        reports[sibling] = report if fits else None
    return reports


def together(reports: Sequence[Report]) -> Report:
    """Merge the reports of all parts, given in order, into one."""
    rounds = itertools.zip_longest(*(report.visited for report in reports))
    visited = [image for images in rounds for image in images if image is not None]
    place = {image: number for number, image in enumerate(visited)}
    failures = [failure for report in reports for failure in report.failures]
    seconds: dict[str, float] = {}
    for report in reports:
        for stage, spent in report.seconds.items():
            seconds[stage] = seconds.get(stage, 0.0) + spent
    failures.sort(key=lambda failure: place[failure["id"]])
    seconds = {stage: round(spent, 3) for stage, spent in seconds.items()}
    return dataclasses.replace(reports[0], visited=visited, failures=failures, seconds=seconds)
