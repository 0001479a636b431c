"""Timing: medians of calls in turn, so that drift affects all equally; the machine's rates."""

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
    """The median seconds of each call, after one call that is not counted.

    Each is called once per round, so that a machine that slows for a while slows all of them.
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
    """Counts the programs that XLA compiles or loads from its cache, from its creation on."""

    count: int = 0

    def __post_init__(self):
        jax.monitoring.register_event_duration_secs_listener(self._heard)

    def _heard(self, event: str, duration_secs: float, **_: str | int) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            self.count += 1


class Work(NamedTuple):
    """The least work of a stage: operations, and bytes read and written."""

    flops: float = 0.0
    traffic: float = 0.0


class Machine(NamedTuple):
    """Rates per second: operations of a large float32 matrix product, bytes of a large copy."""

    flops: float
    bytes: float

    def floor(self, work: Work) -> float:
        """The least seconds that the work takes at these rates."""
        return max(work.flops / self.flops, work.traffic / self.bytes)


def machine_calls() -> dict[str, Callable[[], jax.Array]]:
    """The calls whose seconds `machine_of` takes: a matrix product and a copy, on the first device.

    Time them in turn with what they are compared to, as the rates of a shared machine drift.
    """
    matrix = jnp.ones((_MATRIX, _MATRIX), jnp.float32)
    values = jnp.ones(_COPY_FLOATS, jnp.float32)
    product = jax.jit(lambda a: jnp.matmul(a, a, precision=jax.lax.Precision.HIGHEST))
    # The addition keeps XLA from returning its argument.
    copy = jax.jit(lambda a: a + 1.0)
    return {_PRODUCT: lambda: product(matrix), _COPY: lambda: copy(values)}


def machine_of(seconds: Mapping[str, float]) -> Machine:
    """The rates of the machine, from the seconds of `machine_calls`."""
    return Machine(2 * _MATRIX**3 / seconds[_PRODUCT], 8 * _COPY_FLOATS / seconds[_COPY])
