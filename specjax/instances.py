"""From foreground features to the instance graph, and from its eigenpairs to labels.

Features are `[tokens, channels]`; maps and labels are flat, row-major over `grid`.

    graph, nodes = instance_graph(features, foreground, grid)
    pairs = smallest_eigenpairs(graph, count=SEGMENTS + 1, valid=nodes)
    maps = eigensegments(pairs, foreground, grid)
    labels = cluster_eigensegments(maps, foreground, grid, num_instances, key, max_instances=8)

Background tokens are all zero, so an eigenvector of the graph of all tokens is either constant on
the background or zero on the foreground. The second kind says nothing about instances. The instance
graph, which has one node for the whole background, has only the first kind.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from specjax.affinity import prepare_features
from specjax.channels import deviation_channel_reduction
from specjax.clustering import kmeans
from specjax.morphology import median_filter
from specjax.spectral import Eigenpairs, collapsed_graphs, orient
from specjax.tokens import Grid, valid_tokens

# Eigenvectors after the constant one: the paper's four eigensegments.
SEGMENTS = 4
# Side of the median filter's window on each eigensegment.
_MEDIAN_SIZE = 5


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
    metrics: Sequence[str],
    capacity: int | None = None,
) -> tuple[dict[str, Float[Array, "members channels"]], Bool[Array, " members"], Int[Array, ""]]:
    """Prepare the features for each metric, and gather those of the foreground (`instance_graph`).

    Returns:
        The arguments of `specjax.spectral.collapsed_graphs`: features of the foreground tokens, the
        members, by metric; which members exist (the others are zero); and the number of background
        tokens.

    Raises:
        SpecjaxError: a metric is unknown.
    """
    tokens = features.shape[0]
    valid = valid_tokens(tokens, grid)
    foreground = foreground & valid
    capacity = tokens if capacity is None else min(capacity, tokens)
    index = jnp.nonzero(foreground, size=capacity, fill_value=0)[0]
    present = jnp.arange(capacity) < jnp.sum(foreground)
    members = {}
    for metric in metrics:
        prepared = prepare_features(features, metric=metric, valid=valid)
        members[metric] = jnp.where(present[:, None], prepared[index], 0.0)
    return members, present, jnp.sum(valid & ~foreground)


@functools.partial(jax.jit, static_argnames=("metric", "capacity"))
def instance_graph(
    features: Float[Array, "tokens channels"],
    foreground: Bool[Array, " tokens"],
    grid: Grid,
    *,
    metric: str = "boc",
    capacity: int | None = None,
) -> tuple[Float[Array, "nodes nodes"], Bool[Array, " nodes"]]:
    """Build the instance graph: a node per foreground token, and a last one for the background.

    The paper's graph has a node per token. Its background tokens are all zero, so they can share a
    node: the eigenpairs that are constant on the background stay exactly the same, and the others
    say nothing about instances (`specjax.spectral.collapsed_graphs`).

    Args:
        features: F'', with background rows zero (`reduce_features`).
        foreground: the foreground mask.
        grid: rows and columns of the token grid; may be traced.
        metric: one of `METRICS`; static.
        capacity: upper bound of the number of foreground tokens, None for all tokens; static. A
            smaller graph is solved faster; with more foreground tokens than `capacity`, the result
            is undefined.

    Returns:
        The graph, divided by the largest entry of the paper's graph, with capacity + 1 nodes; and
        which of its nodes exist.

    Raises:
        SpecjaxError: the metric is unknown.

    Example:
        >>> features = jnp.array([[1.0, 0.0], [0.8, 0.6], [0.0, 0.0], [0.0, 0.0]])
        >>> foreground = jnp.array([True, True, False, False])
        >>> graph, nodes = specjax.instance_graph(features, foreground, (2, 2), capacity=2)
        >>> print(graph.shape, nodes)
        (3, 3) [ True  True  True]
    """
    members = foreground_members(features, foreground, grid, metrics=(metric,), capacity=capacity)
    return collapsed_graphs(*members)[metric]


def eigensegments(
    pairs: Eigenpairs,
    foreground: Bool[Array, " tokens"],
    grid: Grid,
    *,
    break_ties: bool = True,
) -> Float[Array, "segments tokens"]:
    """Eigenvectors of the instance graph, without the constant one, as maps over all tokens.

    Args:
        pairs: the smallest eigenpairs of the instance graph.
        foreground: the foreground mask that the graph was made with.
        grid: rows and columns of the token grid.
        break_ties: see `specjax.spectral.orient`.

    Returns:
        Oriented maps with y^T D y = 1 over the graph of all tokens; 0 for a missing pair.
    """
    valid = valid_tokens(foreground.shape[0], grid)
    foreground = foreground & valid
    values, background = pairs.vectors[1:, :-1], pairs.vectors[1:, -1]
    slot = jnp.where(foreground, jnp.cumsum(foreground) - 1, 0)
    maps = jnp.where(foreground[None, :], values[:, slot], background[:, None])
    return orient(jnp.where(valid[None, :], maps, 0.0), break_ties=break_ties, valid=valid)


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
    """Cluster the foreground tokens by k-means on their values in the median-filtered maps.

    At most one instance per foreground token is found.

    Returns:
        0 for background, 1, 2, ... for instances, in order of first appearance.
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
