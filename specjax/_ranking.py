"""How likely a mask is an object: quantities of masks, and a score from 0 to 1 made of them.

Arrays are of one image, over tokens (`specjax.tokens`); several kinds of features come stacked.
Similarities are cosines of features less the image's mean (`specjax._candidates.centered`).
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from specjax._numerics import safe_divide, safe_norm
from specjax.tokens import Grid, neighbours, rows_and_columns, valid_tokens

_Masks = Bool[Array, "masks tokens"]

# Width in tokens of the ring around a mask.
_RING = 2
# A part of a clustering votes for a mask from this IoU on.
_VOTES_FROM = 0.5


class Spectrum(NamedTuple):
    """What is known of the graph of one kind of features, or of several, stacked.

    Attributes:
        features: centred and normalised, perhaps along fewer directions; padding is 0.
        degrees: of the tokens in the graph.
        vectors: its eigenvectors y, y^T D y = 1, without the constant one.
    """

    features: Float[Array, "*kinds tokens channels"]
    degrees: Float[Array, "*kinds tokens"]
    vectors: Float[Array, "*kinds pairs tokens"]


def quantities(
    masks: _Masks, spectra: Spectrum, votes: Float[Array, " masks"], grid: Grid
) -> dict[str, Float[Array, " masks"]]:
    """What the score of a mask is made of; 0 for empty masks.

    Args:
        masks: the masks.
        spectra: a kind of features along each first axis.
        votes: see `votes_for`.
        grid: rows and columns of the token grid.

    Returns:
        "inside", "outside", "ring": the mean similarity of the mask's tokens, of all others, and of
        those at most two tokens away, to the mask's mean direction; "spectral": the share of the
        mask's variation that the eigenvectors hold; all four as means over kinds of features.
        "border": its share of the tokens at the image's border. "area": the logarithm of its share
        of all tokens. "votes": as given.
    """
    tokens = masks.shape[1]
    valid = valid_tokens(tokens, grid)
    member = masks.astype(jnp.float32)
    area, total = jnp.sum(member, axis=1), jnp.sum(valid).astype(jnp.float32)
    ring = (around(masks, grid, reach=_RING) & ~masks & valid[None, :]).astype(jnp.float32)
    ring_area = jnp.sum(ring, axis=1)

    def of_kind(kind):
        features, degrees, vectors = kind
        summed = _times(member, features)
        length = safe_norm(summed)
        mean = safe_divide(summed, length[:, None])
        rest = jnp.sum(features, axis=0)[None, :] - summed
        volume, whole = _times(member, degrees[:, None])[:, 0], jnp.sum(degrees)
        held = jnp.sum(_times(member, degrees[:, None] * vectors.T) ** 2, axis=1)
        return {
            "inside": safe_divide(length, area),
            "outside": safe_divide(jnp.sum(rest * mean, axis=1), total - area),
            "ring": safe_divide(jnp.sum(_times(ring, features) * mean, axis=1), ring_area),
            "spectral": safe_divide(held, volume * (1 - safe_divide(volume, whole))),
        }

    found = jax.tree.map(lambda each: jnp.mean(each, axis=0), jax.lax.map(of_kind, spectra))
    row, column = rows_and_columns(tokens, grid)
    edge = (row == 0) | (row == grid[0] - 1) | (column == 0) | (column == grid[1] - 1)
    edge = (edge & valid).astype(jnp.float32)
    found["border"] = _times(member, edge[:, None])[:, 0] / jnp.maximum(jnp.sum(edge), 1.0)
    found["area"] = jnp.log(jnp.maximum(area, 1.0) / jnp.maximum(total, 1.0))
    found["votes"] = votes
    return found


def votes_for(
    masks: _Masks,
    parts: Bool[Array, "parts tokens"],
    clustering: Int[Array, " parts"],
    *,
    clusterings: int,
) -> Float[Array, " masks"]:
    """How well clusterings agree with each mask.

    A vote is how far the best IoU of the mask with a part of a clustering exceeds 0.5; the result
    is the mean over all clusterings.

    Args:
        masks: the masks.
        parts: of all clusterings.
        clustering: which one each part is of; -1 for none.
        clusterings: how many there are; static.
    """
    overlaps = jnp.where(clustering >= 0, pairwise_iou(parts, masks).T, 0.0)
    place = jnp.where(clustering >= 0, clustering, clusterings)
    best = jnp.zeros((clusterings + 1, masks.shape[0]), overlaps.dtype).at[place].max(overlaps.T)
    return jnp.mean(jnp.maximum(best[:-1] - _VOTES_FROM, 0.0), axis=0)


def score(
    found: Mapping[str, Float[Array, " masks"]], weights: Mapping[str, float]
) -> Float[Array, " masks"]:
    """The logistic function of a weighted sum; "constant" is added."""
    total = sum(weight * found[name] for name, weight in weights.items() if name != "constant")
    return jax.nn.sigmoid(total + weights["constant"])


def suppressed(
    masks: _Masks, scores: Float[Array, " masks"], *, count: int, overlap: float | Float[Array, ""]
) -> Int[Array, " count"]:
    """Non-maximum suppression: the best mask, the best that overlaps it little, and so on.

    Args:
        masks: the masks.
        scores: of each, above 0; 0 where there is no mask.
        count: how many to keep; static.
        overlap: the largest IoU of a mask with a better one.

    Returns:
        Indices of the masks kept, best first; -1 once there is none.
    """
    near = pairwise_iou(masks, masks) > overlap

    def keep(left, _):
        best = jnp.argmax(left)
        exists = left[best] > 0
        left = jnp.where(near[best], 0.0, left).at[best].set(0.0)
        return left, jnp.where(exists, best, -1)

    return jax.lax.scan(keep, scores, None, length=count)[1]


def pairwise_iou(masks: _Masks, others: Bool[Array, "others tokens"]):
    """Intersection over union of each mask with each other, `[masks, others]`; 0 for empty ones."""
    one, other = masks.astype(jnp.float32), others.astype(jnp.float32)
    # Counts of at most a few thousand: any precision of the products of 0 and 1 is exact.
    shared = jnp.matmul(one, other.T)
    return safe_divide(shared, jnp.sum(one, 1)[:, None] + jnp.sum(other, 1)[None, :] - shared)


def around(masks: _Masks, grid: Grid, *, reach: int) -> _Masks:
    """Masks grown by `reach` tokens in all eight directions; padding is not cleared."""
    steps = neighbours(masks.shape[1], grid, ((-1, 0), (1, 0), (0, -1), (0, 1)))
    for _ in range(reach):
        for axis in (steps[:2], steps[2:]):
            masks = masks | masks[:, axis[0]] | masks[:, axis[1]]
    return masks


def _times(left: Float[Array, "rows inner"], right: Float[Array, "inner columns"]):
    return jnp.matmul(left, right, precision=jax.lax.Precision.HIGHEST)
