"""What the machine can do at best: the rates that floors are made of."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp

_PRODUCT, _COPY = "machine: product", "machine: copy"
_MATRIX = 4096
_COPY_FLOATS = 2**26


class Work(NamedTuple):
    """What a stage cannot do without, or what the machine does in a second.

    Attributes:
        flops: float32 multiplications and additions.
        traffic: bytes read and written.
    """

    flops: float = 0.0
    traffic: float = 0.0


def calls() -> dict[str, Callable[[], jax.Array]]:
    """What `rates` wants the seconds of: a matrix product and a copy in JAX, on the first device.

    To be timed in turn with what is compared to them: the rates of a shared machine drift.
    """
    matrix = jnp.ones((_MATRIX, _MATRIX), jnp.float32)
    values = jnp.ones(_COPY_FLOATS, jnp.float32)
    product = jax.jit(lambda a: jnp.matmul(a, a, precision=jax.lax.Precision.HIGHEST))
    # The addition keeps XLA from returning its argument.
    copy = jax.jit(lambda a: a + 1.0)
    return {_PRODUCT: lambda: product(matrix), _COPY: lambda: copy(values)}


def rates(seconds: Mapping[str, float]) -> Work:
    """The work of a second, from the seconds of `calls`."""
    return Work(2 * _MATRIX**3 / seconds[_PRODUCT], 8 * _COPY_FLOATS / seconds[_COPY])


def floor(work: Work, rates: Work) -> float:
    """Seconds that the work takes at least."""
    return max(work.flops / rates.flops, work.traffic / rates.traffic)
