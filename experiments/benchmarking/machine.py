"""What the machine can do at best: the rates that floors are made of."""

import dataclasses
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp

_PRODUCT, _COPY = "machine: product", "machine: copy"
_MATRIX = 4096
_COPY_FLOATS = 2**26


@dataclasses.dataclass(frozen=True)
class Machine:
    """Measured rates.

    Attributes:
        flops: multiplications and additions a second in a large float32 matrix product.
        bytes: read and written a second in a large copy.
    """

    flops: float
    bytes: float

    def floor(self, work: "Work") -> float:
        """Seconds that it takes at least."""
        return max(work.flops / self.flops, work.traffic / self.bytes)


@dataclasses.dataclass(frozen=True)
class Work:
    """What cannot be done without: operations, and bytes read and written."""

    flops: float = 0.0
    traffic: float = 0.0


def calls() -> dict[str, Callable[[], jax.Array]]:
    """What `of` wants the seconds of: a matrix product and a copy in JAX, on the first device.

    To be timed in turn with what is compared to them: the rates of a shared machine drift.
    """
    matrix = jnp.ones((_MATRIX, _MATRIX), jnp.float32)
    values = jnp.ones(_COPY_FLOATS, jnp.float32)
    product = jax.jit(lambda a: jnp.matmul(a, a, precision=jax.lax.Precision.HIGHEST))
    # The addition keeps XLA from returning its argument.
    copy = jax.jit(lambda a: a + 1.0)
    return {_PRODUCT: lambda: product(matrix), _COPY: lambda: copy(values)}


def of(seconds: Mapping[str, float]) -> Machine:
    """The rates that the seconds of `calls` give."""
    return Machine(2 * _MATRIX**3 / seconds[_PRODUCT], 8 * _COPY_FLOATS / seconds[_COPY])
