"""Which images are in work, on disk: an image that kills the process does not do so for ever."""

import collections
import json
import pathlib
from collections.abc import Iterable

from specjax._folder import unwritable
from specjax.errors import SpecjaxError

NAME = ".in_work"


class InWork:
    """A file of the images that are in work; a context manager.

    An image that is still in it when a process starts was in work when an earlier one was killed.
    It is a suspect, and should be computed alone: if that process is killed as well, the image has
    killed it, and is passed over from then on.

    Args:
        path: the file. It is deleted when no image is suspected of anything.
    """

    def __init__(self, path: pathlib.Path):
        self._path = path
        self._begun: set[str] = set()
        self._times: collections.Counter[str] = collections.Counter()
        try:
            lines = path.read_bytes().splitlines() if path.exists() else []
            for line in lines:
                self._read(line)
        except OSError as error:
            raise unwritable(self._path, error) from error

    def _read(self, line: bytes) -> None:
        try:
            began, names = json.loads(line)
        except (ValueError, TypeError):  # the process was killed while it wrote the line
            return
        for name in names:
            if began:
                self._times[name] += 1
            else:
                del self._times[name]

    def __enter__(self) -> "InWork":
        return self

    def __exit__(self, *_: object) -> None:
        """The process was not killed: what it had in work is no more suspect than before."""
        self._times.subtract(self._begun)
        kept = [[True, [name]] for name, times in self._times.items() for _ in range(times)]
        try:
            self._path.write_text("".join(json.dumps(line) + "\n" for line in kept))
            if not kept:
                self._path.unlink()
        except OSError as error:
            raise unwritable(self._path, error) from error

    def is_suspect(self, name: str) -> bool:
        """Whether an image was in work when a process was killed."""
        return self._times[name] > 0 and name not in self._begun

    def refusal(self, name: str) -> SpecjaxError | None:
        """The error of an image that is to be passed over; else None."""
        if self._times[name] < 2 or name in self._begun:
            return None
        return SpecjaxError(
            "the process was killed twice while this image was in work, so it is passed over: scale"
            f" it down, or delete {self._path} to try again"
        )

    def begin(self, names: Iterable[str]) -> None:
        """Note that images are in work; those that are already stay so."""
        new = [name for name in names if name not in self._begun]
        self._begun.update(new)
        self._times.update(new)
        self._append(True, new)

    def end(self, names: Iterable[str]) -> None:
        """Note that images are done, or have failed; those that are passed over stay so."""
        old = [name for name in names if self._times[name] and not self.refusal(name)]
        self._begun.difference_update(old)
        for name in old:
            del self._times[name]
        self._append(False, old)

    def _append(self, began: bool, names: list[str]) -> None:
        if not names:
            return
        try:
            with self._path.open("ab") as stream:
                stream.write((json.dumps([began, names]) + "\n").encode())
        except OSError as error:
            raise unwritable(self._path, error) from error
