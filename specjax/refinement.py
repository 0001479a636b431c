"""Masks over tokens to masks over pixels that follow the edges of the image.

A token is a square of many pixels. `refine` enlarges masks smoothly and passes them through a
guided filter (He, Sun, Tang, 2010): in each small window, the least-squares fit of the mask by a
linear function of the color. The fit is made at a reduced size and applied at the full size.
"""

import functools
import math
from collections.abc import Iterator
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
    radius: float = 1.4,
    smoothness: float = 3e-4,
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
    shares = np.empty((len(masks), *image.shape[:2]), np.float32)
    given = {"radius": radius, "smoothness": smoothness}
    for share, found in zip(shares, refine_each(masks, image, tiling, **given), strict=True):
        share[:] = found
    return shares


def refine_each(
    masks: Shaped[Array | np.ndarray, "masks rows columns"],
    image: UInt8[np.ndarray, "height width 3"],
    tiling: Tiling,
    *,
    radius: float = 1.4,
    smoothness: float = 3e-4,
) -> Iterator[Float32[np.ndarray, "height width"]]:
    """What `refine` gives, one mask after the other, in the memory of one."""
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
    static = {"shrink": shrink, "radius": windows}
    fit = _windows(pixels, np.array(size), smoothness=smoothness, **static)
    for mask in padded:
        yield np.asarray(_filtered(fit, mask, *across, **static))[: size[0], : size[1]]


class _Windows(NamedTuple):
    """What the filter knows of an image before it sees a mask.

    Attributes:
        image: from 0 to 1, color by color.
        reduced: the same at the reduced size.
        inside: 1 for reduced pixels inside the image, 0 for padding.
        pixels: of each window.
        means: color in each window.
        inverse: of the covariance matrix of colors in each window.
    """

    image: Float[Array, "3 height width"]
    reduced: Float[Array, "3 rows columns"]
    inside: Float[Array, "rows columns"]
    pixels: Float[Array, "rows columns"]
    means: Float[Array, "3 rows columns"]
    inverse: Float[Array, "3 3 rows columns"]


@functools.partial(jax.jit, static_argnames=("shrink", "radius"))
def _windows(pixels, size, smoothness, *, shrink, radius):
    image = jnp.moveaxis(pixels.astype(jnp.float32) / 255, -1, 0)
    _, height, width = image.shape
    blocks = image.reshape(3, height // shrink, shrink, width // shrink, shrink)
    reduced = jnp.mean(blocks, axis=(2, 4))
    inside = [
        (jnp.arange(side) < -(-wanted // shrink)).astype(jnp.float32)
        for side, wanted in zip(reduced.shape[1:], size, strict=True)
    ]
    inside = inside[0][:, None] * inside[1][None, :]
    pixels = jnp.maximum(_sums(inside[None], radius)[0], 1.0)
    mean = functools.partial(_means, inside=inside, pixels=pixels, radius=radius)
    means = mean(reduced)
    products = jax.vmap(mean)(reduced[:, None] * reduced[None, :])
    covariance = products - means[:, None] * means[None, :]
    inverse = _inverse(covariance, smoothness)
    return _Windows(image, reduced, inside, pixels, means, inverse)


def _means(maps, inside, pixels, radius: int):
    """The mean of each map over each window, without what is outside the image."""
    return _sums(maps * inside[None], radius) / pixels[None]


def _sums(maps, radius: int):
    """The sum of each map over each window, from sums over 1, 2, 4, ... neighbours."""
    width = 2 * radius + 1
    for axis in (1, 2):
        side = maps.shape[axis]
        runs, size = _padded(maps, radius, axis, "constant"), 1
        total, done = jnp.zeros_like(maps), 0
        while True:
            if width & size:
                total, done = total + _shifted(runs, done, side, axis), done + size
            if 2 * size > width:
                break
            rest = runs.shape[axis] - size
            # Barriers: XLA would fuse the sums, and compute each again for each of its uses.
            runs = jax.lax.optimization_barrier(
                _shifted(runs, 0, rest, axis) + _shifted(runs, size, rest, axis)
            )
            size *= 2
        maps = jax.lax.optimization_barrier(total)
    return maps


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


@functools.partial(jax.jit, static_argnames=("shrink", "radius"))
def _filtered(fit: _Windows, mask, rows, columns, *, shrink, radius):
    """A mask over tokens, enlarged and filtered: `[height, width]`, from 0 to 1."""
    smooth = jnp.matmul(jnp.matmul(rows, mask, precision=_HIGHEST), columns.T, precision=_HIGHEST)
    mean = functools.partial(_means, inside=fit.inside, pixels=fit.pixels, radius=radius)
    averages = mean(jnp.concatenate([smooth[None], smooth[None] * fit.reduced]))
    together = averages[1:] - averages[:1] * fit.means
    slopes = jnp.stack([_dot(row, together) for row in fit.inverse])
    offset = averages[0] - _dot(slopes, fit.means)
    line = _enlarged(mean(jnp.concatenate([slopes, offset[None]])), shrink)
    return jnp.clip(_dot(line[:3], fit.image) + line[3], 0.0, 1.0)


def _dot(left, right):
    """The sum of the products of three maps; `jnp.sum` is several times slower on a CPU."""
    return left[0] * right[0] + left[1] * right[1] + left[2] * right[2]


def _enlarged(maps, shrink: int):
    """Maps enlarged by a whole factor, linearly between the centers of pixels."""
    if shrink == 1:
        return maps
    for axis in (1, 2):
        side = maps.shape[axis]
        padded = _padded(maps, 1, axis, "edge")
        phases = []
        for phase in range(shrink):
            place = (phase + 0.5) / shrink + 0.5
            low, share = int(place), place % 1
            before, after = (_shifted(padded, at, side, axis) for at in (low, low + 1))
            phases.append(before * (1 - share) + after * share)
        shape = [*maps.shape]
        shape[axis] = side * shrink
        maps = jnp.stack(phases, axis=axis + 1).reshape(shape)
    return maps


def _padded(maps, width: int, axis: int, mode: str):
    around = [(width, width) if a == axis else (0, 0) for a in range(maps.ndim)]
    return jnp.pad(maps, around, mode=mode)


def _shifted(maps, first: int, side: int, axis: int):
    return jax.lax.slice_in_dim(maps, first, first + side, axis=axis)


def _enlarging(tokens: int, pixels: int, scale: float) -> Float32[np.ndarray, "pixels padded"]:
    """Weights of tokens in each pixel of a side, linear between the centers of tokens."""
    matrix = np.zeros((pixels, -(-tokens // _TOKENS) * _TOKENS), np.float32)
    place = np.clip((np.arange(pixels) + 0.5) * scale - 0.5, 0, tokens - 1)
    low = np.minimum(place.astype(int), max(tokens - 2, 0))
    share = (place - low).astype(np.float32)
    matrix[np.arange(pixels), low] += 1 - share
    matrix[np.arange(pixels), np.minimum(low + 1, tokens - 1)] += share
    return matrix
