"""A run's folder: its identity, the lines that are done, what is left to do.

`run.json` says what the run is, `per_image.jsonl` grows by one write per image, `summary.json`
is made at the end. A process may die at any moment: a line that was cut is dropped on opening,
and everything else is written atomically.

A run that began with one setting (`boc`, say) keeps that setting's files under plain names
(`labels/`, `coco.json`); those of every other setting carry its name (`labels_dot/`,
`coco_dot.json`). So a file never changes its name, whatever is added to a run.
"""

import errno
import fcntl
import json
import os
import pathlib
import shutil
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from experiments.harness.files import OutputError, write_json
from specjax.errors import UserError

_RUN, _LINES, _SUMMARY, _LOCK = "run.json", "per_image.jsonl", "summary.json", ".lock"
_SEGMENTS = "segments.jsonl"
# Written for each image, a folder a kind, and for all images at once, a file a kind.
_FOLDERS = ("labels", "tokens", "overlays", "gallery")
_FILES = (("coco", ".json"), ("coco_results", ".json"), ("gallery", ".png"))
_FEATURES = "features"
_FIGURES = "figures"


class Journal:
    """An append-only file of JSON lines, keyed by image and setting."""

    def __init__(self, path: pathlib.Path):
        self._path = path
        self._lines: dict[tuple[str, str], dict] = {}
        self._stream = None
        if path.exists():
            self._load()

    def _load(self) -> None:
        whole = 0
        try:
            with self._path.open("rb") as stream:
                for raw in stream:
                    if not raw.endswith(b"\n"):
                        break
                    line = json.loads(raw)
                    self._lines[line["id"], line["setting"]] = line
                    whole += len(raw)
            os.truncate(self._path, whole)
        except OSError as error:
            raise UserError(
                f"cannot read {self._path}: {error.strerror}; choose another --output_dir"
            ) from error
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{self._path} holds a line that this program did not write; use --overwrite or"
                " another --output_dir"
            ) from error

    def get(self, image: str, setting: str) -> dict | None:
        """The line of an image under a setting, if there is one."""
        return self._lines.get((image, setting))

    def settings(self) -> list[str]:
        """All settings that occur, in order of first appearance."""
        return list(dict.fromkeys(setting for _, setting in self._lines))

    def append(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Add the lines of one image, in one write; those known already are left alone."""
        new = [dict(line) for line in lines if (line["id"], line["setting"]) not in self._lines]
        data = "".join(json.dumps(line, allow_nan=False) + "\n" for line in new).encode()
        try:
            if self._stream is None:
                # Unbuffered: what could not be written must not follow by itself later.
                self._stream = self._path.open("ab", buffering=0)
            end = self._stream.seek(0, os.SEEK_END)
            if self._stream.write(data) < len(data):
                self._stream.truncate(end)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise OutputError(
                f"cannot write {self._path}: {error.strerror}; free some space or choose another"
                " --output_dir"
            ) from error
        self._lines.update({(line["id"], line["setting"]): line for line in new})

    def close(self) -> None:
        """Close the file."""
        if self._stream is not None:
            self._stream.close()


class Store:
    """The folder of one run; a context manager that holds it against other processes.

    Args:
        folder: made where it is missing.
        identity: what a run that continues must share.
        settings: what this process computes.
        overwrite: delete what an earlier run left.

    Attributes:
        folder: the folder.
        lines: `per_image.jsonl`.
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
    ):
        self.folder = folder
        self.figures = folder / _FIGURES
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = (folder / _LOCK).open("w")
        except OSError as error:
            raise UserError(
                f"cannot write to {folder}: {error.strerror}; choose another --output_dir"
            ) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise UserError(
                f"another process is writing to {folder}; wait for it or choose another"
                " --output_dir"
            ) from None
        try:
            if overwrite and (folder / _RUN).exists():
                self._clear()
            self._plain = self._claim(identity, settings)
            self.lines = Journal(folder / _LINES)
            self.segments = Journal(folder / _SEGMENTS)
        except BaseException:
            self._lock.close()
            raise

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *_: object) -> None:
        self.lines.close()
        self.segments.close()
        self._lock.close()

    def write_summary(self, summary: Mapping[str, Any]) -> pathlib.Path:
        """Write `summary.json` and return its path."""
        path = self.folder / _SUMMARY
        write_json(path, summary)
        return path

    def path(self, kind: str, setting: str, image_id: str | None = None) -> pathlib.Path:
        """Where a kind of file goes: of one image, or made of all of them.

        Features do not depend on the setting.
        """
        if kind == _FEATURES:
            return self.folder / kind / f"{image_id}.npz"
        suffix = "" if setting == self._plain else _suffix(setting)
        if image_id is None:
            return self.folder / f"{kind}{suffix}{dict(_FILES)[kind]}"
        # Not with_suffix: an id may contain a dot.
        return self.folder / f"{kind}{suffix}" / f"{image_id}.png"

    def _clear(self) -> None:
        """Delete what this run may have written, and nothing else."""
        paths = [self.folder / _FEATURES, self.figures]
        for suffix in self._suffixes():
            paths += [self.folder / f"{kind}{suffix}" for kind in _FOLDERS]
            paths += [self.folder / f"{kind}{suffix}{ending}" for kind, ending in _FILES]
        try:
            for name in (_LINES, _SUMMARY, _SEGMENTS):
                paths.append(self.folder / name)
            for path in paths:
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
            # Last: without it, the rest is nobody's.
            (self.folder / _RUN).unlink()
        except OSError as error:
            raise UserError(
                f"cannot delete {error.filename}: {error.strerror}; choose another --output_dir"
            ) from error

    def _suffixes(self) -> set[str]:
        """What the names of this run's files may end in."""
        suffixes = set()
        try:
            if json.loads((self.folder / _RUN).read_text())["plain_names"] is not None:
                suffixes.add("")
        except (OSError, ValueError, KeyError, TypeError):  # damaged
            suffixes.add("")
        try:
            suffixes |= {_suffix(name) for name in Journal(self.folder / _LINES).settings()}
        except UserError:  # damaged
            pass
        return suffixes

    def _claim(self, identity: Mapping[str, Any], settings: Sequence[str]) -> str | None:
        """Make the folder this run's, or check that it is; the setting of plain names."""
        path = self.folder / _RUN
        identity = json.loads(json.dumps(identity))
        if not path.exists():
            names = (_LINES, _SUMMARY, _SEGMENTS, _FEATURES, _FIGURES, *_FOLDERS,
                     *(name + ending for name, ending in _FILES))  # fmt: skip
            strangers = [name for name in names if (self.folder / name).exists()]
            if strangers:
                raise UserError(
                    f"{self.folder} holds {strangers[0]!r} without a {_RUN}: it is not the folder"
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
            raise UserError(f"{path} is damaged; use --overwrite or another --output_dir")
        differing = [
            f"{key} was {json.dumps(found.get(key))}, now {json.dumps(identity.get(key))}"
            for key in dict.fromkeys([*found, *identity])
            if found.get(key) != identity.get(key)
        ]
        if differing:
            raise UserError(
                f"{self.folder} holds another run ({'; '.join(differing)}); choose another"
                " --output_dir, or --overwrite to start anew"
            )
        return plain


def _suffix(setting: str) -> str:
    """A setting as the end of a name: `M=128` becomes `_M128`."""
    return "_" + setting.replace("=", "")
