"""k-means with greedy k-means++ restarts: masked, batched, deterministic by key.

Points are `[tokens, dims]`; `mask` marks those to cluster. The number of clusters may be traced:
only `max_clusters` fixes shapes. Results depend neither on it nor on points outside the mask.
"""

import functools
import warnings
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

_Points = Float[Array, "tokens dims"]
_Columns = Float[Array, "dims tokens"]
_Mask = Bool[Array, " tokens"]
_Count = int | Int[Array, ""]

# Candidates for each new centre (scikit-learn tries 2 + log(clusters): here 3 or 4).
_TRIALS = 4


class KMeans(NamedTuple):
    """A clustering.

    Attributes:
        labels: cluster of each point, numbered in order of first appearance; -1 outside the mask.
        inertia: sum of squared distances of points to their nearest centre.
        iterations: how many the longest start took.
    """

    labels: Int[Array, " tokens"]
    inertia: Float[Array, ""]
    iterations: Int[Array, ""]


def kmeans(
    points: _Points,
    num_clusters: _Count,
    key: Key[Array, ""],
    *,
    max_clusters: int,
    mask: _Mask | None = None,
    restarts: int = 10,
    max_iterations: int = 300,
) -> KMeans:
    """Lloyd's algorithm from several greedy k-means++ starts; the lowest inertia wins.

    Works as `sklearn.cluster.KMeans(num_clusters, n_init=restarts)` does, except that iterations
    stop only when no label changes, and a cluster that lost its points keeps its centre.

    Args:
        points: what to cluster; finite.
        num_clusters: at least 1; may be traced. At most `max_clusters` clusters, and one per point
            of the mask, are found. Where the values are known, a higher number is a warning.
        key: a typed PRNG key (`jax.random.key`).
        max_clusters: upper bound of `num_clusters`; static.
        mask: the points to cluster; None for all.
        restarts: independent starts; static.
        max_iterations: upper bound of the iterations of each start.

    Returns:
        Labels and inertia of the best start, and the iterations of the longest.

    Example:
        >>> points = jnp.array([[0.0], [8.0], [1.0], [7.0]])
        >>> found = specjax.kmeans(points, 2, jax.random.key(0), max_clusters=4)
        >>> print(found.labels, found.inertia)
        [0 1 0 1] 1.0
    """
    if mask is None:
        mask = jnp.ones(points.shape[0], bool)
    warn_of_clamping(num_clusters, max_clusters, mask)
    return _kmeans(points, num_clusters, key, mask, max_clusters, restarts, max_iterations)


@functools.partial(jax.jit, static_argnames=("max_clusters", "restarts"))
def _kmeans(points, num_clusters, key, mask, max_clusters, restarts, max_iterations):
    clusters = jnp.clip(num_clusters, 1, jnp.maximum(jnp.sum(mask), 1))
    clusters = jnp.minimum(clusters, max_clusters)
    # Points of magnitude 1 at most: their squares stay inside the range of floats.
    scale = jnp.max(jnp.where(mask[:, None], jnp.abs(points), 0.0))
    scale = jnp.where(scale > 0, scale, 1.0)
    # Tokens are the last axis, so that loops over them read memory in order.
    columns = jnp.where(mask[:, None], points / scale, 0.0).T

    # Clusters are the first axis. A longer array begins with the draws of a shorter one, so that
    # draws do not depend on `max_clusters`.
    draws = jax.random.uniform(key, (max_clusters, restarts, _TRIALS), points.dtype)

    def run(draws):
        centres = _greedy_plus_plus(columns, mask, clusters, draws)
        return _lloyd(columns, mask, clusters, centres, max_iterations)

    labels, inertia, iterations = jax.vmap(run, in_axes=1)(draws)
    best = jnp.argmin(inertia)
    return KMeans(
        labels=_in_order_of_appearance(labels[best], mask, max_clusters),
        inertia=inertia[best] * scale * scale,
        iterations=jnp.max(iterations),
    )


def warn_of_clamping(num_clusters: _Count, max_clusters: int, mask: _Mask) -> None:
    """Warn where fewer clusters than asked for will be found.

    Traced values are not known yet: there is no warning of them.
    """
    if isinstance(num_clusters, jax.core.Tracer):
        return
    # By numpy: inside a trace, JAX gives a traced result even where all values are known.
    wanted = int(num_clusters)
    tokens = wanted if isinstance(mask, jax.core.Tracer) else int(np.asarray(mask).sum())
    if wanted > max_clusters:
        reason = f"the upper bound is {max_clusters}"
    elif wanted > tokens:
        reason = f"the number of tokens is {tokens}"
    else:
        return
    warnings.warn(f"{wanted} clusters were asked for, but {reason}", stacklevel=3)


def _squared_distances(points: _Columns, centres: Float[Array, "clusters dims"]):
    """`[clusters, tokens]`, from differences: squares of the values would cancel."""
    squares = [
        (points[dim][None, :] - centres[:, dim][:, None]) ** 2 for dim in range(points.shape[0])
    ]
    # A sum written out: XLA compiles a reduction to a loop that is twenty times slower on a CPU.
    return functools.reduce(jnp.add, squares)


def _greedy_plus_plus(points: _Columns, mask, clusters, draws):
    """Start centres: each is the best of a few points, drawn in proportion to squared distance.

    `draws`, `[max_clusters, trials]`, are uniform in [0, 1).
    """
    max_clusters = draws.shape[0]
    order = jnp.cumsum(mask)
    count = order[-1]
    nth = jnp.floor(draws[0, 0] * count.astype(points.dtype)).astype(order.dtype)
    # The product may round up to `count`.
    first = jnp.argmax(order > jnp.minimum(nth, count - 1))
    start = points[:, first]
    centres = jnp.zeros((max_clusters, points.shape[0]), points.dtype).at[0].set(start)
    nearest = jnp.where(mask, _squared_distances(points, start[None])[0], 0.0)

    def add(index, state):
        centres, nearest = state
        cumulative = jnp.cumsum(nearest)
        # A point of weight 0 (outside the mask, or a centre already) must not be drawn, although
        # rounded sums may rise at it. Where all weights are 0, any point of the mask will do.
        targets = draws[index] * cumulative[-1]
        beyond = (cumulative[None, :] > targets[:, None]) & (nearest > 0)[None, :]
        drawn = jnp.where(jnp.any(beyond, axis=1), jnp.argmax(beyond, axis=1), first)
        candidates = points[:, drawn].T
        distances = jnp.where(mask[None, :], _squared_distances(points, candidates), 0.0)
        improved = jnp.minimum(nearest[None, :], distances)
        best = jnp.argmin(jnp.sum(improved, axis=1))
        return centres.at[index].set(candidates[best]), improved[best]

    centres, _ = jax.lax.fori_loop(1, clusters, add, (centres, nearest))
    return centres


def _lloyd(points: _Columns, mask, clusters, centres, max_iterations):
    numbers = jnp.arange(centres.shape[0])[:, None]

    def step(state):
        centres, labels, _, _, iteration = state
        distances = _squared_distances(points, centres)
        distances = jnp.where(numbers < clusters, distances, jnp.inf)
        nearest = jnp.min(distances, axis=0)
        # An argmin that compiles to vector instructions: the first of the nearest. The compiler may
        # compute distances twice and round them differently, so that none need equal the minimum.
        close = distances <= nearest[None, :] * (1 + 16 * jnp.finfo(points.dtype).eps)
        at_nearest = jnp.where(close, numbers, centres.shape[0])
        new = jnp.min(at_nearest, axis=0)
        inertia = jnp.sum(jnp.where(mask, nearest, 0.0))
        member = ((new[None, :] == numbers) & mask[None, :]).astype(points.dtype)
        total = jnp.matmul(member, points.T, precision=jax.lax.Precision.HIGHEST)
        size = jnp.sum(member, axis=1)[:, None]
        means = jnp.where(size > 0, total / jnp.maximum(size, 1.0), centres)
        return means, new, inertia, jnp.any((new != labels) & mask), iteration + 1

    start = (
        centres,
        jnp.full(points.shape[1], -1, numbers.dtype),
        jnp.zeros((), points.dtype),
        jnp.ones((), bool),
        jnp.zeros((), jnp.int32),
    )
    _, labels, inertia, _, iterations = jax.lax.while_loop(
        lambda state: state[3] & (state[4] < max_iterations), step, start
    )
    return labels, inertia, iterations


def _in_order_of_appearance(labels, mask, max_clusters):
    """Renumber clusters by their first token, so that equal partitions have equal labels."""
    tokens = labels.shape[0]
    member = (labels[:, None] == jnp.arange(max_clusters)[None, :]) & mask[:, None]
    first = jnp.min(jnp.where(member, jnp.arange(tokens)[:, None], tokens), axis=0)
    rank = jnp.sum(first[None, :] < first[:, None], axis=1)
    return jnp.where(mask, rank[labels], -1)
