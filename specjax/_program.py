"""Run a program: parse flags, print a user's mistake as one line, exit with a status."""

import errno
import gc
import importlib.util
import io
import logging
import os
import pathlib
import sys
from collections.abc import Callable, Sequence

import jax
from absl import app, flags

from specjax._flags import with_flag
from specjax._memory import keep_freed_memory
from specjax._traced import keep_in
from specjax.errors import SpecjaxError

# A full disk, an exhausted quota, a file that is too large for its system or for the user.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def refuse_arguments(arguments: Sequence[str], hint: str) -> None:
    """Raise SpecjaxError where there is an argument that is not a flag."""
    if len(arguments) > 1:
        raise SpecjaxError(f"unexpected argument {arguments[1]!r}; {hint}")


def execute(main: Callable[[Sequence[str]], int]) -> None:
    """Run a program's `main`; a user's mistake ends it with one line and status 2."""
    _open_streams()

    def guarded(arguments: Sequence[str]) -> None:
        keep_freed_memory()
        logging.getLogger("jax").setLevel(logging.WARNING)
        # Messages of the library are plain lines.
        logger = logging.getLogger("specjax")
        logger.handlers[:], logger.propagate = [logging.StreamHandler(sys.stderr)], False
        cache_compiled_programs()
        compile_quickly()
        try:
            status = main(arguments)
            sys.stdout.flush()
        except SpecjaxError as error:
            print(f"error: {with_flag(error)}", file=sys.stderr)
            status = 2
        except BrokenPipeError:
            # The reader of the output, such as `head`, has closed it.
            _discard_output()
            status = 0
        except KeyboardInterrupt:
            print("interrupted; run the same command again to continue", file=sys.stderr)
            status = 130
        except Exception as error:
            mistake = _full_disk(error) or _no_device()
            if mistake is None:
                raise
            print(f"error: {mistake}", file=sys.stderr)
            status = 2
        sys.exit(status)

    gc.freeze()  # what is imported stays: the collector does not go through it again and again
    try:
        app.run(guarded, flags_parser=_parse_flags)
    finally:
        gc.unfreeze()


def _open_streams() -> None:
    """Make sure that printing never fails for where the output goes.

    Python has no stream where the program was started with a closed one (`>&-`). A character that
    a terminal cannot show is written as an escape.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            stream = open(os.devnull, "w", encoding="utf-8")
            setattr(sys, name, stream)
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _discard_output() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _full_disk(error: Exception) -> str | None:
    """What is wrong where a file, or what standard output goes to, is on a full disk; else None."""
    if not isinstance(error, OSError) or error.errno not in _FULL:
        return None
    if error.filename is None:
        _discard_output()
    written = error.filename or "the output"
    return f"cannot write {written}: {error.strerror}; free some space, or write elsewhere"


def _no_device() -> str | None:
    """What is wrong where the devices that `JAX_PLATFORMS` asks for are missing; else None."""
    wanted = jax.config.values["jax_platforms"]
    try:
        jax.local_devices()
        return None
    except Exception:  # JAX raises errors of several kinds
        jax.config.update("jax_platforms", None)
    try:
        found = sorted({device.platform for device in jax.local_devices()})
    except Exception:
        return None
    finally:
        jax.config.update("jax_platforms", wanted)
    return (
        f"JAX_PLATFORMS={wanted}: there is no such device here, only {', '.join(found)}; unset"
        f" JAX_PLATFORMS, or set it to {found[0]}"
    )


def _parse_flags(arguments: Sequence[str]) -> list[str]:
    """Parse flags by absl, but report a wrong flag as any other mistake."""
    try:
        return flags.FLAGS(arguments)
    except SystemExit:  # after --help, where absl's status would be 1
        sys.exit(0)
    except flags.Error as error:
        print(f"error: {' '.join(str(error).split())} (--help lists the flags)", file=sys.stderr)
        sys.exit(2)


def cache_compiled_programs() -> None:
    """Keep traced and compiled programs on disk between runs, unless JAX has a folder for them.

    A user without a home has no such folder.
    """
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    choices = (os.environ.get("XDG_CACHE_HOME", ""), os.path.expanduser("~/.cache"))
    cache = next(filter(os.path.isabs, choices), None)
    if cache is None:
        return
    ours = os.path.join(cache, "specjax")
    keep_in(pathlib.Path(ours, "traced"))
    jax.config.update("jax_compilation_cache_dir", os.path.join(ours, "compiled"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


def compile_quickly() -> None:
    """Where JAX has a CPU only, let XLA optimize less: it compiles sooner, for programs as fast.

    Only has an effect before JAX computes anything. A user's own flags of XLA are left alone.
    """
    accelerated = any(map(importlib.util.find_spec, ("jax_plugins", "libtpu")))
    if not accelerated and not os.environ.get("XLA_FLAGS"):
        os.environ["XLA_FLAGS"] = "--xla_backend_optimization_level=1"
