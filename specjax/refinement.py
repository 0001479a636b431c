"""Masks over tokens to masks over pixels that follow the edges of the image.

A token is a square of many pixels. `refine` enlarges masks smoothly and passes them through a
guided filter (He, Sun, Tang, 2010): in each small window, the least-squares fit of the mask by a
linear function of the color. The fit is made at a reduced size and applied at the full size.
"""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Shaped, UInt8

from specjax.tokens import Tiling

# Images are padded to multiples of this many reduced pixels, and grids to multiples of this many
# tokens, so that few programs are compiled.
_PIXELS, _TOKENS = 64, 16
# The longer side of a reduced image, at most.
_REDUCED = 512
_HIGHEST = jax.lax.Precision.HIGHEST


def refine(
    masks: Shaped[Array | np.ndarray, "masks rows columns"],
    image: UInt8[np.ndarray, "height width 3"],
    tiling: Tiling,
    *,
    radius: float = 0.6,
    smoothness: float = 1e-3,
) -> Float32[np.ndarray, "masks height width"]:
    """Enlarge masks from the token grid to the pixels of an image, along its edges.

    Args:
        masks: on the token grid (`as_grid`): booleans, or shares from 0 to 1.
        image: the pixels. Where the image was resized before it was cut, those before it was.
        tiling: how the image was cut into tokens.
        radius: of the filter's windows, in patches.
        smoothness: added to the variance of colors, each from 0 to 1, of a window: the larger, the
            less the edges of the image matter.

    Returns:
        From 0 to 1, how far each pixel belongs to each mask: `refine(...) > 0.5` are masks. Pixels
        right of and below the last whole patch are covered.

    Example:
        >>> image = np.zeros((12, 16, 3), np.uint8)
        >>> image[:, 7:] = 255
        >>> tiling = specjax.Tiling.of_image((12, 16), 4)
        >>> shares = specjax.refine(np.array([[[0, 0, 1, 1]] * 3]), image, tiling)
        >>> shares.shape, (shares[0, 5] > 0.5).sum().item()
        ((1, 12, 16), 9)
    """
    size = image.shape[:2]
    # Sides of the cut image over those of this one.
    scales = [cut / side for cut, side in zip(tiling.image_size, size, strict=True)]
    patch = tiling.patch_size / max(scales)
    # A power of two, so that the longer side is at most _REDUCED reduced pixels.
    shrink = 2 ** max(math.ceil(math.log2(max(size) / _REDUCED)), 0)
    windows = max(round(radius * patch / shrink), 1)
    step = _PIXELS * shrink
    rest = [-side % step for side in size]
    pixels = np.pad(image, ((0, rest[0]), (0, rest[1]), (0, 0)), mode="edge")
    across = [
        _enlarging(tokens, side // shrink, scale * shrink / tiling.patch_size)
        for tokens, side, scale in zip(tiling.grid, pixels.shape[:2], scales, strict=True)
    ]
    spare = [matrix.shape[1] - side for matrix, side in zip(across, tiling.grid, strict=True)]
    padded = np.pad(np.asarray(masks, np.float32), ((0, 0), (0, spare[0]), (0, spare[1])))
    fit = _windows(pixels, np.array(size), shrink=shrink, radius=windows, smoothness=smoothness)
    shares = np.empty((len(padded), *size), np.float32)
    for mask, share in zip(padded, shares, strict=True):
        share[:] = np.asarray(_filtered(fit, mask, *across, shrink=shrink))[: size[0], : size[1]]
    return shares


class _Windows(NamedTuple):
    """What the filter knows of an image before it sees a mask.

    Attributes:
        image: from 0 to 1, color by color.
        reduced: the same at the reduced size.
        rows, columns: which reduced rows, and columns, a window joins: matrices of 0 and 1.
        pixels: of each window.
        means: color in each window.
        inverse: of the covariance matrix of colors in each window.
    """

    image: Float[Array, "3 height width"]
    reduced: Float[Array, "3 rows columns"]
    rows: Float[Array, "rows rows"]
    columns: Float[Array, "columns columns"]
    pixels: Float[Array, "rows columns"]
    means: Float[Array, "3 rows columns"]
    inverse: Float[Array, "3 3 rows columns"]

    def mean(self, maps: Float[Array, "*maps rows columns"]) -> Float[Array, "*maps rows columns"]:
        """The mean of maps over each window, without what is outside the image."""
        summed = jnp.matmul(
            self.rows, jnp.matmul(maps, self.columns, precision=_HIGHEST), precision=_HIGHEST
        )
        return summed / jnp.expand_dims(self.pixels, range(summed.ndim - 2))


@functools.partial(jax.jit, static_argnames=("shrink", "radius"))
def _windows(pixels, size, smoothness, *, shrink, radius):
    image = jnp.moveaxis(pixels.astype(jnp.float32) / 255, -1, 0)
    _, height, width = image.shape
    blocks = image.reshape(3, height // shrink, shrink, width // shrink, shrink)
    reduced = jnp.mean(blocks, axis=(2, 4))
    rows, columns = (
        _band(side, -(-wanted // shrink), radius)
        for side, wanted in zip(reduced.shape[1:], size, strict=True)
    )
    fit = _Windows(
        image=image,
        reduced=reduced,
        rows=rows,
        columns=columns.T,
        pixels=jnp.maximum(jnp.sum(rows, axis=1)[:, None] * jnp.sum(columns, axis=1)[None, :], 1.0),
        means=reduced,
        inverse=jnp.zeros((3, 3, 1, 1)),
    )
    means = fit.mean(reduced)
    products = fit.mean(reduced[:, None] * reduced[None, :])
    covariance = products - means[:, None] * means[None, :]
    return fit._replace(means=means, inverse=_inverse(covariance, smoothness))


def _band(side: int, inside, radius: int) -> Float[Array, "side side"]:
    """1 where two places are at most `radius` apart and the second is inside the image."""
    place = jnp.arange(side)
    near = jnp.abs(place[:, None] - place[None, :]) <= radius
    return (near & (place < inside)[None, :]).astype(jnp.float32)


def _inverse(covariance, smoothness):
    """Inverse of symmetric 3 x 3 matrices (the first two axes) with a larger diagonal."""
    eye = smoothness * jnp.eye(3, dtype=covariance.dtype)[:, :, None, None]
    (a, b, c), (_, d, e), (_, _, f) = covariance + eye
    minors = (
        (d * f - e * e, c * e - b * f, b * e - c * d),
        (c * e - b * f, a * f - c * c, b * c - a * e),
        (b * e - c * d, b * c - a * e, a * d - b * b),
    )
    determinant = a * minors[0][0] + b * minors[0][1] + c * minors[0][2]
    least = smoothness**3
    inverse = jnp.stack([jnp.stack(row) for row in minors])
    return inverse / jnp.maximum(determinant, least)[None, None]


@functools.partial(jax.jit, static_argnames=("shrink",))
def _filtered(fit: _Windows, mask, rows, columns, *, shrink):
    """A mask over tokens, enlarged and filtered: `[height, width]`, from 0 to 1."""
    smooth = jnp.matmul(jnp.matmul(rows, mask, precision=_HIGHEST), columns.T, precision=_HIGHEST)
    averages = fit.mean(jnp.concatenate([smooth[None], smooth[None] * fit.reduced]))
    together = averages[1:] - averages[:1] * fit.means
    slopes = jnp.sum(fit.inverse * together[None], axis=1)
    offset = averages[0] - jnp.sum(slopes * fit.means, axis=0)
    line = _enlarged(fit.mean(jnp.concatenate([slopes, offset[None]])), shrink)
    return jnp.clip(jnp.sum(line[:3] * fit.image, axis=0) + line[3], 0.0, 1.0)


def _enlarged(maps, shrink: int):
    """Maps enlarged by a whole factor, linearly between the centers of pixels."""
    if shrink == 1:
        return maps
    for axis in (1, 2):
        side = maps.shape[axis]
        place = (jnp.arange(side * shrink, dtype=maps.dtype) + 0.5) / shrink - 0.5
        lower = jnp.clip(jnp.floor(place), 0, max(side - 2, 0))
        share = jnp.clip(place - lower, 0.0, 1.0).astype(maps.dtype)
        low = lower.astype(jnp.int32)
        share = share[None, :, None] if axis == 1 else share[None, None, :]
        high = jnp.minimum(low + 1, side - 1)
        maps = jnp.take(maps, low, axis) * (1 - share) + jnp.take(maps, high, axis) * share
    return maps


def _enlarging(tokens: int, pixels: int, scale: float) -> Float32[np.ndarray, "pixels padded"]:
    """Weights of tokens in each pixel of a side, linear between the centers of tokens."""
    matrix = np.zeros((pixels, -(-tokens // _TOKENS) * _TOKENS), np.float32)
    place = np.clip((np.arange(pixels) + 0.5) * scale - 0.5, 0, tokens - 1)
    low = np.minimum(place.astype(int), max(tokens - 2, 0))
    share = (place - low).astype(np.float32)
    matrix[np.arange(pixels), low] += 1 - share
    matrix[np.arange(pixels), np.minimum(low + 1, tokens - 1)] += share
    return matrix
