"""Position embeddings of a square grid, resampled for a grid of another size."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from specjax.errors import SpecjaxError
from specjax.tokens import Grid, rows_and_columns

# Added to the wanted side, as the original DINO code does to keep a rounding from losing a row.
_OFFSETS = {"dino": 0.1, "hf": 0.0}

_A = -0.75  # the free parameter of the cubic convolution kernel, PyTorch's choice


def interpolate_positions(
    embeddings: Float[Array, "cells channels"],
    tokens: int,
    grid: Grid,
    *,
    interpolation: str = "dino",
) -> Float[Array, "tokens channels"]:
    """Bicubic resampling of the embeddings of a square grid to the tokens of another grid.

    Equals `torch.nn.functional.interpolate(mode="bicubic", align_corners=False)`: kernel with
    A = -0.75, border clamped, no antialiasing.

    Args:
        embeddings: The stored embeddings, flat over a grid of side s = sqrt(cells).
        tokens: Length of the result; rows from `height * width` on are padding (finite).
        grid: The wanted height and width, Python integers or traced.
        interpolation: "dino" samples at `(i + 0.5) * s / (n + 0.1) - 0.5` along a side of n
            tokens, and returns the embeddings unchanged at the stored size, as the original DINO
            code does; "hf" samples at `(i + 0.5) * s / n - 0.5`, as Hugging Face does.

    Raises:
        SpecjaxError: An unknown interpolation.
    """
    if interpolation not in _OFFSETS:
        raise SpecjaxError(f"interpolation is {interpolation!r}: it must be 'dino' or 'hf'")
    side = round(embeddings.shape[0] ** 0.5)
    height, width = (jnp.asarray(n, jnp.int32) for n in (grid[0], grid[1]))
    offset = jnp.where((height == side) & (width == side), 0.0, _OFFSETS[interpolation])
    row, column = rows_and_columns(tokens, (height, width))
    rows = _cubic_weights(row, height, side, offset)
    columns = _cubic_weights(column, width, side, offset)
    # One product with [tokens, cells] weights needs no gather and takes a traced grid.
    weights = (rows[:, :, None] * columns[:, None, :]).reshape(tokens, side * side)
    return jnp.matmul(weights, embeddings, precision=jax.lax.Precision.HIGHEST)


def _cubic_weights(
    index: Int[Array, "tokens"],
    wanted: Int[Array, ""],
    side: int,
    offset: Float[Array, ""],
) -> Float[Array, "tokens side"]:
    """Weight of each of the `side` stored samples for each index along a side of `wanted`."""
    scale = side / (wanted.astype(jnp.float32) + offset)
    position = (index.astype(jnp.float32) + 0.5) * scale - 0.5
    first = jnp.floor(position)
    weights = jnp.zeros((index.shape[0], side), jnp.float32)
    for tap in (-1, 0, 1, 2):
        sample = jnp.clip(first.astype(jnp.int32) + tap, 0, side - 1)
        weight = _cubic_kernel(jnp.abs(position - first - tap))
        weights = weights + weight[:, None] * jax.nn.one_hot(sample, side, dtype=jnp.float32)
    return weights


def _cubic_kernel(distance: Float[Array, "tokens"]) -> Float[Array, "tokens"]:
    near = ((_A + 2) * distance - (_A + 3)) * distance**2 + 1
    far = ((_A * distance - 5 * _A) * distance + 8 * _A) * distance - 4 * _A
    return jnp.where(distance <= 1, near, jnp.where(distance < 2, far, 0.0))
