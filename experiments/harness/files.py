"""Files that are whole or absent: written beside their place, then renamed."""

import json
import os
import pathlib
import tempfile
from collections.abc import Callable
from typing import IO, Any

from specjax.errors import UserError

# Of files that are being written.
_PREFIX = ".writing-"


class OutputError(UserError):
    """Results cannot be written: no image that follows would fare better."""


def write_atomically(path: pathlib.Path, write: Callable[[IO[bytes]], None]) -> None:
    """Let `write` fill a temporary file, then rename it to `path`; folders are made.

    Raises:
        OutputError: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=_PREFIX)
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        with os.fdopen(descriptor, "wb") as stream:
            write(stream)
        # mkstemp's mode is private; results are ordinary files.
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except OSError as error:
        pathlib.Path(temporary).unlink(missing_ok=True)
        raise _unwritable(path, error) from error
    except BaseException:
        pathlib.Path(temporary).unlink(missing_ok=True)
        raise


def remove_remains(folder: pathlib.Path) -> None:
    """Delete what a process that was killed while it wrote left in a folder and those below.

    To be called where no process is writing there.
    """
    for path in folder.rglob(f"{_PREFIX}*"):
        path.unlink(missing_ok=True)


def write_json(path: pathlib.Path, value: Any, *, indent: int | None = 2) -> None:
    """`value` as strict JSON (no NaN), atomically."""
    text = json.dumps(value, indent=indent, allow_nan=False) + "\n"
    write_atomically(path, lambda stream: stream.write(text.encode()))


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _unwritable(path: pathlib.Path, error: OSError) -> OutputError:
    return OutputError(
        f"cannot write {path}: {error.strerror}; free some space or choose another --output_dir"
    )
