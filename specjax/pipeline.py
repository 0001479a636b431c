"""The composed stages: features to foreground to instances, jitted, one image at a time.

Arrays are flat over tokens, possibly padded; `grid` is `[height, width]` as an array, so that one
compiled program serves every image of up to that many tokens. `Config` is static: a new value
compiles a new program.

The foreground mask decides how large the instance graph is, inside the program (`specjax._sizes`).
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from specjax._sizes import at_smallest_size, instance_capacities, one_by_one
from specjax.channels import noise_channel_reduction, normalize_tokens
from specjax.config import Config, check_config
from specjax.evaluation import InstanceScores, f_score, instance_scores
from specjax.foreground import bipartition, postprocess
from specjax.instances import (
    SEGMENTS,
    cluster_eigensegments,
    foreground_features,
    foreground_members,
    instance_graph,
    spread_over_grid,
)
from specjax.models.vit import ViT
from specjax.spectral import Eigenpairs, collapsed_graphs, smallest_eigenpairs
from specjax.tokens import Grid, valid_tokens


class ForegroundResult(NamedTuple):
    """The foreground stage's output, over tokens.

    Attributes:
        raw: foreground before post-processing.
        mask: foreground after it.
        eigenvalues: the two smallest.
    """

    raw: Bool[Array, " tokens"]
    mask: Bool[Array, " tokens"]
    eigenvalues: Float[Array, "2"]


class InstanceResult(NamedTuple):
    """The instance stage's output, over tokens.

    Attributes:
        labels: 0 background, 1, 2, ... instances.
        maps: the four eigensegments before their median filter.
        eigenvalues: the five smallest; 2 where the graph has fewer nodes.
    """

    labels: Int[Array, " tokens"]
    maps: Float[Array, "segments tokens"]
    eigenvalues: Float[Array, " pairs"]


@functools.partial(jax.jit, static_argnames=("layer", "interpolation", "dtype"))
def extract_features(
    model: ViT, patches: Float[Array, "tokens values"], grid: Grid, *, layer: int = -1,
    interpolation: str = "dino", dtype: str = "float32",
) -> Float[Array, "tokens channels"]:
    """Keys of a block's attention (the last one's by default), CLS dropped, padding zero.

    `dtype` "bfloat16" is for accelerators: see `specjax.models.vit`. Features are float32.
    """
    keys = model(patches, grid, layer=layer, interpolation=interpolation, dtype=dtype).keys
    return jnp.where(valid_tokens(keys.shape[0], grid)[:, None], keys, 0.0)


@functools.partial(jax.jit, static_argnames=("config",))
def reduce_for_foreground(
    features: Float[Array, "tokens channels"], grid: Grid, *, config: Config
) -> Float[Array, "tokens reduced"]:
    """F' of the foreground stage: M channels, tokens L2-normalised."""
    config = check_config(config, features.shape[1])
    protocol = config.protocol
    valid = valid_tokens(features.shape[0], grid)
    first = protocol.normalize_before_foreground_selection
    source = normalize_tokens(features) if first else features
    channels = noise_channel_reduction(
        source, keep=config.M, bins=config.bins, rule=protocol.foreground_entropy, valid=valid
    )
    reduced = source[:, channels]
    return reduced if first else normalize_tokens(reduced)


@functools.partial(jax.jit, static_argnames=("config",))
def reduce_for_instances(
    features: Float[Array, "tokens channels"],
    foreground: Bool[Array, " tokens"],
    grid: Grid,
    *,
    config: Config,
) -> Float[Array, "tokens reduced"]:
    """F'' of the instance stage: N of M channels, tokens L2-normalised over the M, masked."""
    config = check_config(config, features.shape[1])
    valid = valid_tokens(features.shape[0], grid)
    channels = noise_channel_reduction(
        features,
        keep=config.M,
        bins=config.bins,
        rule=config.protocol.instance_entropy,
        valid=valid,
    )
    reduced = normalize_tokens(features[:, channels])
    return foreground_features(reduced, foreground, keep=config.N, valid=valid)


@functools.partial(jax.jit, static_argnames=("config",))
def segment_foreground(
    features: Float[Array, "tokens channels"], grid: Grid, *, config: Config
) -> ForegroundResult:
    """NCR, Fiedler bipartition and post-processing of one image."""
    reduced = reduce_for_foreground(features, grid, config=config)
    return split_foreground(reduced, grid, config=config)


@functools.partial(jax.jit, static_argnames=("config",))
def split_foreground(
    reduced: Float[Array, "tokens reduced"], grid: Grid, *, config: Config
) -> ForegroundResult:
    """Fiedler bipartition and post-processing of reduced features (`reduce_for_foreground`)."""
    protocol = config.protocol
    split = bipartition(
        reduced, grid, solver=config.solver, break_ties=protocol.break_sign_ties
    )
    mask = postprocess(
        split.mask, grid, median_size=protocol.foreground_median, area=protocol.region_area
    )
    return ForegroundResult(raw=split.mask, mask=mask, eigenvalues=split.eigenvalues)


@functools.partial(jax.jit, static_argnames=("config", "max_instances"))
def segment_instances(
    reduced: Float[Array, "tokens channels"],
    foreground: Bool[Array, " tokens"],
    grid: Grid,
    num_instances: int | Int[Array, ""],
    key: Key[Array, ""],
    *,
    config: Config,
    max_instances: int,
) -> InstanceResult:
    """The instance graph, its eigensegments and their clusters, for one image.

    The graph has the smallest of `instance_capacities` that holds the foreground, or the largest
    one of a batch that is mapped over. `reduced` comes from `reduce_for_instances`; the static
    `max_instances` bounds `num_instances`.
    """
    found = segment_instances_by_metric(
        reduced, foreground, grid, num_instances, key,
        config=config, metrics=(config.metric,), max_instances=max_instances,
    )  # fmt: skip
    return jax.tree.map(lambda leaf: leaf[0], found)


@functools.partial(jax.jit, static_argnames=("config", "metrics", "max_instances"))
def segment_instances_by_metric(
    reduced: Float[Array, "tokens channels"],
    foreground: Bool[Array, " tokens"],
    grid: Grid,
    num_instances: int | Int[Array, ""],
    key: Key[Array, ""],
    *,
    config: Config,
    metrics: tuple[str, ...],
    max_instances: int,
) -> InstanceResult:
    """`segment_instances` under several metrics, stacked, at less than the price of one each.

    `config.metric` means nothing here: see `instance_eigenpairs`.
    """
    pairs = instance_eigenpairs(reduced, foreground, grid, config=config, metrics=metrics)
    return label_instances_by_metric(
        pairs, foreground, grid, num_instances, key, config=config, max_instances=max_instances
    )


@functools.partial(jax.jit, static_argnames=("config", "metrics"))
def instance_eigenpairs(
    reduced: Float[Array, "tokens channels"],
    foreground: Bool[Array, " tokens"],
    grid: Grid,
    *,
    config: Config,
    metrics: tuple[str, ...],
) -> Eigenpairs:
    """The five smallest pairs of an image's instance graph under each metric, stacked.

    Vectors have one entry per token and a last one for the background. `config.metric` means
    nothing here. Metrics share passes over the features, and code; all graphs are in memory at
    once.
    """
    members, present, background = {}, None, None
    for metric in metrics:
        members[metric], present, background = foreground_members(
            reduced, foreground, grid, metric=metric
        )
    tokens = reduced.shape[0]

    def at(capacity: int):
        def solve(members, present, background):
            inside = {metric: features[:capacity] for metric, features in members.items()}
            graphs = collapsed_graphs(inside, present[:capacity], background)
            # In the order asked for: JAX sorts the keys of a dict on its way.
            graphs = [graphs[metric] for metric in metrics]
            stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *graphs)
            values, vectors = one_by_one(
                lambda graph: solve_instance_graph(*graph, config=config), stacked
            )
            # The background's node stays the last one.
            missing = jnp.zeros((*vectors.shape[:2], tokens - capacity), vectors.dtype)
            parts = [vectors[..., :-1], missing, vectors[..., -1:]]
            return Eigenpairs(values, jnp.concatenate(parts, axis=-1))

        return solve

    solve = at_smallest_size(at, instance_capacities(tokens))
    return solve(jnp.sum(present), members, present, background)


@functools.partial(jax.jit, static_argnames=("config", "max_instances"))
def label_instances_by_metric(
    pairs: Eigenpairs,
    foreground: Bool[Array, " tokens"],
    grid: Grid,
    num_instances: int | Int[Array, ""],
    key: Key[Array, ""],
    *,
    config: Config,
    max_instances: int,
) -> InstanceResult:
    """`label_instances` of the stacked pairs of `instance_eigenpairs`."""

    def label(pairs):
        return label_instances(
            pairs, foreground, grid, num_instances, key,
            config=config, max_instances=max_instances,
        )  # fmt: skip

    return one_by_one(label, pairs)


@functools.partial(jax.jit, static_argnames=("config", "capacity"))
def build_instance_graph(
    reduced: Float[Array, "tokens channels"],
    foreground: Bool[Array, " tokens"],
    grid: Grid,
    *,
    config: Config,
    capacity: int | None = None,
) -> tuple[Float[Array, "nodes nodes"], Bool[Array, " nodes"]]:
    """The affinities of the foreground's tokens: see `specjax.instances.instance_graph`."""
    return instance_graph(reduced, foreground, grid, metric=config.metric, capacity=capacity)


@functools.partial(jax.jit, static_argnames=("config",))
def solve_instance_graph(
    graph: Float[Array, "nodes nodes"], nodes: Bool[Array, " nodes"], *, config: Config
) -> Eigenpairs:
    """The five smallest eigenpairs of an instance graph."""
    return smallest_eigenpairs(graph, count=SEGMENTS + 1, solver=config.solver, valid=nodes)


@functools.partial(jax.jit, static_argnames=("config", "max_instances"))
def label_instances(
    pairs: Eigenpairs,
    foreground: Bool[Array, " tokens"],
    grid: Grid,
    num_instances: int | Int[Array, ""],
    key: Key[Array, ""],
    *,
    config: Config,
    max_instances: int,
) -> InstanceResult:
    """Eigensegments of the pairs of `solve_instance_graph`, and their clusters."""
    maps, eigenvalues = spread_over_grid(
        pairs, foreground, grid, break_ties=config.protocol.break_sign_ties
    )
    labels = cluster_eigensegments(
        maps,
        foreground,
        grid,
        num_instances,
        key,
        max_instances=max_instances,
        restarts=config.restarts,
    )
    return InstanceResult(labels=labels, maps=maps, eigenvalues=eigenvalues)


@functools.partial(jax.jit, static_argnames=("max_instances",))
def score_instances(
    labels: Int[Array, " tokens"],
    truth: Int[Array, " tokens"],
    counted: Bool[Array, " tokens"],
    *,
    max_instances: int,
) -> InstanceScores:
    """Jitted `specjax.evaluation.instance_scores`."""
    return instance_scores(labels, truth, counted=counted, max_instances=max_instances)


@jax.jit
def score_foreground(
    prediction: Bool[Array, " tokens"],
    truth: Int[Array, " tokens"],
    counted: Bool[Array, " tokens"],
) -> Float[Array, ""]:
    """Jitted `specjax.evaluation.f_score` of a mask against instance numbers."""
    return f_score(prediction, truth > 0, counted=counted)
