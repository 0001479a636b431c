"""The composed stages: features to foreground to instances, jitted, one image at a time.

Arrays are flat over tokens, possibly padded; `grid` is `[height, width]` as an array, so that one
compiled program serves every image of up to that many tokens. `Config` is static: a new value
compiles a new program.

The foreground mask decides how large the instance graph is: the program holds a few sizes of it
and runs the smallest that fits, so that the graph costs what the foreground costs.
"""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from specjax.channels import noise_channel_reduction, normalize_tokens
from specjax.errors import UserError
from specjax.evaluation import InstanceScores, f_score, instance_scores
from specjax.foreground import bipartition, postprocess
from specjax.grid import Grid, valid_tokens
from specjax.instances import (
    SEGMENTS,
    cluster_eigensegments,
    foreground_features,
    foreground_members,
    instance_graph,
    spread_over_grid,
)
from specjax.models.vit import ViT
from specjax.protocol import PAPER, Protocol
from specjax.spectral import Eigenpairs, collapsed_graphs, smallest_eigenpairs


@dataclasses.dataclass(frozen=True)
class Config:
    """What a run computes, apart from the backbone.

    Attributes:
        M: channels kept by noise reduction, in both stages.
        N: channels kept by deviation reduction, at most M.
        bins: histogram bins of the channel entropy.
        metric: one of `specjax.affinity.METRICS`.
        protocol: `PAPER` or `REFERENCE`, or choices of your own.
        solver: "auto", "eigh", "lobpcg" or "krylov": see `specjax.spectral`.
        restarts: k-means starts.
    """

    M: int = 128
    N: int = 60
    bins: int = 30
    metric: str = "boc"
    protocol: Protocol = PAPER
    solver: str = "auto"
    restarts: int = 10


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


def check_config(config: Config, channels: int) -> Config:
    """The configuration for features of so many channels, N clamped to M.

    Raises:
        UserError: M is out of range.
    """
    if not 1 <= config.M <= channels:
        raise UserError(
            f"M={config.M} does not lie in 1..C, and these features have C={channels} channels;"
            " use --M=C/3 for a third of them"
        )
    if config.N < 1:
        raise UserError(f"N={config.N} must be at least 1")
    return dataclasses.replace(config, N=min(config.N, config.M))


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

    The graph has the smallest of `instance_capacities` that holds the foreground, a choice inside
    the program; mapped over a batch, that which holds the largest foreground.

    `reduced` comes from `reduce_for_instances`; `max_instances` bounds `num_instances` and is
    static.
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

    Vectors have one entry per token and, the last, one for the background, as if the graph had
    all tokens' size. `config.metric` means nothing here. Metrics share passes over the features,
    and code; all their graphs are in memory at once.
    """
    members, present, background = {}, None, None
    for metric in metrics:
        members[metric], present, background = foreground_members(
            reduced, foreground, grid, metric=metric
        )
    return _pairs_by_metric(config, metrics, reduced.shape[0])(members, present, background)


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

    return _one_by_one(label, pairs)


def _one_by_one(function, stacked):
    """`function` of each element, compiled once; without a loop where there is but one."""
    if jax.tree.leaves(stacked)[0].shape[0] > 1:
        return jax.lax.map(function, stacked)
    return jax.tree.map(lambda leaf: leaf[None], function(jax.tree.map(lambda x: x[0], stacked)))


def _pairs_by_metric(config: Config, metrics: tuple[str, ...], tokens: int):
    """From an image's members to the pairs of its graphs, as large as all tokens' would be."""
    capacities = instance_capacities(tokens)

    def at(capacity: int):
        def solve(members, present, background):
            inside = {metric: features[:capacity] for metric, features in members.items()}
            graphs = collapsed_graphs(inside, present[:capacity], background)
            # In the order asked for: JAX sorts the keys of a dict on its way.
            graphs = [graphs[metric] for metric in metrics]
            stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *graphs)
            values, vectors = _one_by_one(
                lambda graph: solve_instance_graph(*graph, config=config), stacked
            )
            # The background's node stays the last one.
            missing = jnp.zeros((*vectors.shape[:2], tokens - capacity), vectors.dtype)
            parts = [vectors[..., :-1], missing, vectors[..., -1:]]
            return Eigenpairs(values, jnp.concatenate(parts, axis=-1))

        return solve

    def smallest(foreground_tokens):
        return jnp.sum(foreground_tokens > jnp.asarray(capacities[:-1], jnp.int32))

    @jax.custom_batching.custom_vmap
    def choose(members, present, background):
        branch = smallest(jnp.sum(present))
        return jax.lax.switch(branch, [at(c) for c in capacities], members, present, background)

    @choose.def_vmap
    def choose_for_all(size, batched, *arguments):
        # A mapped `switch` would run every branch for every image.
        leaves, structure = jax.tree.flatten(arguments)
        leaves = [
            leaf if is_batched else jnp.broadcast_to(leaf, (size, *leaf.shape))
            for leaf, is_batched in zip(leaves, jax.tree.leaves(batched), strict=True)
        ]
        arguments = jax.tree.unflatten(structure, leaves)
        branch = smallest(jnp.max(jnp.sum(arguments[1], axis=1)))
        branches = [jax.vmap(at(c)) for c in capacities]
        return jax.lax.switch(branch, branches, *arguments), Eigenpairs(True, True)

    return choose


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


def padded_tokens(tokens: int) -> int:
    """Length to pad an image's tokens to: a multiple of 256 up to 2,048.

    Beyond, a multiple of a sixteenth of the largest power of two below `tokens`, which is less
    than a sixteenth more than asked for.
    """
    # Small sizes cost little to compute and much to compile, so they share few programs.
    step = 256 if tokens <= 2048 else (1 << (tokens - 1).bit_length() - 1) // 16
    return max(-(-tokens // step), 1) * step


def instance_capacities(tokens: int) -> tuple[int, ...]:
    """Sizes that an instance graph may have, ascending, for an image padded to so many tokens.

    Three eighths, a half and all of it; small images, whose graphs cost little to solve and as
    much as others to compile, go without the first. The sign rule makes more than half rare: only
    post-processing can.
    """
    parts = (4,) if tokens <= 1024 else (3, 4)
    sizes = {-(-tokens * eighths // 8) for eighths in parts}
    return (*sorted(size for size in sizes if size >= 256), tokens)
