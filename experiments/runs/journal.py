"""Append-only files of JSON lines, one line for each image and setting."""

import errno
import json
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from specjax._folder import OutputError
from specjax.errors import SpecjaxError


class Journal:
    """An append-only file of JSON lines, keyed by image and setting.

    Args:
        path: the file that lines are added to. A line that was cut is dropped from it.
        others: files whose lines are known too. Another process may be writing to them: they are
            left as they are, and a line that is not whole yet is not known yet.
    """

    def __init__(self, path: pathlib.Path, others: Iterable[pathlib.Path] = ()):
        self._path = path
        self._lines: dict[tuple[str, str], dict] = {}
        self._stream = None
        if path.exists():
            self._cut(self._read(path))
        for other in others:
            if other.exists():
                self._read(other)

    def _read(self, path: pathlib.Path) -> int:
        """Take in the whole lines of a file, and give their length in bytes."""
        whole = 0
        try:
            with path.open("rb") as stream:
                for raw in stream:
                    if not raw.endswith(b"\n"):
                        break
                    line = json.loads(raw)
                    self._lines.setdefault((line["id"], line["setting"]), line)
                    whole += len(raw)
        except OSError as error:
            raise _unreadable(path, error) from error
        except (ValueError, KeyError, TypeError) as error:
            raise SpecjaxError(
                f"{path} holds a line that this program did not write; use --overwrite or"
                " another --output_dir"
            ) from error
        return whole

    def _cut(self, length: int) -> None:
        try:
            os.truncate(self._path, length)
        except OSError as error:
            raise _unreadable(self._path, error) from error

    def get(self, image: str, setting: str) -> dict | None:
        """The line of an image under a setting, if there is one."""
        return self._lines.get((image, setting))

    def settings(self) -> list[str]:
        """All settings that occur, in order of first appearance."""
        return list(dict.fromkeys(setting for _, setting in self._lines))

    def ordered(self, images: Sequence[str]) -> list[dict]:
        """All lines: those of `images` in their order, then the others."""
        place = {image: number for number, image in enumerate(images)}
        ranks = {setting: number for number, setting in enumerate(self.settings())}
        keys = sorted(
            self._lines, key=lambda key: (place.get(key[0], len(place)), ranks[key[1]])
        )
        return [self._lines[key] for key in keys]

    def append(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Add the lines of one image, in one write; those known already are left alone."""
        new = [dict(line) for line in lines if (line["id"], line["setting"]) not in self._lines]
        data = encoded(new)
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
        """Close the file, so that other machines see all of it; more lines open it again."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None


def encoded(lines: Iterable[Mapping[str, Any]]) -> bytes:
    """Lines as a journal has them; ValueError for NaN."""
    return "".join(json.dumps(line, allow_nan=False) + "\n" for line in lines).encode()


def _unreadable(path: pathlib.Path, error: OSError) -> SpecjaxError:
    return SpecjaxError(f"cannot read {path}: {error.strerror}; choose another --output_dir")
