"""What TokenCut, MaskCut and DSM are made of: graphs, a cut, the region of a seed, boxes.

Features are `[tokens, channels]`; masks and vectors are flat, row-major over `grid`, possibly
padded (`specjax.tokens`). A box is left, top, right, bottom in tokens, right and bottom excluded,
as the released codes write it.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from specjax._numerics import masked_mean
from specjax.channels import normalize_tokens
from specjax.morphology import connected_components
from specjax.spectral import smallest_eigenpairs
from specjax.tokens import Grid, rows_and_columns, valid_tokens

_Features = Float[Array, "tokens channels"]
_Graph = Float[Array, "tokens tokens"]
_Mask = Bool[Array, " tokens"]

# Values of an eigenvector that differ by less than this share are the same but for rounding.
_SAME = 1e-4


class Cut(NamedTuple):
    """A graph cut in two by its second eigenvector.

    Attributes:
        side: tokens where the vector is above its mean.
        vector: the eigenvector of the second smallest eigenvalue, of arbitrary sign.
        eigenvalues: the three smallest. Where the second and the third are equal, the vector, and
            with it the cut, is arbitrary.
    """

    side: _Mask
    vector: Float[Array, " tokens"]
    eigenvalues: Float[Array, "3"]


def centered(features: _Features, grid: Grid) -> _Features:
    """The features less their mean over the image; padding stays 0."""
    valid = valid_tokens(features.shape[0], grid)
    return jnp.where(valid[:, None], features - masked_mean(features, valid)[None, :], 0.0)


def cosines(features: _Features, grid: Grid, *, center: bool) -> _Graph:
    """Cosine similarity of all pairs of tokens, `centered` or not; 0 for padding and zeros."""
    valid = valid_tokens(features.shape[0], grid)
    if center:
        features = centered(features, grid)
    unit = normalize_tokens(jnp.where(valid[:, None], features, 0.0))
    return jnp.matmul(unit, unit.T, precision=jax.lax.Precision.HIGHEST)


def thresholded(similarity: _Graph, grid: Grid, *, tau: float, eps: float) -> _Graph:
    """W = 1 where the similarity is above `tau`, `eps` elsewhere; 0 for padding."""
    valid = valid_tokens(similarity.shape[0], grid)
    weights = jnp.where(similarity > tau, 1.0, eps).astype(similarity.dtype)
    return jnp.where(valid[:, None] & valid[None, :], weights, 0.0)


def mean_cut(weights: _Graph, grid: Grid, *, solver: str) -> Cut:
    """Cut a graph at the mean of its second eigenvector, (D - W) y = l D y."""
    valid = valid_tokens(weights.shape[0], grid)
    pairs = smallest_eigenpairs(weights, count=3, solver=solver, valid=valid)
    vector = pairs.vectors[1]
    side = (vector > masked_mean(vector, valid)) & valid
    return Cut(side=side, vector=vector, eigenvalues=pairs.values)


def peak(values: Float[Array, " tokens"], grid: Grid) -> Int[Array, ""]:
    """The token of the largest value, the first of several that differ by rounding only.

    Tokens that are joined to the same others have the same value in an eigenvector. `argmax` alone
    would choose among them by their rounding errors, as the released codes do.
    """
    valid = valid_tokens(values.shape[0], grid)
    largest = jnp.max(jnp.where(valid, values, -jnp.inf))
    return jnp.argmax(valid & (values >= largest - _SAME * jnp.abs(largest)))


def region_of(mask: _Mask, seed: Int[Array, ""], grid: Grid) -> _Mask:
    """The 4-connected region of the mask that the seed is in; empty if it is in none."""
    labels = connected_components(mask, grid, connectivity=4)
    return (labels == labels[seed]) & (labels >= 0)


def box_of(mask: _Mask, grid: Grid) -> Int[Array, "4"]:
    """The smallest box around a mask: left, top, right, bottom; zeros for an empty mask."""
    row, column = rows_and_columns(mask.shape[0], grid)
    places = jnp.stack([column, row])
    low = jnp.min(jnp.where(mask[None, :], places, mask.shape[0]), axis=1)
    high = jnp.max(jnp.where(mask[None, :], places + 1, 0), axis=1)
    return jnp.where(jnp.any(mask), jnp.concatenate([low, high]), 0)
