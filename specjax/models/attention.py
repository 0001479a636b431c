"""Softmax attention by tiles of queries, and matrix products of a chosen precision."""

import dataclasses
import math

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from specjax.errors import SpecjaxError

PRECISION = jax.lax.Precision.HIGHEST
DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


@dataclasses.dataclass(frozen=True)
class Product:
    """Matrix products of factors rounded to a precision, summed in float32."""

    dtype: jax.typing.DTypeLike

    @classmethod
    def named(cls, dtype: str) -> "Product":
        """The products of "float32" or "bfloat16".

        Raises:
            SpecjaxError: another name.
        """
        if dtype not in DTYPES:
            raise SpecjaxError(f"unknown dtype {dtype!r}: choose {' or '.join(DTYPES)}")
        return cls(DTYPES[dtype])

    def linear(self, layer: nnx.Linear, inputs: jax.Array) -> jax.Array:
        """The layer's output."""
        outputs = self(inputs, layer.kernel[...])
        return outputs if layer.bias is None else outputs + layer.bias[...][None, :]

    def __call__(self, left: jax.Array, right: jax.Array) -> jax.Array:
        """Their matrix product."""
        return jnp.matmul(
            left.astype(self.dtype),
            right.astype(self.dtype),
            precision=PRECISION,
            preferred_element_type=jnp.float32,
        )


def rotate(
    features: Float[Array, "sequence channels"],
    angles: Float[Array, "sequence head_size"],
) -> Float[Array, "sequence channels"]:
    """Features turned by rotary angles: each head's first half with its second, as pairs."""
    length, channels = features.shape
    heads = features.reshape(length, -1, angles.shape[1])
    first, second = jnp.split(heads, 2, axis=-1)
    turned = jnp.concatenate([-second, first], axis=-1)
    cos, sin = jnp.cos(angles)[:, None, :], jnp.sin(angles)[:, None, :]
    return (heads * cos + turned * sin).reshape(length, channels)


def attention(
    queries: Float[Array, "sequence channels"],
    keys: Float[Array, "sequence channels"],
    values: Float[Array, "sequence channels"],
    key_mask: Bool[Array, "sequence"],
    *,
    num_heads: int,
    chunk: int,
    dtype: jax.typing.DTypeLike = jnp.float32,
) -> Float[Array, "sequence channels"]:
    """Softmax attention, at most `chunk` queries at a time; keys outside the mask weigh 0.

    At least one key must be inside the mask. `dtype` is that of what is multiplied.
    """
    product = Product(dtype)
    length, channels = queries.shape
    size = channels // num_heads
    steps = math.ceil(length / chunk)
    # Equal steps waste fewer padded queries than full ones and a remainder.
    step = min(math.ceil(length / steps), chunk)
    keys, values = keys.astype(dtype), values.astype(dtype)
    queries = jnp.pad(queries * (1 / math.sqrt(size)), ((0, steps * step - length), (0, 0)))
    # Heads first and contiguous: each step is then two plain batched matrix products.
    queries = queries.reshape(steps, step, num_heads, size).transpose(0, 2, 1, 3)
    keys = keys.reshape(length, num_heads, size).transpose(1, 2, 0)
    values = values.reshape(length, num_heads, size).transpose(1, 0, 2)
    penalty = jnp.where(key_mask, 0.0, -jnp.inf)[None, None, :]

    def attend(queries: Float[Array, "heads step size"]) -> Float[Array, "heads step size"]:
        scores = product(queries, keys) + penalty
        # The largest score cancels out of the result, so its slope, which is slow, is not needed.
        largest = jax.lax.stop_gradient(jnp.max(scores, axis=-1, keepdims=True))
        weights = jnp.exp(scores - largest)
        # Dividing after the product touches `size` numbers a query instead of `length`.
        total = jnp.sum(weights, axis=-1, keepdims=True)
        return product(weights, values) / total

    attended = attend(queries[0])[None] if steps == 1 else jax.lax.map(attend, queries)
    return attended.transpose(0, 2, 1, 3).reshape(steps * step, channels)[:length]
