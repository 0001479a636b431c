"""Foreground segmentation: the Fiedler bipartition and its post-processing.

Features are `[tokens, channels]`; masks are flat, row-major over `grid` (see `specjax.tokens`).
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from specjax._numerics import safe_divide, safe_sqrt
from specjax.morphology import RegionArea, drop_small_regions, fill_holes, median_filter_mask
from specjax.spectral import orient, smallest_eigenpairs
from specjax.tokens import Grid, rows_and_columns, valid_tokens

# Width of a border strip in tokens. Where enough strips are almost all foreground, the bipartition
# took the background for the foreground.
_STRIP = 5
_STRIP_SHARE = 0.9
_STRIPS_NEEDED = 2


class Bipartition(NamedTuple):
    """The split of an image into foreground and background.

    Attributes:
        mask: the foreground: tokens where the Fiedler vector is positive.
        fiedler: the oriented Fiedler vector, y^T D y = 1.
        eigenvalues: the two smallest: 0 and the Fiedler value.
    """

    mask: Bool[Array, " tokens"]
    fiedler: Float[Array, " tokens"]
    eigenvalues: Float[Array, "2"]


def foreground_graph(
    features: Float[Array, "tokens channels"], *, valid: Bool[Array, " tokens"] | None = None
) -> Float[Array, "tokens tokens"]:
    """W = max(F F^T, 0) divided by its largest entry."""
    if valid is not None:
        features = jnp.where(valid[:, None], features, 0.0)
    # The largest entry is on the diagonal, so that dividing the features, which are far fewer
    # numbers, divides the graph.
    largest = safe_sqrt(jnp.max(jnp.sum(features * features, axis=1)))
    features = safe_divide(features, largest)
    return jnp.maximum(jnp.matmul(features, features.T, precision=jax.lax.Precision.HIGHEST), 0.0)


@functools.partial(jax.jit, static_argnames=("solver", "break_ties"))
def bipartition(
    features: Float[Array, "tokens channels"],
    grid: Grid,
    *,
    solver: str = "auto",
    break_ties: bool = True,
) -> Bipartition:
    """Split the tokens of an image by the sign of the Fiedler vector of their graph.

    The graph is W = max(F' F'^T, 0) divided by its largest entry, and the Fiedler vector is the
    second smallest eigenvector of (D - W) y = l D y. Its sign follows `specjax.spectral.orient`. An
    image of one token has no foreground. A token of zero features has no edges, so that its sign
    would be arbitrary: it is background.

    Args:
        features: F', the reduced and normalised features (`noise_channel_reduction`,
            `normalize_tokens`).
        grid: rows and columns of the token grid; may be traced.
        solver: eigensolver, see `smallest_eigenpairs`; static.
        break_ties: whether a vector has a defined sign where neither sign has more than half of its
            entries (`Protocol.break_sign_ties`); static.

    Returns:
        The mask, the Fiedler vector and both eigenvalues.

    Raises:
        SpecjaxError: the solver is unknown.

    Example:
        >>> features = jnp.array([[1.0, 0.0], [1.0, 0.1], [1.0, 0.0], [0.1, 1.0], [0.0, 1.0]])
        >>> features = specjax.normalize_tokens(features)
        >>> print(specjax.bipartition(features, (1, 5)).mask)
        [False False False  True  True]
    """
    valid = valid_tokens(features.shape[0], grid)
    pairs = smallest_eigenpairs(
        foreground_graph(features, valid=valid), count=2, solver=solver, valid=valid
    )
    fiedler = orient(pairs.vectors[1:], break_ties=break_ties, valid=valid)[0]
    joined = jnp.any(features != 0, axis=1) & valid
    return Bipartition(mask=(fiedler > 0) & joined, fiedler=fiedler, eigenvalues=pairs.values)


def invert_if_background(mask: Bool[Array, " tokens"], grid: Grid) -> Bool[Array, " tokens"]:
    """Invert the mask where at least 2 of its 4 border strips are over 90 % foreground.

    Strips are 5 tokens wide, or the whole side where it is shorter.
    """
    valid = valid_tokens(mask.shape[0], grid)
    row, column = rows_and_columns(mask.shape[0], grid)
    strips = jnp.stack(
        [row < _STRIP, row >= grid[0] - _STRIP, column < _STRIP, column >= grid[1] - _STRIP]
    )
    strips = strips & valid[None, :]
    size = jnp.sum(strips, axis=1)
    filled = jnp.sum(strips & mask[None, :], axis=1)
    # In integers: 9 of 10 is exactly 90 %, and so not more than that.
    full = filled * 10 > size * round(10 * _STRIP_SHARE)
    inverted = jnp.sum(full) >= _STRIPS_NEEDED
    return jnp.where(inverted, ~mask, mask) & valid


@functools.partial(jax.jit, static_argnames=("median_size", "area"))
def postprocess(
    mask: Bool[Array, " tokens"],
    grid: Grid,
    *,
    median_size: int = 5,
    area: RegionArea = "tokens",
) -> Bool[Array, " tokens"]:
    """Post-process a foreground mask.

    In order: invert the mask where at least 2 of its 4 border strips (5 tokens wide) are more than
    90 % foreground; fill holes (`scipy.ndimage.binary_fill_holes`); drop 8-connected regions
    smaller than 10 % of the largest; median filter (`cv2.medianBlur`).

    Args:
        mask: foreground tokens.
        grid: rows and columns of the token grid; may be traced.
        median_size: side of the median filter's window in tokens, odd; static.
        area: how the area of a region is measured, "tokens" (the paper's protocol) or "contour"
            (the released code); static. See `specjax.morphology.region_areas`.

    Returns:
        The mask, False for padding.

    Example:
        >>> mask = np.zeros((9, 9), bool)
        >>> mask[2:7, 2:7], mask[4, 4], mask[0, 8] = True, False, True
        >>> done = specjax.postprocess(jnp.asarray(mask.ravel()), (9, 9), median_size=3)
        >>> done = specjax.as_grid(done, (9, 9))
        >>> bool(done[4, 4]), bool(done[0, 8])
        (True, False)
    """
    mask = fill_holes(invert_if_background(mask, grid), grid)
    mask = drop_small_regions(mask, grid, fraction=0.1, area=area)
    return median_filter_mask(mask, grid, size=median_size)
