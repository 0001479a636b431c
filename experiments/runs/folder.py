"""A run's folder: its identity, the lines that are done, and what remains to do.

`run.json` identifies the run, `per_image.jsonl` grows by one write per batch, `summary.json` is
written at the end. A process may die at any moment: an incomplete line is dropped when the folder
is opened again, and everything else is written atomically. Processes may share a folder if each
does its own part (`experiments.runs.parts`).
"""

import contextlib
import json
import pathlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from experiments.runs import names, parts
from experiments.runs.parts import WHOLE, Part, Report
from experiments.runs.sources import Sources
from specjax._folder import (
    Held,
    Journal,
    OutputError,
    encoded,
    lock,
    make_folder,
    refuse_differing,
    remove_remains,
    write_bytes,
    write_json,
)
from specjax._ids import earlier_ids

# The first is held while a process works on the whole run or, in a part's folder, on that part; the
# second only while a process enters the run or merges its parts.
_LOCK, _DOOR = ".lock", ".lock.door"
# Takes the merged report of all parts and the entry of each part in the summary; writes the files
# that cover all images, and prints the results.
Conclude = Callable[[Report, Sequence[dict[str, Any]]], None]


class RunFolder:
    """The folder of one run; a context manager that locks it against other processes.

    A run that continues must have the same `identity`. `lines` are those of `per_image.jsonl` and
    of the other parts; `segments` are masks for the COCO export. Both leave out lines of images
    whose files, in `sources`, have changed.

    Raises:
        OutputError: the folder is in use, cannot be written, or holds something else.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        identity: Mapping[str, Any],
        settings: Sequence[str],
        overwrite: bool = False,
        part: Part = WHOLE,
    ):
        self.folder = folder
        self.figures = folder / names.FIGURES
        self.sources = Sources()
        self._part = part
        make_folder(folder)
        with contextlib.ExitStack() as held:
            with self.alone():
                self._refuse_others()
                if overwrite and (folder / names.RUN).exists():
                    self._clear()
                self._plain = self._claim(identity, settings)
                make_folder(part.home(folder))
                held.enter_context(self._own_lock())
                parts.withdraw_report(folder, part)
                self.lines, self.segments = self._journals()
            self._held = held.pop_all()

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        self._held.close()

    def close(self) -> None:
        """Close the journals, so that other machines see everything in them."""
        self.lines.close()
        self.segments.close()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """While the block runs, no other process enters the run or merges its parts."""
        with lock(self.folder / _DOOR, wait=True):
            yield

    def finish(self, report: Report, conclude: Conclude) -> int:
        """Write the report of the part; the exit status is 1 if an image failed.

        The last part to finish merges all. If several finish at the same time, one of them merges
        and the others notice.
        """
        # Other machines see what is closed; the report comes after it.
        self.close()
        parts.write_report(self.folder, self._part, report)
        with self.alone():
            reports = parts.read_reports(self.folder, self._part, report)
            self.lines, self.segments = self._journals()
            for sibling, found in reports.items():
                if found is not None and sibling != self._part and self._outdated(found):
                    reports[sibling] = None
            missing = [sibling for sibling, found in reports.items() if found is None]
            at_work = {sibling: self.at_work(sibling) for sibling in missing}
            if not missing:
                entries = [found.entry(sibling) for sibling, found in reports.items() if found]
                if not self._part.whole and self.read_summary().get("parts") == entries:
                    print(f"part {self._part} is done; another process has merged all parts")
                    return 1 if report.failures else 0
                whole = parts.together([found for found in reports.values() if found])
                self.merge(whole.visited)
                conclude(whole, [] if self._part.whole else entries)
                return 1 if whole.failures else 0
        print(f"part {self._part} is done: {len(report.visited)} images")
        for sibling in missing:
            again = f"missing: run the same command with --part={sibling}"
            print(f"part {sibling} is {'running' if at_work[sibling] else again}")
        print(f"the last part to finish writes {self.summary_path} and prints the table")
        return 1 if report.failures else 0

    def at_work(self, part: Part) -> bool:
        """Whether a process holds the part; call it in `alone`, so that none starts meanwhile."""
        return part.home(self.folder).is_dir() and _held(part.home(self.folder) / _LOCK)

    def merge(self, images: Sequence[str]) -> None:
        """Merge the lines of all parts into those of the whole run, in the order of `images`."""
        remove_remains(self.folder)
        for name, journal in zip((names.LINES, names.SEGMENTS), self._journals(), strict=True):
            content = encoded(journal.ordered(images))
            if content or (self.folder / name).exists():
                write_bytes(self.folder / name, content)
        self.close()
        self.lines, self.segments = self._journals()

    def _outdated(self, report: Report) -> bool:
        """Whether files have changed since a part has read them."""
        done = set(report.visited) - {failure["id"] for failure in report.failures}
        settings = report.work["settings"]
        return any(self.lines.outdated(image, name) for image in done for name in settings)

    def remove(self, image_id: str, setting: str) -> None:
        """Delete the files of one image under one setting."""
        for kind in (*names.FOLDERS, names.FEATURES):
            path = self.path(kind, setting, image_id)
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise OutputError(f"cannot delete {path}: {error.strerror}") from error

    def path(self, kind: str, setting: str, image_id: str | None = None) -> pathlib.Path:
        """The path of a kind of file: of one image, or of the file that covers all images."""
        return names.locate(self.folder, self._plain, kind, setting, image_id)

    def known_ids(self) -> dict[str, str]:
        """The ids that images have in the run, by source."""
        return earlier_ids(self.lines.ordered([]))

    @property
    def in_work_path(self) -> pathlib.Path:
        """The path of the file of the images that this process has in work."""
        return self._part.home(self.folder) / names.IN_WORK

    @property
    def summary_path(self) -> pathlib.Path:
        """The path of the summary, whether it exists or not."""
        return self.folder / names.SUMMARY

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Write `summary.json`."""
        write_json(self.summary_path, summary)

    def read_summary(self) -> dict[str, Any]:
        """The content of `summary.json`; empty if the file is missing or damaged."""
        try:
            content = json.loads(self.summary_path.read_text())
        except (OSError, ValueError):
            content = None
        return content if isinstance(content, dict) else {}

    def _refuse_others(self) -> None:
        """Raises OutputError if a whole run is active, or if this is one and a part is active."""
        if _held(self.folder / _LOCK):
            raise self._in_use("writing to")
        for lock_file in (self.folder / names.PARTS).glob(f"*/{_LOCK}") if self._part.whole else ():
            if _held(lock_file):
                raise self._in_use("doing a part of")

    @contextlib.contextmanager
    def _own_lock(self):
        try:
            with lock(self._part.home(self.folder) / _LOCK):
                yield
        except Held:
            raise self._in_use(f"doing part {self._part} of") from None

    def _in_use(self, doing: str) -> OutputError:
        return OutputError(
            f"another process is {doing} {self.folder}; wait for it or choose another folder"
        )

    def _journals(self) -> tuple[Journal, Journal]:
        """The lines and segments of this process, together with those of all other parts."""
        journals = []
        for name in (names.LINES, names.SEGMENTS):
            own = self._part.home(self.folder) / name
            paths = [self.folder / name, *sorted(self.folder.glob(f"{names.PARTS}/*/{name}"))]
            others = [path for path in paths if path != own]
            journals.append(Journal(own, others, self.sources.fits))
        return journals[0], journals[1]

    def _clear(self) -> None:
        """Delete what this run may have written, and nothing else."""
        try:
            plain = json.loads((self.folder / names.RUN).read_text())["plain_names"] is not None
        except (OSError, ValueError, KeyError, TypeError):  # damaged
            plain = True
        try:
            settings = self._journals()[0].settings()
        except OutputError:  # damaged
            settings = []
        try:
            for path in [self.folder / name for name in names.owned(plain, settings)]:
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
            # Last, as it marks the folder as that of a run.
            (self.folder / names.RUN).unlink()
        except OSError as error:
            raise OutputError(
                f"cannot delete {error.filename}: {error.strerror}; choose another folder"
            ) from error

    def _claim(self, identity: Mapping[str, Any], settings: Sequence[str]) -> str | None:
        """Write or check the run's identity; returns the setting whose files have plain names."""
        path = self.folder / names.RUN
        identity = json.loads(json.dumps(identity))
        if not path.exists():
            existing = [name for name in names.owned(True, []) if (self.folder / name).exists()]
            if existing:
                raise OutputError(
                    f"{self.folder} holds {existing[0]!r} without a {names.RUN}: it is not the"
                    " folder of a run; choose another folder"
                )
            plain = settings[0] if len(settings) == 1 else None
            write_json(path, {"identity": identity, "plain_names": plain})
            return plain
        try:
            content = json.loads(path.read_text())
            found, plain = content["identity"], content["plain_names"]
        except (ValueError, OSError, KeyError, TypeError):
            found = None
        if not isinstance(found, dict):
            raise OutputError(f"{path} is damaged; overwrite it, or choose another folder")
        refuse_differing(self.folder, found, identity)
        return plain


def _held(path: pathlib.Path) -> bool:
    """Whether another process holds a lock file."""
    try:
        with lock(path):
            return False
    except Held:
        return True
