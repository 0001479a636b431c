"""Helpers for degenerate cases: each gives a defined value and a finite gradient.

`jnp.where` alone does not protect a gradient: the branch not taken still contributes
`0 * inf = nan`. So each helper replaces the bad argument before the operation.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def safe_divide(numerator: Float[Array, "..."], denominator: Float[Array, "..."]):
    """`numerator / denominator`, broadcast, and 0 where the denominator is 0."""
    # Broadcast first: XLA would multiply by the reciprocal of a smaller array, which rounds twice.
    denominator = jnp.broadcast_to(
        denominator, jnp.broadcast_shapes(numerator.shape, denominator.shape)
    )
    zero = denominator == 0
    return jnp.where(zero, 0.0, numerator / jnp.where(zero, 1.0, denominator))


def safe_sqrt(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Square root of `max(x, 0)`, with gradient 0 where `x <= 0`."""
    positive = x > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, x, 1.0)), 0.0)


def safe_norm(x: Float[Array, "*batch n"]) -> Float[Array, "*batch"]:
    """Euclidean norm over the last axis, with gradient 0 at the zero vector."""
    return safe_sqrt(jnp.sum(x * x, axis=-1))


def safe_x_log2_x(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """`x * log2(x)`, and 0 where x is 0 (`scipy.special.xlogy(x, x) / log(2)`)."""
    zero = x == 0
    return jnp.where(zero, 0.0, x * jnp.log2(jnp.where(zero, 1.0, x)))


def masked_mean(x: Float[Array, "n *rest"], mask: Bool[Array, " n"]) -> Float[Array, "*rest"]:
    """Mean over the rows of a mask; 0 for an empty mask."""
    mask = mask.reshape(mask.shape + (1,) * (x.ndim - 1))
    count = jnp.sum(mask).astype(x.dtype)
    return jnp.sum(jnp.where(mask, x, 0.0), axis=0) / jnp.maximum(count, 1.0)
