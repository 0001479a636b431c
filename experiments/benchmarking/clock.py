"""Timing: medians of warm calls, in turn so that a machine's drift meets all alike; its rates."""

import dataclasses
import statistics
import time
from collections.abc import Callable, Hashable, Mapping
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp

_Name = TypeVar("_Name", bound=Hashable)
_PRODUCT, _COPY = "machine: product", "machine: copy"
_MATRIX, _COPY_FLOATS = 4096, 2**26


def medians(calls: Mapping[_Name, Callable[[], Any]], *, repeats: int) -> dict[_Name, float]:
    """Median seconds of each call, after one call that is not counted.

    Round by round each is called once: what slows the machine for a while slows all of them.
    """
    seconds: dict[_Name, list[float]] = {name: [] for name in calls}
    for round_number in range(repeats + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            jax.block_until_ready(call())
            if round_number:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


@dataclasses.dataclass
class Compilations:
    """Counts the programs that XLA compiles, or takes from its cache, from its making on."""

    count: int = 0

    def __post_init__(self):
        jax.monitoring.register_event_duration_secs_listener(self._heard)

    def _heard(self, event: str, duration_secs: float, **_: str | int) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            self.count += 1


class Work(NamedTuple):
    """What a stage cannot do without: operations, and bytes read and written."""

    flops: float = 0.0
    traffic: float = 0.0


class Machine(NamedTuple):
    """Rates per second: operations in a large float32 matrix product, bytes in a large copy."""

    flops: float
    bytes: float

    def floor(self, work: Work) -> float:
        """Seconds that it takes at least."""
        return max(work.flops / self.flops, work.traffic / self.bytes)


def machine_calls() -> dict[str, Callable[[], jax.Array]]:
    """What `machine_of` wants the seconds of: a matrix product and a copy, on the first device.

    To be timed in turn with what is compared to them: the rates of a shared machine drift.
    """
    matrix = jnp.ones((_MATRIX, _MATRIX), jnp.float32)
    values = jnp.ones(_COPY_FLOATS, jnp.float32)
    product = jax.jit(lambda a: jnp.matmul(a, a, precision=jax.lax.Precision.HIGHEST))
    # The addition keeps XLA from returning its argument.
    copy = jax.jit(lambda a: a + 1.0)
    return {_PRODUCT: lambda: product(matrix), _COPY: lambda: copy(values)}


def machine_of(seconds: Mapping[str, float]) -> Machine:
    """The rates that the seconds of `machine_calls` give."""
    return Machine(2 * _MATRIX**3 / seconds[_PRODUCT], 8 * _COPY_FLOATS / seconds[_COPY])
