"""Masks without being told how many: ranked proposals, and the objects among them.

    found = propose(features, grid)
    labels = choose(found)

Features of several kinds come stacked, `[kinds, tokens, channels]`, each kind flat over the token
grid and perhaps padded (`specjax.tokens`). Candidates are the connected parts of k-means
clusterings of the eigenvectors of each kind's graph, and the nodes of trees that merge neighbouring
tokens. How well they agree, and how they differ from their surroundings and from the frame of the
image, is their score.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from specjax import _candidates as candidates
from specjax import _ranking as ranking
from specjax._numerics import safe_divide
from specjax.spectral import smallest_eigenpairs
from specjax.tokens import Grid, valid_tokens

_Stack = Float[Array, "kinds tokens channels"]
_Share = float | Float[Array, ""]

# Eigenvectors of each graph, the constant one not counted, and the most clusters made of them.
_VECTORS, _CLUSTERS = 12, 20
# Directions kept of each kind of features, and of all together, where products are enough.
_DIRECTIONS = 48
_TOGETHER = 64
# Candidates kept of the clusterings of a kind, and of a tree; and the fewest tokens of each.
_PARTS, _NODES = 256, 384
_LEAST_PART, _LEAST_NODE = 4, 6
_ROUNDS = 48
# Candidates that suppression looks at: the best.
_RANKED = 1024

# How far the largest edge between two tokens lowers their affinity.
_EDGE_STRENGTH = 5.0

# Where the image looks all the same, scores fall: in proportion, where features vary less than this
# share of their squares; by the fourth power, where they vary, less those of a blank image, less
# than this many times as much as the blank image's do (means over kinds).
_LEAST_SPREAD = 0.2
_LEAST_CONTRAST = 4.0

# The largest IoU of a proposal with a better one, by default.
MOST_IOU = 0.8

# What `choose` takes by default.
LEAST_SCORE, MOST_OBJECTS, MOST_OVERLAP = 0.07, 50, 0.5

# A logistic regression of how far the IoU with the best object exceeds 0.45, over the candidates of
# 606 photographs (docs/automatic-masks.md).
WEIGHTS = {
    "frame": -3.08,
    "ring": -1.97,
    "area": -1.27,
    "area2": -0.184,
    "outline": -0.6,
    "elsewhere": -10.9,
    "votes": 4.02,
    "constant": -2.96,
}


class Proposals(NamedTuple):
    """Masks that may be objects, best first; they may overlap.

    Attributes:
        masks: over tokens; empty where there are fewer proposals.
        scores: from 0 to 1, falling; 0 for missing ones.
        shares: how much of each token belongs to each mask, from 0 to 1, for `refine`; None where
            it is not known.

    Example:
        >>> features = jax.random.normal(jax.random.key(0), (1, 12, 8))
        >>> found = specjax.propose(features, (3, 4), max_proposals=5)
        >>> found.scores.shape, found.shares.shape
        ((5,), (5, 12))
    """

    masks: Bool[Array, "proposals tokens"]
    scores: Float[Array, " proposals"]
    shares: Float[Array, "proposals tokens"] | None = None


@functools.partial(jax.jit, static_argnames=("max_proposals",))
def propose(
    features: _Stack,
    grid: Grid,
    *,
    blank: _Stack | None = None,
    edges: Float[Array, " tokens"] | None = None,
    max_proposals: int = 100,
    overlap: _Share = MOST_IOU,
) -> Proposals:
    """Rank masks that may be objects, without being told how many there are.

    Args:
        features: of one image, one or several kinds stacked, such as keys, values and outputs of
            the last block (`extract_features`).
        grid: rows and columns of the token grid; may be traced.
        blank: optional, the same features of an image of one gray, as patches of zeros are. What a
            backbone says of it is where tokens lie, not what they show; it is subtracted. Where
            the image's features vary hardly more than these, it shows nothing: scores are near 0.
        edges: optional, how likely the outline of an object passes through each token, from 0 to
            1, by any edge detector. The affinity of two tokens is multiplied by exp(-5 e) for the
            largest edge e on the line between them.
        max_proposals: how many; static.
        overlap: the largest IoU of a proposal with a better one. The score of one that overlaps
            better ones less is lowered (Soft-NMS).

    Returns:
        The proposals, best first.

    Example:
        >>> features = jax.random.normal(jax.random.key(0), (1, 12, 8))
        >>> found = specjax.propose(features, (3, 4), max_proposals=5)
        >>> found.masks.shape, found.scores.shape
        ((5, 12), (5,))
    """
    valid = valid_tokens(features.shape[1], grid)
    shown = features if blank is None else features - blank
    centered = jax.vmap(candidates.centered, in_axes=(0, None))(shown, valid)
    factor = None
    if edges is not None:
        factor = jnp.exp(-_EDGE_STRENGTH * candidates.largest_between(edges, grid))
    vectors = jax.lax.map(functools.partial(_eigenvectors, valid=valid, factor=factor), centered)
    parts, clustering = _parts(vectors, grid, valid)
    together = _together(centered)
    masks = jnp.concatenate([parts, *_nodes(together, grid)])

    kinds = features.shape[0]
    votes = ranking.votes_for(masks, parts, clustering, clusterings=kinds * (_CLUSTERS - 1))
    found = ranking.quantities(masks, together, votes, grid)
    scores = ranking.score(found, WEIGHTS) * _certainty(shown, features, blank, valid)
    scores = jnp.where(jnp.any(masks, axis=1), scores, 0.0)

    scores, best = jax.lax.top_k(scores, min(_RANKED, masks.shape[0]))
    masks = masks[best]
    kept, scores = ranking.suppressed(masks, scores, count=max_proposals, overlap=overlap)
    masks = masks[kept] & (kept >= 0)[:, None]
    return Proposals(masks, scores, ranking.shares(masks, together, grid))


@functools.partial(jax.jit, static_argnames=("max_instances",))
def choose(
    proposals: Proposals,
    *,
    least_score: _Share = LEAST_SCORE,
    max_instances: int = MOST_OBJECTS,
    overlap: _Share = MOST_OVERLAP,
) -> Int[Array, " tokens"]:
    """The objects among proposals, as a label map: none, one or several.

    The best proposals come first. One is an object if its score is high enough, and enough of its
    tokens are in no object yet: these are its own.

    Args:
        proposals: of one image (`propose`).
        least_score: the lowest score of an object.
        max_instances: the most objects; static.
        overlap: the largest share of a proposal that may be in other objects.

    Returns:
        0 for tokens in no object, 1, 2, ... for objects, best first.

    Example:
        >>> masks = jnp.array([[1, 1, 0, 0], [0, 1, 1, 1], [0, 0, 0, 1]], bool)
        >>> found = specjax.Proposals(masks, jnp.array([0.9, 0.8, 0.7]))
        >>> print(specjax.choose(found))
        [1 1 2 2]
        >>> print(specjax.choose(found, least_score=0.85))
        [1 1 0 0]
    """
    return choose_ranked(
        proposals, least_score=least_score, max_instances=max_instances, overlap=overlap
    ).labels


class Objects(NamedTuple):
    """The objects among proposals.

    Attributes:
        labels: the label map of `choose`.
        scores: of each object, best first; 0 where there are fewer.
        shares: how much of each token belongs to each object; 0 for tokens of other objects.
    """

    labels: Int[Array, " tokens"]
    scores: Float[Array, " instances"]
    shares: Float[Array, "instances tokens"]


def choose_ranked(
    proposals: Proposals, *, least_score: _Share, max_instances: int, overlap: _Share
) -> Objects:
    """The objects of `choose`, with their scores and shares."""
    masks, scores, shares = proposals

    def take(state, proposal):
        labels, chosen, count = state
        number, mask, score = proposal
        own = mask & (labels == 0)
        enough = jnp.mean(own, dtype=score.dtype) >= (1 - overlap) * jnp.mean(
            mask, dtype=score.dtype
        )
        taken = enough & jnp.any(own) & (score >= least_score) & (count < max_instances)
        chosen = jnp.where(taken & (jnp.arange(max_instances) == count), number, chosen)
        count = count + taken.astype(count.dtype)
        return (jnp.where(own & taken, count, labels), chosen, count), None

    none = jnp.full(max_instances, -1)
    start = jnp.zeros(masks.shape[1], jnp.int32), none, jnp.zeros((), jnp.int32)
    (labels, chosen, _), _ = jax.lax.scan(take, start, (jnp.arange(len(masks)), masks, scores))

    shares = masks.astype(scores.dtype) if shares is None else shares
    numbers = jnp.arange(1, max_instances + 1)
    free = (labels[None, :] == 0) | (labels[None, :] == numbers[:, None])
    exist = chosen >= 0
    return Objects(
        labels=labels,
        scores=jnp.where(exist, scores[chosen], 0.0),
        shares=jnp.where(exist[:, None] & free, shares[chosen], 0.0),
    )


def _eigenvectors(
    features: Float[Array, "tokens channels"],
    valid: Bool[Array, " tokens"],
    factor: Float[Array, "tokens tokens"] | None,
):
    """Eigenvectors of the graph of one kind of features, without the constant one."""
    products = jnp.matmul(features, features.T, precision=jax.lax.Precision.HIGHEST)
    weights = jnp.maximum(products, 0.0)
    weights = weights if factor is None else weights * factor
    pairs = smallest_eigenpairs(weights, count=_VECTORS + 1, valid=valid)
    return pairs.vectors[1:]


def _certainty(
    shown: _Stack, features: _Stack, blank: _Stack | None, valid: Bool[Array, " tokens"]
) -> Float[Array, ""]:
    """1, and less the more an image looks all the same."""
    of_kinds = functools.partial(jax.vmap, in_axes=(0, None))
    varies = of_kinds(candidates.variation)(shown, valid)
    spread = jnp.mean(safe_divide(varies, of_kinds(candidates.power)(features, valid)))
    certainty = jnp.minimum(spread / _LEAST_SPREAD, 1.0)
    if blank is None:
        return certainty
    by_place = jnp.mean(safe_divide(of_kinds(candidates.variation)(blank, valid), varies))
    return jnp.minimum(certainty, 1 / jnp.maximum(_LEAST_CONTRAST * by_place, 1.0) ** 4)


def _together(features: _Stack) -> Float[Array, "tokens directions"]:
    """All kinds of features as one, whose inner products are the means of those of the kinds."""
    kinds, tokens, _ = features.shape
    each = jax.lax.map(functools.partial(candidates.principal, count=_DIRECTIONS), features)
    joined = jnp.moveaxis(each, 0, 1).reshape(tokens, -1)
    return candidates.principal(joined / kinds**0.5, count=_TOGETHER)


def _parts(vectors: Float[Array, "kinds pairs tokens"], grid: Grid, valid: Bool[Array, " tokens"]):
    """Masks of the parts of all clusterings, and the number of the clustering of each."""

    def of_kind(vectors):
        labels = candidates.partitions(vectors, valid, most=_CLUSTERS)
        labels = candidates.connected_parts(labels, grid)
        return candidates.largest_regions(labels, None, count=_PARTS, least=_LEAST_PART)

    masks, of_map = jax.lax.map(of_kind, vectors)
    first = jnp.arange(len(vectors))[:, None] * (_CLUSTERS - 1)
    clustering = jnp.where(of_map < 0, -1, of_map + first)
    return masks.reshape(-1, masks.shape[-1]), clustering.ravel()


def _nodes(features: Float[Array, "tokens directions"], grid: Grid) -> list[Bool[Array, "_ _"]]:
    """Masks of the nodes of trees that merge tokens."""
    found = []
    for by_variance in (False, True):
        merges = candidates.merge_neighbours(
            features, grid, rounds=_ROUNDS, by_variance=by_variance
        )
        regions = candidates.largest_regions(
            merges.labels, merges.merged, count=_NODES, least=_LEAST_NODE
        )
        found.append(regions[0])
    return found
