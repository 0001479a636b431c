"""Median filter, connected components, holes and small regions, on the token grid.

Masks and maps are flat, row-major over `grid`, possibly padded (`specjax.tokens`). Padding is False
in every mask returned, and 0 in every map. Functions take one image; map them by `jax.vmap`.
"""

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from specjax.tokens import Grid, neighbours, rows_and_columns, valid_tokens

_Mask = Bool[Array, " tokens"]
_STRAIGHT = ((-1, 0), (1, 0), (0, -1), (0, 1))
_DIAGONAL = ((-1, -1), (-1, 1), (1, -1), (1, 1))

RegionArea = Literal["tokens", "contour"]


def median_filter(
    values: Float[Array, " tokens"], grid: Grid, *, size: int
) -> Float[Array, " tokens"]:
    """Median over a window of `size` x `size` tokens, `size` odd; the border is replicated.

    Equals `scipy.ndimage.median_filter(values, size, mode="nearest")` on the 2-D map.
    """
    tokens = values.shape[0]
    window = values[neighbours(tokens, grid, _square(size))]
    partners = jnp.asarray(_sorting_stages(size * size))
    keeps_smaller = partners > jnp.arange(size * size)[None, :]

    def stage(window, wiring):
        partner, smaller = wiring
        other = window[partner]
        low, high = jnp.minimum(window, other), jnp.maximum(window, other)
        return jnp.where(smaller[:, None], low, high), None

    window = jax.lax.scan(stage, window, (partners, keeps_smaller))[0]
    return jnp.where(valid_tokens(tokens, grid), window[size * size // 2], 0.0)


def median_filter_mask(mask: _Mask, grid: Grid, *, size: int) -> _Mask:
    """Majority over a window of `size` x `size` tokens, `size` odd; the border is replicated.

    Equals `cv2.medianBlur` on the mask as 0 and 1.
    """
    tokens = mask.shape[0]
    votes = jnp.sum(mask[neighbours(tokens, grid, _square(size))], axis=0)
    return (votes > size * size // 2) & valid_tokens(tokens, grid)


def connected_components(
    mask: _Mask, grid: Grid, *, connectivity: Literal[4, 8]
) -> Int[Array, " tokens"]:
    """Label of each token's region: the index of its first token in row-major order.

    Tokens outside the mask have label -1. `scipy.ndimage.label` finds the same regions and
    numbers them 1, 2, ...
    """
    tokens = mask.shape[0]
    mask = mask & valid_tokens(tokens, grid)
    steps = _STRAIGHT if connectivity == 4 else _STRAIGHT + _DIAGONAL
    around = neighbours(tokens, grid, steps)
    # Tokens outside the mask have the label `tokens`, which no region can have.
    start = jnp.where(mask, jnp.arange(tokens), tokens)

    def spread(state):
        labels, _ = state
        new = jnp.minimum(labels, jnp.min(labels[around], axis=0))
        new = jnp.where(mask, new, tokens)
        # A label is the index of a token of the same region. Taking that token's label spreads
        # labels faster.
        for _ in range(2):
            new = jnp.append(new, tokens)[new]
        return new, jnp.any(new != labels)

    labels, _ = jax.lax.while_loop(lambda state: state[1], spread, (start, jnp.any(mask)))
    return jnp.where(mask, labels, -1)


def fill_holes(mask: _Mask, grid: Grid) -> _Mask:
    """Fill holes: regions of background that are not 4-connected to the border.

    Equals `scipy.ndimage.binary_fill_holes`.
    """
    tokens = mask.shape[0]
    valid = valid_tokens(tokens, grid)
    row, column = rows_and_columns(tokens, grid)
    border = (row == 0) | (row == grid[0] - 1) | (column == 0) | (column == grid[1] - 1)
    labels = connected_components(~mask & valid, grid, connectivity=4)
    open_regions = jnp.zeros(tokens, bool).at[labels].max(border & valid & ~mask)
    hole = (labels >= 0) & ~open_regions[labels]
    return (mask | hole) & valid


def region_areas(
    mask: _Mask, labels: Int[Array, " tokens"], grid: Grid, *, area: RegionArea
) -> Float[Array, " tokens"]:
    """Area of each region, at the index equal to its label; 0 at other indices.

    "tokens" counts tokens. "contour" is the area of the polygon through the centres of the boundary
    tokens (`cv2.contourArea`): the number of 2x2 blocks of four tokens, plus half the number of
    blocks of three. It expects regions without holes.
    """
    tokens = mask.shape[0]
    if area == "tokens":
        return jnp.zeros(tokens, jnp.float32).at[labels].add(mask.astype(jnp.float32))
    row, column = rows_and_columns(tokens, grid)
    # A block extends right of and below its first token: none starts in the last row or column.
    starts = (row < grid[0] - 1) & (column < grid[1] - 1)
    block = neighbours(tokens, grid, ((0, 0), (0, 1), (1, 0), (1, 1)))
    filled = jnp.sum(mask[block], axis=0)
    share = jnp.where(filled == 4, 1.0, jnp.where(filled == 3, 0.5, 0.0)).astype(jnp.float32)
    # All tokens of a block touch each other: they belong to the same region.
    owner = jnp.max(labels[block], axis=0)
    counts = starts & (owner >= 0)
    return jnp.zeros(tokens, jnp.float32).at[owner].add(jnp.where(counts, share, 0.0))


def drop_small_regions(
    mask: _Mask, grid: Grid, *, fraction: float = 0.1, area: RegionArea = "tokens"
) -> _Mask:
    """Drop 8-connected regions smaller than `fraction` of the largest.

    Where all regions have area 0, as thin ones have by "contour", none is dropped.
    """
    mask = mask & valid_tokens(mask.shape[0], grid)
    labels = connected_components(mask, grid, connectivity=8)
    areas = region_areas(mask, labels, grid, area=area)
    return mask & (areas[labels] >= fraction * jnp.max(areas))


def _square(size: int) -> tuple[tuple[int, int], ...]:
    """Steps to the tokens of a `size` x `size` window."""
    reach = range(-(size // 2), size // 2 + 1)
    return tuple((i, j) for i in reach for j in reach)


def _sorting_stages(length: int) -> np.ndarray:
    """Batcher's merge exchange: `[stages, length]`, the partner of each position in each stage.

    In a stage, the lower position of a pair takes the smaller value; a position that is its own
    partner keeps its value. Minima and maxima of whole maps are many times faster than sorting at
    each token.
    """
    stages = []
    top = 1 << max(length - 1, 1).bit_length() - 1
    p = top
    while p > 0:
        q, r, d = top, 0, p
        while d > 0:
            partner = np.arange(length)
            low = np.array([i for i in range(length - d) if i & p == r], int)
            partner[low], partner[low + d] = low + d, low
            stages.append(partner)
            d, q, r = q - p, q >> 1, p
        p >>= 1
    return np.stack(stages)
