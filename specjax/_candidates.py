"""Regions of an image that may be objects: parts of clusterings, and nodes of trees of merges.

Arrays are of one image, over tokens, flat and possibly padded (`specjax.tokens`). Candidates are a
fixed number of masks, `[candidates, tokens]`; those that were not needed are empty.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from specjax._numerics import safe_divide, safe_norm
from specjax.clustering import kmeans
from specjax.tokens import Grid, neighbours, rows_and_columns, valid_tokens

_Features = Float[Array, "tokens channels"]
_Valid = Bool[Array, " tokens"]
_Labels = Int[Array, "maps tokens"]

# Directions towards one of each two neighbours, diagonal ones included.
_HALF = ((0, 1), (1, 0), (1, 1), (1, -1))
_AROUND = (*_HALF, (0, -1), (-1, 0), (-1, -1), (-1, 1))
# Cycles of the power iteration that finds principal directions.
_POWERS = 6


def centered(features: _Features, valid: _Valid) -> _Features:
    """Features less the image's mean, each token L2-normalised; padding is 0."""
    less = _less_mean(features, valid)
    # What is left of constant features is rounding: it is no direction.
    largest = jnp.max(jnp.where(valid[:, None], jnp.abs(features), 0.0))
    less = jnp.where(jnp.max(jnp.abs(less)) > 1e-5 * largest, less, 0.0)
    return safe_divide(less, safe_norm(less)[:, None])


def power(features: _Features, valid: _Valid) -> Float[Array, ""]:
    """The squares of the features of all tokens, summed."""
    return jnp.sum(jnp.square(jnp.where(valid[:, None], features, 0.0)))


def variation(features: _Features, valid: _Valid) -> Float[Array, ""]:
    """The squares of the features less the image's mean, summed."""
    return jnp.sum(jnp.square(_less_mean(features, valid)))


def _less_mean(features: _Features, valid: _Valid) -> _Features:
    """The features less the image's mean; padding is 0."""
    count = jnp.maximum(jnp.sum(valid), 1).astype(features.dtype)
    kept = jnp.where(valid[:, None], features, 0.0)
    return jnp.where(valid[:, None], kept - jnp.sum(kept, axis=0)[None, :] / count, 0.0)


def largest_between(
    values: Float[Array, " tokens"], grid: Grid, *, steps: int = 16
) -> Float[Array, "tokens tokens"]:
    """For each two tokens, the largest value at `steps` places on the line between them.

    With an edge map as values, this is the intervening contour (Leung and Malik, 1998). Rows and
    columns of padding have no meaning.
    """
    row, column = rows_and_columns(values.shape[0], grid)

    def place(coordinate, step):
        # Of whole numbers, so that both directions of a pair have the same places.
        later = coordinate * (2 * step + 1)
        earlier = coordinate * (2 * (steps - step) - 1)
        return (earlier[:, None] + later[None, :] + steps) // (2 * steps)

    def larger(step, found):
        index = place(row, step) * grid[1] + place(column, step)
        return jnp.maximum(found, values[jnp.minimum(index, values.shape[0] - 1)])

    start = jnp.full((values.shape[0],) * 2, -jnp.inf, values.dtype)
    return jax.lax.fori_loop(0, steps, larger, start)


def principal(features: _Features, *, count: int) -> Float[Array, "tokens count"]:
    """Features along `count` directions of largest power, by subspace iteration.

    The products of tokens are about those of all channels, at less cost.
    """
    channels = features.shape[1]
    if channels <= count:
        return features
    power = _times(features.T, features)
    key = jax.random.key(0, impl="threefry2x32")
    basis = jax.random.normal(key, (channels, count), features.dtype)
    for _ in range(_POWERS):
        basis = jnp.linalg.qr(_times(power, basis))[0]
    return _times(features, basis)


def partitions(
    vectors: Float[Array, "pairs tokens"], valid: _Valid, *, most: int, restarts: int = 2
) -> _Labels:
    """Clusterings of the tokens by k-means on eigenvectors, into 2, 3, ..., `most` clusters.

    Returns:
        `most` - 1 maps of labels; -1 for padding.
    """
    key = jax.random.key(0, impl="threefry2x32")

    def split(clusters):
        found = kmeans(
            vectors.T, clusters, key, max_clusters=most, mask=valid, restarts=restarts,
            max_iterations=50,
        )  # fmt: skip
        return found.labels

    return jax.lax.map(split, jnp.arange(2, most + 1))


def connected_parts(labels: _Labels, grid: Grid) -> _Labels:
    """Split each cluster into its 8-connected regions.

    A region's label is the index of its first token; labels below 0 stay.
    """
    tokens = labels.shape[1]
    around = neighbours(tokens, grid, _AROUND)
    inside = labels >= 0
    # Neighbours at the border of the grid are clamped, which may make them a token's own.
    same = inside[:, None, :] & (labels[:, around] == labels[:, None, :])

    def spread(state):
        found, _ = state
        new = jnp.minimum(found, jnp.min(jnp.where(same, found[:, around], tokens), axis=1))
        new = jnp.take_along_axis(new, new, axis=1)
        return new, jnp.any(new != found)

    start = jnp.broadcast_to(jnp.arange(tokens), labels.shape)
    found, _ = jax.lax.while_loop(lambda state: state[1], spread, (start, jnp.any(inside)))
    return jnp.where(inside, found, -1)


class Merges(NamedTuple):
    """Regions grown from single tokens by merging neighbours, in rounds.

    Attributes:
        labels: after each round, the region of each token, as the index of its first token; -1 for
            padding.
        merged: whether the region of that index grew in that round.
    """

    labels: Int[Array, "rounds tokens"]
    merged: Bool[Array, "rounds tokens"]


def merge_neighbours(
    features: _Features, grid: Grid, *, rounds: int, by_variance: bool = False
) -> Merges:
    """Merge neighbouring regions that are each other's most similar neighbour, round by round.

    The regions are nodes of a tree, as those of `sklearn.cluster.AgglomerativeClustering` are with
    a connectivity of eight neighbours: with linkage "average" by inner products of features, and
    with "ward" where `by_variance` is set.
    """
    tokens = features.shape[0]
    valid = valid_tokens(tokens, grid)
    one = jnp.tile(jnp.arange(tokens), len(_HALF))
    other = neighbours(tokens, grid, _HALF).ravel()
    exists = valid[one] & valid[other]
    index = jnp.arange(tokens)

    def step(state, _):
        labels, sums, sizes = state
        a, b = labels[one], labels[other]
        product = jnp.sum(sums[a] * sums[b], axis=1)
        if by_variance:
            squares = jnp.sum(sums * sums, axis=1)
            means = squares / sizes**2
            distance = means[a] + means[b] - 2 * product / (sizes[a] * sizes[b])
            likeness = -distance * sizes[a] * sizes[b] / (sizes[a] + sizes[b])
        else:
            likeness = product / (sizes[a] * sizes[b])
        joined = exists & (a != b)
        likeness = jnp.where(joined, likeness, -jnp.inf)
        best = jnp.full(tokens, -jnp.inf, likeness.dtype).at[a].max(likeness).at[b].max(likeness)
        to_b = jnp.where(joined & (likeness >= best[a]), b, tokens)
        to_a = jnp.where(joined & (likeness >= best[b]), a, tokens)
        partner = jnp.full(tokens, tokens).at[a].min(to_b).at[b].min(to_a)
        wanted = jnp.append(partner, tokens)
        mutual = (partner < tokens) & (wanted[partner] == index)
        # Of a pair, the region with the earlier first token stays.
        grows = mutual & (index < partner)
        safe = jnp.where(grows, partner, 0)
        sums = sums + jnp.where(grows[:, None], sums[safe], 0.0)
        sizes = sizes + jnp.where(grows, sizes[safe], 0.0)
        labels = jnp.where(mutual, jnp.minimum(index, partner), index)[labels]
        return (labels, sums, sizes), (jnp.where(valid, labels, -1), grows)

    sizes = jnp.ones(tokens, features.dtype)
    start = (index, jnp.where(valid[:, None], features, 0.0), sizes)
    _, (labels, merged) = jax.lax.scan(step, start, None, length=rounds)
    return Merges(labels, merged)


def largest_regions(
    labels: _Labels, counts: Bool[Array, "maps tokens"] | None, *, count: int, least: int
) -> tuple[Bool[Array, "count tokens"], Int[Array, " count"]]:
    """The largest regions of several maps, as masks, and the map of each.

    Args:
        labels: of each map, the region of each token as an index of a token; -1 for none.
        counts: the regions to take, at that index; None for all.
        count: how many; missing ones are empty masks, of map -1. There are fewer where the maps
            have fewer tokens together. Static.
        least: regions of fewer tokens are left out; static.
    """
    maps, tokens = labels.shape
    place = jnp.arange(maps)[:, None]
    areas = jnp.zeros((maps, tokens + 1), jnp.int32).at[
        place, jnp.where(labels < 0, tokens, labels)
    ].add(1)[:, :tokens]  # fmt: skip
    if counts is not None:
        areas = jnp.where(counts, areas, 0)
    size, found = jax.lax.top_k(
        jnp.where(areas >= least, areas, 0).ravel(), min(count, maps * tokens)
    )
    of_map, region = found // tokens, found % tokens
    exists = size > 0
    masks = (labels[of_map] == region[:, None]) & exists[:, None]
    return masks, jnp.where(exists, of_map, -1)


def _times(left: Float[Array, "rows inner"], right: Float[Array, "inner columns"]):
    return jnp.matmul(left, right, precision=jax.lax.Precision.HIGHEST)
