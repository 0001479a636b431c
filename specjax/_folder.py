"""An output folder: files written whole, one process at a time, and a journal of what is done.

Errors name the parameter `output_dir`, which is a flag of the command and of the experiments.
"""

import contextlib
import errno
import json
import os
import pathlib
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import IO, Any

import filelock

from specjax.errors import SpecjaxError

# The prefix of the names of files that are being written, and the seconds that writing may take.
_PREFIX, _SECONDS = ".writing-", 60


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


# Read once: reading the mask changes it for a moment, in all threads.
_MODE = 0o666 & ~_umask()


class OutputError(SpecjaxError):
    """Results cannot be written; the next image would fail as well, so a run ends."""

    def __init__(self, message: str):
        super().__init__(message, parameter="output_dir")


class Held(Exception):
    """Another process holds the lock."""


def make_folder(folder: pathlib.Path) -> None:
    """Make a folder, and its parents.

    Raises:
        OutputError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot write to {folder}: {error.strerror}; choose another folder"
        ) from error


def write_atomically(path: pathlib.Path, write: Callable[[IO[bytes]], Any]) -> None:
    """Let `write` fill a temporary file, then rename it to `path`; parent folders are made.

    Raises:
        OutputError: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=_PREFIX)
    except OSError as error:
        raise unwritable(path, error) from error
    try:
        with os.fdopen(descriptor, "wb") as stream:
            write(stream)
        # mkstemp makes private files; results are ordinary ones.
        os.chmod(temporary, _MODE)
        os.replace(temporary, path)
    except OSError as error:
        pathlib.Path(temporary).unlink(missing_ok=True)
        raise unwritable(path, error) from error
    except BaseException:
        pathlib.Path(temporary).unlink(missing_ok=True)
        raise


def write_bytes(path: pathlib.Path, content: bytes) -> pathlib.Path:
    """Write a whole file, atomically; returns its path."""
    write_atomically(path, lambda stream: stream.write(content))
    return path


def write_json(path: pathlib.Path, value: Any, *, indent: int | None = 2) -> pathlib.Path:
    """Write `value` as strict JSON (no NaN), atomically; returns the path."""
    return write_bytes(path, (json.dumps(value, indent=indent, allow_nan=False) + "\n").encode())


def remove_remains(folder: pathlib.Path) -> None:
    """Delete unfinished files that killed processes left in a folder and those below it."""
    for path in folder.rglob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):  # another process may have renamed it
            # Writing takes seconds: a file unchanged for a minute belongs to no running process.
            if time.time() - path.stat().st_mtime > _SECONDS:
                path.unlink()


@contextlib.contextmanager
def lock(path: pathlib.Path, *, wait: bool = False):
    """Hold a lock file against other processes; the system frees it when the process ends.

    On a system without `fcntl` (and not Windows), the lock is a file that exists while it is held:
    filelock frees that of a process that was killed, if it ran on the same machine.

    Args:
        path: the lock file; it is made where it is missing.
        wait: whether to wait until it is free.

    Raises:
        Held: another process holds it, and `wait` is False.
        OutputError: it cannot be written, or the file system has no locks.
    """
    if issubclass(filelock.FileLock, filelock.SoftFileLock):  # the other kind of file stays
        path = path.with_name(f"{path.name}.held")
    held = filelock.FileLock(path, thread_local=False)
    try:
        held.acquire(timeout=-1 if wait else 0)
    except filelock.Timeout:
        raise Held(path) from None
    except (OSError, NotImplementedError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise OutputError(f"cannot lock {path}: {reason}; choose another folder") from error
    try:
        yield
    finally:
        held.release()


def refuse_differing(
    folder: pathlib.Path, found: Mapping[str, Any], wanted: Mapping[str, Any]
) -> None:
    """Raise OutputError where the settings of a folder, JSON values, are not those wanted."""
    differing = [
        f"{key} was {json.dumps(found.get(key))}, now {json.dumps(wanted.get(key))}"
        for key in dict.fromkeys([*found, *wanted])
        if found.get(key) != wanted.get(key)
    ]
    if differing:
        raise OutputError(
            f"{folder} holds results of other settings ({'; '.join(differing)}); choose another"
            " folder, or overwrite"
        )


class Journal:
    """An append-only file of JSON lines, one for each image and setting.

    Args:
        path: the file that lines are added to. An unfinished last line is removed from it.
        others: files whose lines are read as well. Another process may be writing to them: they are
            not changed, and an unfinished last line is left out.
        fits: whether a line still holds. One that does not is as if it were not there, and a line
            that replaces it may be added.

    Raises:
        OutputError: a file cannot be read, or has a line that this program did not write.
    """

    def __init__(
        self,
        path: pathlib.Path,
        others: Iterable[pathlib.Path] = (),
        fits: Callable[[dict], bool] = lambda line: True,
    ):
        self._path = path
        self._fits = fits
        # The last line of each file that has one, the own file's first.
        self._lines: dict[tuple[str, str], list[dict]] = {}
        self._stream: IO[bytes] | None = None
        if path.exists():
            length = self._read(path)
            try:
                os.truncate(path, length)
            except OSError as error:
                raise _unreadable(path, error) from error
        for other in others:
            if other.exists():
                self._read(other)

    def _read(self, path: pathlib.Path) -> int:
        """Read the finished lines of a file; returns their length in bytes."""
        whole, found = 0, {}
        try:
            with path.open("rb") as stream:
                for raw in stream:
                    if not raw.endswith(b"\n"):
                        break
                    line = json.loads(raw)
                    found[line["id"], line["setting"]] = line
                    whole += len(raw)
        except OSError as error:
            raise _unreadable(path, error) from error
        except (ValueError, KeyError, TypeError) as error:
            raise OutputError(
                f"{path} holds a line that this program did not write; overwrite it, or choose"
                " another folder"
            ) from error
        for key, line in found.items():
            self._lines.setdefault(key, []).append(line)
        return whole

    def get(self, image: str, setting: str) -> dict | None:
        """The line of an image and a setting; None where there is none."""
        return next(filter(self._fits, self._lines.get((image, setting), ())), None)

    def outdated(self, image: str, setting: str) -> bool:
        """Whether there is a line of an image and a setting, but none that still holds."""
        return (image, setting) in self._lines and self.get(image, setting) is None

    def settings(self) -> list[str]:
        """All settings that have lines, in order of first appearance."""
        return list(dict.fromkeys(setting for _, setting in self._lines))

    def ordered(self, images: Sequence[str]) -> list[dict]:
        """All lines that still hold: those of `images` in their order, then the others."""
        place = {image: number for number, image in enumerate(images)}
        ranks = {setting: number for number, setting in enumerate(self.settings())}
        keys = sorted(self._lines, key=lambda key: (place.get(key[0], len(place)), ranks[key[1]]))
        return [line for key in keys if (line := self.get(*key)) is not None]

    def append(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Add lines in one write; lines of a known image and setting are left out.

        Raises:
            OutputError: the file cannot be written; then none of the lines is in it.
        """
        new = [dict(line) for line in lines if self.get(line["id"], line["setting"]) is None]
        data = encoded(new)
        if not data:
            return
        try:
            if self._stream is None:
                # Unbuffered: bytes that could not be written must not be written later.
                self._stream = self._path.open("ab", buffering=0)
            length = os.fstat(self._stream.fileno()).st_size
            if self._stream.write(data) != len(data):
                self._stream.truncate(length)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise unwritable(self._path, error) from error
        for line in new:
            self._lines.setdefault((line["id"], line["setting"]), []).insert(0, line)

    def close(self) -> None:
        """Close the file, so that other machines see all lines; `append` opens it again."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None


def encoded(lines: Iterable[Mapping[str, Any]]) -> bytes:
    """Lines as they are in a journal; NaN is a ValueError."""
    return "".join(json.dumps(line, allow_nan=False) + "\n" for line in lines).encode()


def unwritable(path: str | os.PathLike, error: OSError) -> OutputError:
    """The error of a file that cannot be written."""
    reason = error.strerror or " ".join(str(error).split())  # Pillow's own errors have no code
    return OutputError(
        f"cannot write {os.fspath(path)}: {reason}; free some space or choose another folder"
    )


def _unreadable(path: pathlib.Path, error: OSError) -> OutputError:
    return OutputError(f"cannot read {path}: {error.strerror}; choose another folder")
