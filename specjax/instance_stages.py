"""The last two stages of the method: from reduced features to labels, through the instance graph.

The foreground mask decides how large the graph is, inside the program (`specjax._sizes`).
`specjax.pipeline` has the stages before, and the conventions of all.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from specjax._sizes import at_smallest_size, instance_capacities, one_by_one
from specjax.clustering import warn_of_clamping
from specjax.config import Config
from specjax.instances import (
    SEGMENTS,
    cluster_eigensegments,
    eigensegments,
    foreground_members,
)
from specjax.spectral import Eigenpairs, collapsed_graphs, smallest_eigenpairs
from specjax.tokens import Grid

_Features = Float[Array, "tokens channels"]
_Mask = Bool[Array, " tokens"]


class Instances(NamedTuple):
    """The result of `label_instances`, over tokens.

    Attributes:
        labels: 0 for background, 1, 2, ... for instances.
        maps: the four eigensegments before their median filter.
        eigenvalues: the five smallest of the instance graph; 2 where the graph has fewer nodes.
    """

    labels: Int[Array, " tokens"]
    maps: Float[Array, "segments tokens"]
    eigenvalues: Float[Array, " pairs"]


@functools.partial(jax.jit, static_argnames=("config", "metrics", "capacity"))
def instance_eigenpairs(
    reduced: _Features,
    foreground: _Mask,
    grid: Grid,
    *,
    config: Config,
    metrics: tuple[str, ...] | None = None,
    capacity: int | None = None,
) -> Eigenpairs:
    """The five smallest eigenpairs of the instance graph of an image (`instance_graph`).

    The program holds the graph in a few sizes, and solves the smallest that the foreground fits in.
    Under `jax.vmap`, all images take the size that the largest of them needs.

    Args:
        reduced: F'' (`reduce_features`).
        foreground: the foreground mask that F'' was made with.
        grid: rows and columns of the token grid; may be traced.
        config: its metric and solver; static.
        metrics: solve the graphs of several metrics, instead of that of `config.metric`; static.
            They share passes over the features and compiled code. All graphs are in memory at once.
        capacity: number of foreground tokens that the graph has room for, where it is known to be
            enough; static. One size is then compiled instead of several.

    Returns:
        Eigenvalues, ascending, and eigenvectors. A vector has an entry per foreground token, in
        order; then zeros, up to the number of tokens; then one entry for the background. With
        `metrics`, both arrays have a leading axis of metrics.

    Raises:
        SpecjaxError: a metric is unknown.

    Example:
        >>> reduced = jax.random.normal(jax.random.key(0), (12, 4))
        >>> foreground = jnp.arange(12) < 7
        >>> reduced = jnp.where(foreground[:, None], reduced, 0.0)
        >>> config = specjax.Config(M=6, N=4)
        >>> pairs = specjax.instance_eigenpairs(reduced, foreground, (3, 4), config=config)
        >>> pairs.values.shape, pairs.vectors.shape
        ((5,), (5, 13))
    """
    names = (config.metric,) if metrics is None else metrics
    tokens = reduced.shape[0]
    members, present, background = foreground_members(reduced, foreground, grid, metrics=names)

    def at(capacity: int):
        def solve(members, present, background):
            inside = {name: features[:capacity] for name, features in members.items()}
            graphs = collapsed_graphs(inside, present[:capacity], background)
            # In the order asked for: JAX sorts the keys of a dict on its way.
            stacked = jax.tree.map(
                lambda *leaves: jnp.stack(leaves), *(graphs[name] for name in names)
            )
            values, vectors = one_by_one(
                lambda graph: smallest_eigenpairs(
                    graph[0], count=SEGMENTS + 1, solver=config.solver, valid=graph[1]
                ),
                stacked,
            )
            # The background's node stays the last one.
            missing = jnp.zeros((*vectors.shape[:2], tokens - capacity), vectors.dtype)
            parts = [vectors[..., :-1], missing, vectors[..., -1:]]
            return Eigenpairs(values, jnp.concatenate(parts, axis=-1))

        return solve

    if capacity is None:
        solve = at_smallest_size(at, instance_capacities(tokens))
        pairs = solve(jnp.sum(present), members, present, background)
    else:
        pairs = at(capacity)(members, present, background)
    return jax.tree.map(lambda leaf: leaf[0], pairs) if metrics is None else pairs


def label_instances(
    pairs: Eigenpairs,
    foreground: _Mask,
    grid: Grid,
    num_instances: int | Int[Array, ""],
    key: Key[Array, ""],
    *,
    config: Config,
    max_instances: int,
) -> Instances:
    """The last stage: eigensegments from eigenpairs, and instances from k-means on them.

    The constant eigenvector is dropped and the sign rule applied; each of the four maps passes a
    5x5 median filter; k-means clusters the foreground tokens' vectors of four values.

    Args:
        pairs: of one graph (`instance_eigenpairs`, or `smallest_eigenpairs` of an
            `instance_graph`). Use `jax.vmap` for those of several metrics.
        foreground: the foreground mask that the graph was made with.
        grid: rows and columns of the token grid; may be traced.
        num_instances: how many instances to find; may be traced. At most `max_instances`, and one
            per foreground token, are found. Where the values are known, a higher number is a
            warning.
        key: a typed PRNG key (`jax.random.key`), for the starts of k-means.
        config: its restarts, and its protocol's sign rule; static.
        max_instances: upper bound of `num_instances`; static.

    Returns:
        The labels, the eigensegments and the eigenvalues.

    Example:
        >>> features = jax.random.normal(jax.random.key(0), (12, 4))
        >>> foreground, config = jnp.arange(12) < 7, specjax.Config(M=6, N=4)
        >>> graph, nodes = specjax.instance_graph(features, foreground, (3, 4))
        >>> pairs = specjax.smallest_eigenpairs(graph, count=5, valid=nodes)
        >>> found = specjax.label_instances(
        ...     pairs, foreground, (3, 4), 2, jax.random.key(1), config=config, max_instances=8
        ... )
        >>> found.labels.shape, found.maps.shape
        ((12,), (4, 12))
    """
    warn_of_clamping(num_instances, max_instances, foreground)
    return _label_instances(
        pairs, foreground, grid, num_instances, key, config=config, max_instances=max_instances
    )


@functools.partial(jax.jit, static_argnames=("config", "max_instances"))
def _label_instances(pairs, foreground, grid, num_instances, key, *, config, max_instances):
    maps = eigensegments(pairs, foreground, grid, break_ties=config.protocol.break_sign_ties)
    labels = cluster_eigensegments(
        maps,
        foreground,
        grid,
        num_instances,
        key,
        max_instances=max_instances,
        restarts=config.restarts,
    )
    return Instances(labels=labels, maps=maps, eigenvalues=pairs.values)
