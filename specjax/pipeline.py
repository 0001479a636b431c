"""The composed stages: features to foreground to instances, jitted, one image at a time.

Arrays are flat over tokens, possibly padded; `grid` is `[height, width]` as an array, so that one
compiled program serves every image of up to that many tokens. `Config` is static: a new value
compiles a new program.

The foreground mask decides how large the instance graph is. `instance_capacity` turns it into one
of few sizes, so that the graph costs what the foreground costs and few programs are compiled.
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
    spread_over_grid,
)
from specjax.models.vit import ViT
from specjax.protocol import PAPER, Protocol
from specjax.spectral import Eigenpairs, collapsed_graph, smallest_eigenpairs

# Compiled apart: the graph and its eigenvectors depend on the capacity, not on the image's size.
_members = jax.jit(foreground_members, static_argnames=("metric", "capacity"))
_graph = jax.jit(collapsed_graph, static_argnames=("metric",))
_eigenpairs = jax.jit(smallest_eigenpairs, static_argnames=("count", "solver"))
_spread = jax.jit(spread_over_grid, static_argnames=("break_ties",))
_cluster = jax.jit(cluster_eigensegments, static_argnames=("max_instances", "restarts"))


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


@functools.partial(jax.jit, static_argnames=("layer", "interpolation"))
def extract_features(
    model: ViT, patches: Float[Array, "tokens values"], grid: Grid, *, layer: int = -1,
    interpolation: str = "dino",
) -> Float[Array, "tokens channels"]:
    """Keys of a block's attention (the last one's by default), CLS dropped, padding zero."""
    keys = model(patches, grid, layer=layer, interpolation=interpolation).keys
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


def segment_instances(
    reduced: Float[Array, "tokens channels"],
    foreground: Bool[Array, " tokens"],
    grid: Grid,
    num_instances: int | Int[Array, ""],
    key: Key[Array, ""],
    *,
    config: Config,
    max_instances: int,
    capacity: int | None = None,
) -> InstanceResult:
    """The instance graph, its eigensegments and their clusters, for one image.

    A few jitted parts, so that metrics and image sizes share what does not depend on them.
    `reduced` comes from `reduce_for_instances`; `capacity` bounds the foreground's tokens
    (`instance_capacity`) and `max_instances` the number of instances, both static.
    """
    graph, nodes = build_instance_graph(
        reduced, foreground, grid, config=config, capacity=capacity
    )
    pairs = solve_instance_graph(graph, nodes, config=config)
    return label_instances(
        pairs, foreground, grid, num_instances, key, config=config, max_instances=max_instances
    )


def build_instance_graph(
    reduced: Float[Array, "tokens channels"],
    foreground: Bool[Array, " tokens"],
    grid: Grid,
    *,
    config: Config,
    capacity: int | None = None,
) -> tuple[Float[Array, "nodes nodes"], Bool[Array, " nodes"]]:
    """The affinities of the foreground's tokens: see `specjax.instances.instance_graph`."""
    members = _members(reduced, foreground, grid, metric=config.metric, capacity=capacity)
    return _graph(*members, metric=config.metric)


def solve_instance_graph(
    graph: Float[Array, "nodes nodes"], nodes: Bool[Array, " nodes"], *, config: Config
) -> Eigenpairs:
    """The five smallest eigenpairs of an instance graph."""
    return _eigenpairs(graph, count=SEGMENTS + 1, solver=config.solver, valid=nodes)


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
    maps, eigenvalues = _spread(
        pairs, foreground, grid, break_ties=config.protocol.break_sign_ties
    )
    labels = _cluster(
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
    """Length to pad an image's tokens to: a multiple of 256, of 512 from 4,096 on, and so on.

    Beyond 2,048 tokens that is less than an eighth more than asked for.
    """
    return _round_up(tokens, parts=8)


def instance_capacity(foreground_tokens: int, tokens: int) -> int:
    """Size of the instance graph for so many foreground tokens, in steps of at least 256.

    Beyond 1,024 it is less than a quarter more than asked for.
    """
    return min(_round_up(foreground_tokens, parts=4), tokens)


def _round_up(count: int, *, parts: int) -> int:
    """To a multiple of 256, and of 1/parts of the power of two below `count`.

    Small sizes cost little to compute and much to compile, so they share few programs.
    """
    step = max(256, (1 << max(count - 1, 1).bit_length() - 1) // parts)
    return max(-(-count // step), 1) * step
