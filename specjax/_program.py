"""Run a program: parse flags, print a user's mistake as one line, exit with a status."""

import logging
import os
import sys
from collections.abc import Callable, Sequence

import jax
from absl import app, flags

from specjax._flags import with_flag
from specjax._memory import keep_freed_memory
from specjax.errors import SpecjaxError


def refuse_arguments(arguments: Sequence[str], hint: str) -> None:
    """Raise SpecjaxError where there is an argument that is not a flag."""
    if len(arguments) > 1:
        raise SpecjaxError(f"unexpected argument {arguments[1]!r}; {hint}")


def execute(main: Callable[[Sequence[str]], int]) -> None:
    """Run a program's `main`; a user's mistake ends it with one line and status 2."""

    def guarded(arguments: Sequence[str]) -> None:
        keep_freed_memory()
        logging.getLogger("jax").setLevel(logging.WARNING)
        # Messages of the library are plain lines.
        logger = logging.getLogger("specjax")
        logger.handlers[:], logger.propagate = [logging.StreamHandler(sys.stderr)], False
        cache_compiled_programs()
        try:
            status = main(arguments)
        except SpecjaxError as error:
            print(f"error: {with_flag(error)}", file=sys.stderr)
            status = 2
        except BrokenPipeError:
            # The reader of the output, such as `head`, has closed it.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            status = 0
        except KeyboardInterrupt:
            print("interrupted; run the same command again to continue", file=sys.stderr)
            status = 130
        sys.stdout.flush()
        sys.exit(status)

    app.run(guarded, flags_parser=_parse_flags)


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
    """Keep compiled programs on disk between runs, unless JAX has another folder for them."""
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    jax.config.update("jax_compilation_cache_dir", os.path.join(home, "specjax", "compiled"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
