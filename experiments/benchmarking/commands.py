"""The time of whole commands, each a process of its own."""

import pathlib
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

from specjax import SpecjaxError

_ROOT = pathlib.Path(__file__).resolve().parents[2]


def timed(module_and_flags: Sequence[str], environment: Mapping[str, str]) -> tuple[float, str]:
    """The seconds of a command and the last line it prints; SpecjaxError if it fails."""
    command, start = [sys.executable, "-m", *module_and_flags], time.perf_counter()
    finished = subprocess.run(command, cwd=_ROOT, env=environment, capture_output=True, text=True)
    seconds = time.perf_counter() - start
    if finished.returncode:
        last = (finished.stderr.strip().splitlines() or ["no message"])[-1]
        raise SpecjaxError(f"{module_and_flags[0]} failed: {last}")
    return seconds, finished.stdout.strip().splitlines()[-1]
