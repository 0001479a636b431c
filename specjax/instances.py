"""Instances: foreground features to eigensegments to labels.

Features are `[tokens, channels]`; maps and labels are flat, row-major over `grid`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from specjax.affinity import prepare_features
from specjax.channels import deviation_channel_reduction
from specjax.clustering import kmeans
from specjax.morphology import median_filter
from specjax.spectral import Eigenpairs, collapsed_graph, orient, smallest_eigenpairs
from specjax.tokens import Grid, valid_tokens

# Eigenvectors after the constant one (the paper's four eigensegments).
SEGMENTS = 4
# Window of the median filter on each eigensegment.
_MEDIAN_SIZE = 5


class Eigensegments(NamedTuple):
    """The instance graph's eigenvectors as maps.

    Attributes:
        maps: oriented eigenvectors y1 to y4 over all tokens, y^T D y = 1; 0 where missing.
        eigenvalues: the five smallest, 2 where missing.
    """

    maps: Float[Array, "segments tokens"]
    eigenvalues: Float[Array, " pairs"]


def foreground_features(
    features: Float[Array, "tokens channels"],
    foreground: Bool[Array, " tokens"],
    *,
    keep: int,
    valid: Bool[Array, " tokens"] | None = None,
) -> Float[Array, "tokens keep"]:
    """F'': the `keep` channels of highest deviation over all tokens, background rows zero."""
    channels = deviation_channel_reduction(features, keep=keep, valid=valid)
    return jnp.where(foreground[:, None], features[:, channels], 0.0)


def foreground_members(
    features: Float[Array, "tokens channels"],
    foreground: Bool[Array, " tokens"],
    grid: Grid,
    *,
    metric: str,
    capacity: int | None = None,
) -> tuple[Float[Array, "members channels"], Bool[Array, " members"], Int[Array, ""]]:
    """The foreground's tokens, prepared for a metric and gathered: see `instance_graph`.

    Returns:
        Their features (absent members zero), which members exist, and the number of background
        tokens: the arguments of `specjax.spectral.collapsed_graph`.
    """
    tokens = features.shape[0]
    valid = valid_tokens(tokens, grid)
    foreground = foreground & valid
    capacity = tokens if capacity is None else min(capacity, tokens)
    prepared = prepare_features(features, metric=metric, valid=valid)
    index = jnp.nonzero(foreground, size=capacity, fill_value=0)[0]
    present = jnp.arange(capacity) < jnp.sum(foreground)
    members = jnp.where(present[:, None], prepared[index], 0.0)
    return members, present, jnp.sum(valid & ~foreground)


def instance_graph(
    features: Float[Array, "tokens channels"],
    foreground: Bool[Array, " tokens"],
    grid: Grid,
    *,
    metric: str = "boc",
    capacity: int | None = None,
) -> tuple[Float[Array, "nodes nodes"], Bool[Array, " nodes"]]:
    """The instance graph: one node per foreground token, one, the last, for the background.

    Args:
        features: F'' with background rows zero.
        foreground: its mask.
        grid: the token grid.
        metric: one of `specjax.affinity.METRICS`.
        capacity: static upper bound of foreground tokens; None for all tokens. The smaller it
            is, the faster; more foreground tokens than it give an undefined result.

    Returns:
        The graph, of capacity + 1 nodes, and which of them exist
        (`specjax.spectral.collapsed_graph`).
    """
    members = foreground_members(features, foreground, grid, metric=metric, capacity=capacity)
    return collapsed_graph(*members, metric=metric)


def eigensegments(
    graph: Float[Array, "nodes nodes"],
    nodes: Bool[Array, " nodes"],
    foreground: Bool[Array, " tokens"],
    grid: Grid,
    *,
    solver: str = "auto",
    break_ties: bool = True,
) -> Eigensegments:
    """The smallest eigenvectors of the instance graph, spread over the token grid.

    Background tokens are interchangeable (all zero), so the full graph's eigenvectors are either
    constant on the background or zero on the foreground. The second kind says nothing about
    instances and is not among these.

    `graph` and `nodes` come from `instance_graph` with the same `foreground`; for the rest see
    `specjax.spectral.smallest_eigenpairs` and `orient`.
    """
    pairs = smallest_eigenpairs(graph, count=SEGMENTS + 1, solver=solver, valid=nodes)
    return spread_over_grid(pairs, foreground, grid, break_ties=break_ties)


def spread_over_grid(
    pairs: Eigenpairs, foreground: Bool[Array, " tokens"], grid: Grid, *, break_ties: bool = True
) -> Eigensegments:
    """Eigenvectors of the instance graph as oriented maps: see `eigensegments`."""
    valid = valid_tokens(foreground.shape[0], grid)
    foreground = foreground & valid
    values, background = pairs.vectors[1:, :-1], pairs.vectors[1:, -1]
    slot = jnp.where(foreground, jnp.cumsum(foreground) - 1, 0)
    maps = jnp.where(foreground[None, :], values[:, slot], background[:, None])
    maps = orient(jnp.where(valid[None, :], maps, 0.0), break_ties=break_ties, valid=valid)
    return Eigensegments(maps=maps, eigenvalues=pairs.values)


def cluster_eigensegments(
    maps: Float[Array, "segments tokens"],
    foreground: Bool[Array, " tokens"],
    grid: Grid,
    num_instances: int | Int[Array, ""],
    key: Key[Array, ""],
    *,
    max_instances: int,
    restarts: int = 10,
) -> Int[Array, " tokens"]:
    """Instance of each token: 0 for background, 1, 2, ... in order of first appearance.

    5x5 median on each map, then k-means over the foreground tokens' vectors. Fewer foreground
    tokens than instances: each token is an instance.
    """
    smooth = jax.vmap(lambda values: median_filter(values, grid, size=_MEDIAN_SIZE))(maps)
    foreground = foreground & valid_tokens(maps.shape[1], grid)
    clusters = kmeans(
        smooth.T,
        num_instances,
        key,
        max_clusters=max_instances,
        mask=foreground,
        restarts=restarts,
    )
    return jnp.where(foreground, clusters.labels + 1, 0)
