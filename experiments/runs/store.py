"""A run's folder: its identity, the lines that are done, what is left to do.

`run.json` says what the run is, `per_image.jsonl` grows by one write per image, `summary.json`
is made at the end. A process may die at any moment: a line that was cut is dropped on opening,
and everything else is written atomically. Several processes may share a folder by doing a part
each (see `parts`).

A run that began with one setting (`boc`, say) keeps that setting's files under plain names
(`labels/`, `coco.json`); those of every other setting carry its name (`labels_dot/`,
`coco_dot.json`). So a file never changes its name, whatever is added to a run.
"""

import contextlib
import json
import pathlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from experiments.runs import locks, parts
from experiments.runs.journal import Journal, encoded
from experiments.runs.parts import WHOLE, Part
from specjax._folder import remove_remains, write_atomically, write_json
from specjax.errors import SpecjaxError

RUN, _LINES, _SUMMARY = "run.json", "per_image.jsonl", "summary.json"
_SEGMENTS = "segments.jsonl"
# Held as long as a process works on the whole run (alone) or on a part (with others, and the lock
# of the part alone); and for the moments in which only one may look after the folder.
_LOCK, _DOOR = ".lock", ".lock.door"
# Written for each image, a folder a kind, and for all images at once, a file a kind.
_FOLDERS = ("labels", "tokens", "overlays", "gallery")
_FILES = (("coco", ".json"), ("coco_results", ".json"), ("gallery", ".png"))
_FEATURES = "features"
# What binaries draw of their results (`plotting`).
_PLOTS = tuple(
    f"{plot}.{ending}"
    for plot in ("strata_mbor", "strata_size_ratio", "foreground_curve", "heat_map")
    for ending in ("png", "svg", "csv")
)
_FIGURES = "figures"


class Store:
    """The folder of one run; a context manager that holds it against other processes.

    Args:
        folder: made where it is missing.
        identity: what a run that continues must share.
        settings: what this process computes.
        overwrite: delete what an earlier run left.
        part: what this process does of the run.

    Attributes:
        folder: the folder.
        lines: `per_image.jsonl`, with what is known of other parts.
        segments: masks for the COCO export, image by image.
        figures: folder of plots, made by whoever writes one.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        identity: Mapping[str, Any],
        settings: Sequence[str],
        *,
        overwrite: bool,
        part: Part = WHOLE,
    ):
        self.folder = folder
        self.figures = folder / _FIGURES
        self._part = part
        with contextlib.ExitStack() as held:
            _make(folder)
            held.enter_context(self._hold(folder / _LOCK, shared=not part.whole))
            with self.alone():
                if overwrite and (folder / RUN).exists():
                    self._clear()
                self._plain = self._claim(identity, settings)
                if not part.whole:
                    _make(parts.home(folder, part))
                    held.enter_context(self._hold(parts.home(folder, part) / _LOCK))
                    parts.withdraw_report(folder, part)
                self.lines = self._journal(_LINES)
                self.segments = self._journal(_SEGMENTS)
            self._held = held.pop_all()

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *_: object) -> None:
        self.lines.close()
        self.segments.close()
        self._held.close()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Nobody else enters the run, or merges its parts, meanwhile."""
        if self._part.whole:  # which shares the folder with nobody
            yield
            return
        with locks.hold(self.folder / _DOOR, wait=True):
            yield

    def at_work(self, part: Part) -> bool:
        """Whether a process holds the part; to be asked while `alone`, so that none just starts."""
        path = parts.home(self.folder, part) / _LOCK
        try:
            if path.exists():
                locks.hold(path).close()
        except locks.Held:
            return True
        return False

    def merge(self, images: Sequence[str]) -> None:
        """Write the lines of all parts as those of the whole, in the order of `images`."""
        remove_remains(self.folder)
        for name in (_LINES, _SEGMENTS):
            journal = self._journal(name)
            content = encoded(journal.ordered(images))
            if content:
                write_atomically(
                    self.folder / name, lambda stream, content=content: stream.write(content)
                )
        self.lines.close()
        self.segments.close()
        self.lines, self.segments = self._journal(_LINES), self._journal(_SEGMENTS)

    def _hold(self, path: pathlib.Path, *, shared: bool = False):
        try:
            return locks.hold(path, shared=shared)
        except locks.Held:
            what = "writing to" if path.parent == self.folder else f"doing part {self._part} of"
            raise SpecjaxError(
                f"another process is {what} {self.folder}; wait for it or choose another"
                " --output_dir"
            ) from None

    def _journal(self, name: str) -> Journal:
        """The file of this process, with what all others of the folder say."""
        own = parts.home(self.folder, self._part) / name
        every = [self.folder / name, *sorted((self.folder / parts.FOLDER).glob(f"*/{name}"))]
        return Journal(own, [path for path in every if path != own])

    def write_summary(self, summary: Mapping[str, Any]) -> pathlib.Path:
        """Write `summary.json` and return its path."""
        write_json(self.summary_path, summary)
        return self.summary_path

    def read_summary(self) -> dict[str, Any]:
        """What `summary.json` holds; nothing where it is missing or damaged."""
        try:
            content = json.loads(self.summary_path.read_text())
        except (OSError, ValueError):
            content = None
        return content if isinstance(content, dict) else {}

    @property
    def summary_path(self) -> pathlib.Path:
        """Where the summary lies, or will."""
        return self.folder / _SUMMARY

    def path(self, kind: str, setting: str, image_id: str | None = None) -> pathlib.Path:
        """Where a kind of file goes: of one image, or made of all of them."""
        return locate(self.folder, self._plain, kind, setting, image_id)

    def _clear(self) -> None:
        """Delete what this run may have written, and nothing else."""
        paths = [self.folder / _FEATURES, self.folder / parts.FOLDER, self.figures]
        for suffix in self._suffixes():
            paths += [self.folder / f"{kind}{suffix}" for kind in _FOLDERS]
            paths += [self.folder / f"{kind}{suffix}{ending}" for kind, ending in _FILES]
        try:
            for name in (_LINES, _SUMMARY, _SEGMENTS, *_PLOTS):
                paths.append(self.folder / name)
            for path in paths:
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
            # Last: without it, the rest is nobody's.
            (self.folder / RUN).unlink()
        except OSError as error:
            raise SpecjaxError(
                f"cannot delete {error.filename}: {error.strerror}; choose another --output_dir"
            ) from error

    def _suffixes(self) -> set[str]:
        """What the names of this run's files may end in."""
        suffixes = set()
        try:
            if json.loads((self.folder / RUN).read_text())["plain_names"] is not None:
                suffixes.add("")
        except (OSError, ValueError, KeyError, TypeError):  # damaged
            suffixes.add("")
        try:
            suffixes |= {_suffix(name) for name in self._journal(_LINES).settings()}
        except SpecjaxError:  # damaged
            pass
        return suffixes

    def _claim(self, identity: Mapping[str, Any], settings: Sequence[str]) -> str | None:
        """Make the folder this run's, or check that it is; the setting of plain names."""
        path = self.folder / RUN
        identity = json.loads(json.dumps(identity))
        if not path.exists():
            names = (_LINES, _SUMMARY, _SEGMENTS, _FEATURES, _FIGURES, parts.FOLDER, *_FOLDERS,
                     *_PLOTS,
                     *(name + ending for name, ending in _FILES))  # fmt: skip
            strangers = [name for name in names if (self.folder / name).exists()]
            if strangers:
                raise SpecjaxError(
                    f"{self.folder} holds {strangers[0]!r} without a {RUN}: it is not the folder"
                    " of a run; choose another --output_dir"
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
            raise SpecjaxError(f"{path} is damaged; use --overwrite or another --output_dir")
        differing = [
            f"{key} was {json.dumps(found.get(key))}, now {json.dumps(identity.get(key))}"
            for key in dict.fromkeys([*found, *identity])
            if found.get(key) != identity.get(key)
        ]
        if differing:
            raise SpecjaxError(
                f"{self.folder} holds another run ({'; '.join(differing)}); choose another"
                " --output_dir, or --overwrite to start anew"
            )
        return plain


def locate(
    folder: pathlib.Path, plain: str | None, kind: str, setting: str, image_id: str | None = None
) -> pathlib.Path:
    """Where a run has a kind of file: of one image, or made of all of them.

    Features do not depend on the setting.

    Args:
        folder: of the run.
        plain: the setting whose files have plain names.
        kind: what `--save` calls it.
        setting: whose file.
        image_id: whose file; None for what is made of all images.
    """
    if kind == _FEATURES:
        return folder / kind / f"{image_id}.npz"
    suffix = "" if setting == plain else _suffix(setting)
    if image_id is None:
        return folder / f"{kind}{suffix}{dict(_FILES)[kind]}"
    # Not with_suffix: an id may contain a dot.
    return folder / f"{kind}{suffix}" / f"{image_id}.png"


def _make(folder: pathlib.Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SpecjaxError(
            f"cannot write to {folder}: {error.strerror}; choose another --output_dir"
        ) from error


def _suffix(setting: str) -> str:
    """A setting as the end of a name: `M=128` becomes `_M128`."""
    return "_" + setting.replace("=", "")
