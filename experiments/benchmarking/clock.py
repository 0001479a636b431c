"""Timing: medians of warm calls, taken in turn so that a machine's drift meets all alike."""

import dataclasses
import resource
import statistics
import time
from collections.abc import Callable, Hashable, Mapping
from typing import Any, TypeVar

import jax

_Name = TypeVar("_Name", bound=Hashable)


def medians(calls: Mapping[_Name, Callable[[], Any]], *, repeats: int) -> dict[_Name, float]:
    """Median seconds of each call, after one call that is not counted.

    Round by round each is called once: what slows the machine for a while slows all of them.
    """
    seconds = {name: [] for name in calls}
    for round_number in range(repeats + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            jax.block_until_ready(call())
            if round_number:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def peak_memory() -> int:
    """The largest resident memory of this process so far, in bytes (Linux)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@dataclasses.dataclass
class Compilations:
    """Counts the programs that XLA compiles, or takes from its cache, from its making on."""

    count: int = 0

    def __post_init__(self):
        jax.monitoring.register_event_duration_secs_listener(self._heard)

    def _heard(self, event: str, seconds: float, **_: Any) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            self.count += 1
