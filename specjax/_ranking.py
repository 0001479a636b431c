"""How likely a mask is an object: quantities of masks, and a score from 0 to 1 made of them.

Arrays are of one image, over tokens (`specjax.tokens`).
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from specjax._numerics import safe_divide, safe_norm
from specjax.tokens import Grid, neighbours, rows_and_columns, valid_tokens

_Masks = Bool[Array, "masks tokens"]

# A part of a clustering votes for a mask from this IoU on.
_VOTES_FROM = 0.5
# Width in tokens of the frame of an image.
_FRAME = 2
# How far from a mask, in tokens, its surroundings reach.
_BESIDE = 5
# Steps that what features say of a token is rounded to, so that rounding errors hardly ever show.
_STEPS = 16
# Divides the square of an IoU in Soft-NMS; its authors have 0.5.
_FADING = 0.35


def quantities(
    masks: _Masks,
    features: Float[Array, "tokens channels"],
    votes: Float[Array, " masks"],
    grid: Grid,
) -> dict[str, Float[Array, " masks"]]:
    """What the score of a mask is made of; 0 for empty masks.

    Args:
        masks: the masks.
        features: less the image's mean; inner products are similarities. Padding is 0.
        votes: see `votes_for`.
        grid: rows and columns of the token grid.

    Returns:
        "frame": the mean similarity of the mask's tokens to the mean direction of the image's
        outer tokens, two deep. "ring": the mean similarity of the mask's tokens to those next to
        it. "area": the logarithm of its share of all tokens; "area2": the square of that.
        "outline": the square root of its outline inside the image over its area, where the shorter
        side of the image is 1: 4 for a square a quarter as wide. "elsewhere": how much of the rest
        of the image looks like the mask: the mean over tokens of max(similarity to the mask's mean
        direction, 0)^3, 0 for those of the mask. "votes": as given.
    """
    tokens = masks.shape[1]
    valid = valid_tokens(tokens, grid)
    member = masks.astype(jnp.float32)
    area = jnp.sum(member, axis=1)
    count = jnp.maximum(jnp.sum(valid), 1).astype(jnp.float32)
    share = jnp.log(jnp.maximum(area, 1.0) / count)
    ring = (around(masks, grid, reach=1) & ~masks & valid[None, :]).astype(jnp.float32)
    summed, beside = _times(member, features), _times(ring, features)

    width = jnp.minimum(*grid).astype(jnp.float32)
    depth = _depth_in_grid(tokens, grid)
    frame = jnp.sum(jnp.where((valid & (depth < _FRAME))[:, None], features, 0.0), axis=0)
    frame = safe_divide(frame, safe_norm(frame[None])[0])
    direction = safe_divide(summed, safe_norm(summed)[:, None])
    alike = jnp.where(masks, 0.0, jnp.maximum(_times(direction, features.T), 0.0))
    return {
        "frame": safe_divide(_times(summed, frame[:, None])[:, 0], area),
        "ring": safe_divide(jnp.sum(summed * beside, axis=1), area * jnp.sum(ring, axis=1)),
        "area": share,
        "area2": share**2,
        "outline": jnp.sqrt(safe_divide(_outlines(masks, grid) * width, area)),
        "elsewhere": jnp.sum(alike**3, axis=1) / count,
        "votes": votes,
    }


def _depth_in_grid(tokens: int, grid: Grid) -> Int[Array, " tokens"]:
    """How many tokens lie between each token and the nearest side of the grid."""
    row, column = rows_and_columns(tokens, grid)
    across = jnp.minimum(row, grid[0] - 1 - row), jnp.minimum(column, grid[1] - 1 - column)
    return jnp.minimum(*across)


def _outlines(masks: _Masks, grid: Grid) -> Float[Array, " masks"]:
    """Pairs of 4-neighbours of which one is in the mask."""
    after = neighbours(masks.shape[1], grid, ((0, 1), (1, 0)))
    # Steps over the side of the grid stay in place. Padding is in no mask, but next to some.
    valid = valid_tokens(masks.shape[1], grid)[None, :]
    crossed = [jnp.sum((masks ^ masks[:, step]) & valid, axis=1) for step in after]
    return (crossed[0] + crossed[1]).astype(jnp.float32)


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


def cost_of_smallness(
    tokens: Int[np.ndarray, "..."], grid: tuple[int, int], *, weights: Mapping[str, float]
) -> Float[np.ndarray, "..."]:
    """How much lower the sum in `score` is for small squares than for the best larger one.

    Args:
        tokens: how many each mask has, at least 1; it counts as a square.
        grid: rows and columns of the token grid.
        weights: those of `score`.
    """
    whole = grid[0] * grid[1]
    sizes = np.arange(1, whole + 1)
    logs = np.log(sizes / whole)
    terms = weights["area"] * logs + weights["area2"] * logs**2
    terms += weights["outline"] * np.sqrt(4 * min(grid) / np.sqrt(sizes))
    best = np.maximum.accumulate(terms[::-1])[::-1]
    return (best - terms)[tokens - 1]


def suppressed(
    masks: _Masks,
    scores: Float[Array, " masks"],
    *,
    count: int,
    overlap: float | Float[Array, ""],
    fades: bool = True,
) -> tuple[Int[Array, " count"], Float[Array, " count"]]:
    """Non-maximum suppression: the best mask, the best that overlaps it little, and so on.

    Args:
        masks: the masks.
        scores: of each, above 0; 0 where there is no mask.
        count: how many to keep; static.
        overlap: the largest IoU of a mask with a better one.
        fades: whether a mask that overlaps better ones less than that keeps a part of its score
            only: exp(-IoU^2 / 0.35) of it for each (Soft-NMS, Bodla et al., 2017); static.

    Returns:
        Indices of the masks kept, best first, -1 once there is none; and their scores, then 0.
    """
    ious = pairwise_iou(masks, masks)
    factors = jnp.where(ious > overlap, 0.0, jnp.exp(-(ious**2) / _FADING) if fades else 1.0)

    def keep(left, _):
        best = jnp.argmax(left)
        score = left[best]
        left = (left * factors[best]).at[best].set(0.0)
        return left, (jnp.where(score > 0, best, -1), score)

    return jax.lax.scan(keep, scores, None, length=count)[1]


def pairwise_iou(masks: _Masks, others: Bool[Array, "others tokens"]):
    """Intersection over union of each mask with each other, `[masks, others]`; 0 for empty ones."""
    one, other = masks.astype(jnp.float32), others.astype(jnp.float32)
    # Counts of at most a few thousand: any precision of the products of 0 and 1 is exact.
    shared = jnp.matmul(one, other.T)
    return safe_divide(shared, jnp.sum(one, 1)[:, None] + jnp.sum(other, 1)[None, :] - shared)


def shares(
    masks: _Masks, features: Float[Array, "tokens channels"], grid: Grid
) -> Float[Array, "masks tokens"]:
    """How much of each token belongs to each mask, from 0 to 1.

    A token inside has 1, one outside has 0. At the edge, half of the share is that, and half is
    where the token's features lie on the line from the mean of the tokens around the mask, at most
    five away, 0, to the mean of those inside, 1.

    Args:
        masks: the masks.
        features: less the image's mean; inner products are similarities. Padding is 0.
        grid: rows and columns of the token grid.
    """
    valid = valid_tokens(masks.shape[1], grid)[None, :]
    outside = ~masks & valid
    member = masks.astype(features.dtype)
    beside = (around(masks, grid, reach=_BESIDE) & outside).astype(features.dtype)
    inner, outer = (
        safe_divide(_times(tokens, features), jnp.sum(tokens, axis=1)[:, None])
        for tokens in (member, beside)
    )
    line = inner - outer
    along = _times(line, features.T) - jnp.sum(line * outer, axis=1)[:, None]
    place = jnp.clip(safe_divide(along, jnp.sum(line * line, axis=1)[:, None]), 0.0, 1.0)
    place = jnp.round(place * _STEPS) / _STEPS
    edge = around(masks, grid, reach=1) & around(outside, grid, reach=1) & valid
    return jnp.where(edge, (member + place) / 2, member)


def around(masks: _Masks, grid: Grid, *, reach: int) -> _Masks:
    """Masks grown by `reach` tokens in all eight directions; padding is not cleared."""
    steps = neighbours(masks.shape[1], grid, ((-1, 0), (1, 0), (0, -1), (0, 1)))

    def grown(_, masks):
        for axis in (steps[:2], steps[2:]):
            masks = masks | masks[:, axis[0]] | masks[:, axis[1]]
        return masks

    # A loop: XLA would fuse steps written out, and compute each again for each of its uses.
    return jax.lax.fori_loop(0, reach, grown, masks)


def _times(left: Float[Array, "rows inner"], right: Float[Array, "inner columns"]):
    return jnp.matmul(left, right, precision=jax.lax.Precision.HIGHEST)
