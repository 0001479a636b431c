"""What the machine can do at best: the rates that floors are made of."""

import dataclasses

import jax
import jax.numpy as jnp

from experiments.benchmarking.clock import medians

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

    def floor(self, *, flops: float = 0.0, traffic: float = 0.0) -> float:
        """Seconds that so many operations and bytes take at least, the larger of the two."""
        return max(flops / self.flops, traffic / self.bytes)


def measure(*, repeats: int) -> Machine:
    """Rates of a matrix product and of a copy in JAX, on the first device."""
    matrix = jnp.ones((_MATRIX, _MATRIX), jnp.float32)
    values = jnp.ones(_COPY_FLOATS, jnp.float32)
    product = jax.jit(lambda a: jnp.matmul(a, a, precision=jax.lax.Precision.HIGHEST))
    # The addition keeps XLA from returning its argument.
    copy = jax.jit(lambda a: a + 1.0)
    seconds = medians(
        {"product": lambda: product(matrix), "copy": lambda: copy(values)}, repeats=repeats
    )
    return Machine(2 * _MATRIX**3 / seconds["product"], 8 * _COPY_FLOATS / seconds["copy"])
