"""Where a token is: resampled position embeddings, sine-cosine ones, and rotary angles."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Int

from specjax.errors import SpecjaxError
from specjax.models.config import FAMILIES, Resampling
from specjax.tokens import Grid, rows_and_columns

POSITIONS = ("auto", "dino", "hf")

# The free parameter of the cubic convolution kernel: PyTorch has one value for plain resampling and
# another, Pillow's, where it widens the kernel against aliasing.
_A, _A_ANTIALIASED = -0.75, -0.5


def resampling_named(interpolation: str, *, family: str) -> Resampling:
    """How "auto" (the family's original code), "dino" or "hf" resamples position embeddings.

    Raises:
        SpecjaxError: an unknown interpolation.
    """
    rules = {
        "auto": FAMILIES[family].original,
        "dino": FAMILIES["vit"].original,
        "hf": FAMILIES[family].huggingface,
    }
    if interpolation not in rules:
        raise SpecjaxError(
            f"pos_interpolation is {interpolation!r}: choose one of {', '.join(POSITIONS)}",
            parameter="pos_interpolation",
        )
    return rules[interpolation]


def interpolate_positions(
    embeddings: Float[Array, "cells channels"],
    tokens: int,
    grid: Grid,
    *,
    resampling: Resampling,
) -> Float[Array, "tokens channels"]:
    """Bicubic resampling of the embeddings of a square grid to the tokens of another grid.

    Token i of n along a side samples at `(i + 0.5) * s / (n + offset) - 0.5`; at the stored size
    the embeddings come back unchanged. Equals
    `torch.nn.functional.interpolate(mode="bicubic", align_corners=False)`, with its `antialias`
    where the rule says so and `scale_factor=(n + offset) / s` where there is an offset.

    Args:
        embeddings: the stored embeddings, flat over a grid of side s = sqrt(cells).
        tokens: length of the result; rows from `height * width` on are padding (finite).
        grid: the wanted height and width, Python integers or traced.
        resampling: the rule, of which antialiasing never comes with an offset.
    """
    side = round(embeddings.shape[0] ** 0.5)
    height, width = (jnp.asarray(n, jnp.int32) for n in (grid[0], grid[1]))
    offset = jnp.where((height == side) & (width == side), 0.0, resampling.offset)
    weights_along = _antialiased_weights if resampling.antialias else _cubic_weights
    row, column = rows_and_columns(tokens, (height, width))
    rows = weights_along(row, height, side, offset)
    columns = weights_along(column, width, side, offset)
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
        weight = _cubic_kernel(jnp.abs(position - first - tap), _A)
        weights = weights + weight[:, None] * jax.nn.one_hot(sample, side, dtype=jnp.float32)
    return weights


def _antialiased_weights(
    index: Int[Array, "tokens"],
    wanted: Int[Array, ""],
    side: int,
    offset: Float[Array, ""],
) -> Float[Array, "tokens side"]:
    """The same with a kernel as wide as a step, and weights that sum to 1 inside the border."""
    scale = side / (wanted.astype(jnp.float32) + offset)
    centre = (index.astype(jnp.float32)[:, None] + 0.5) * scale
    # Samples whose middle is within the kernel's support, in whole samples as PyTorch counts them.
    width = jnp.maximum(scale, 1.0)
    sample = jnp.arange(side, dtype=jnp.float32)[None, :]
    first = jnp.floor(centre - 2 * width + 0.5)
    last = jnp.floor(centre + 2 * width + 0.5)
    weights = _cubic_kernel(jnp.abs(sample + 0.5 - centre) / width, _A_ANTIALIASED)
    weights = jnp.where((sample >= first) & (sample < last), weights, 0.0)
    total = jnp.sum(weights, axis=1, keepdims=True)
    # Padding of the token array may lie outside of the stored grid.
    return weights / jnp.where(total == 0, 1.0, total)


def _cubic_kernel(distance: Float[Array, "..."], a: float) -> Float[Array, "..."]:
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    return jnp.where(distance <= 1, near, jnp.where(distance < 2, far, 0.0))


def sine_cosine_positions(
    side: int, channels: int, *, columns_first: bool
) -> Float32[np.ndarray, "cells channels"]:
    """The fixed position embeddings of MAE and MoCo v3, which their files may leave out.

    Half of the channels hold the place along one axis, half along the other; each half is sines,
    then cosines, of the place times `10000 ** (-i / (channels / 4))`.

    Args:
        side: of the square grid.
        channels: a multiple of 4.
        columns_first: whether the first half is of columns (MAE) or of rows (MoCo v3).
    """
    frequencies = 1 / 10000 ** (np.arange(channels // 4) / (channels // 4))
    places = np.arange(side)[:, None] * frequencies
    along = np.concatenate([np.sin(places), np.cos(places)], axis=1)
    rows = np.repeat(along, side, axis=0)
    columns = np.tile(along, (side, 1))
    halves = (columns, rows) if columns_first else (rows, columns)
    return np.concatenate(halves, axis=1).astype(np.float32)


def rotary_angles(
    tokens: int, grid: Grid, *, head_size: int, theta: float
) -> Float[Array, "tokens head_size"]:
    """Angles by which DINOv3 turns the queries and keys of each token.

    The centre of a token, from -1 to 1 along each side of the image, times 2 pi over periods from
    1 to nearly `theta`: a quarter of a head for rows, a quarter for columns, and both once more.
    """
    height, width = (jnp.asarray(n, jnp.float32) for n in (grid[0], grid[1]))
    row, column = rows_and_columns(tokens, (grid[0], grid[1]))
    quarter = head_size // 4
    frequencies = jnp.asarray(1 / theta ** (np.arange(quarter) / quarter), jnp.float32)
    places = jnp.stack(
        [
            2 * (row.astype(jnp.float32) + 0.5) / height - 1,
            2 * (column.astype(jnp.float32) + 0.5) / width - 1,
        ],
        axis=1,
    )
    angles = (2 * np.pi * places[:, :, None] * frequencies[None, None, :]).reshape(tokens, -1)
    return jnp.tile(angles, (1, 2))
