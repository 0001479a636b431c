"""The method in five jitted stages, and their composition, one image at a time.

    features = extract_features(model, patches, grid)
    foreground = segment_foreground(features, grid, config=config).mask
    reduced = reduce_features(features, foreground, grid, config=config)
    pairs = instance_eigenpairs(reduced, foreground, grid, config=config)
    found = label_instances(pairs, foreground, grid, num_instances, key, config=config, ...)

Features are float32 `[tokens, channels]`; masks and labels are `[tokens]`: flat over the grid,
possibly padded (`specjax.tokens`). `grid` is `[rows, columns]` as an array, so that one compiled
program serves every image of up to that many tokens. `Config` is static: a new value compiles a
new program. The foreground mask decides how large the instance graph is, inside the program
(`specjax._sizes`).
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from specjax._sizes import at_smallest_size, instance_capacities, one_by_one, padded_instances
from specjax.channels import EntropyRule, noise_channel_reduction, normalize_tokens
from specjax.clustering import warn_of_clamping
from specjax.config import Config, channel_count
from specjax.errors import SpecjaxError
from specjax.foreground import bipartition, postprocess
from specjax.instances import (
    SEGMENTS,
    cluster_eigensegments,
    eigensegments,
    foreground_features,
    foreground_members,
)
from specjax.models.vit import ViT, feature_kinds
from specjax.spectral import Eigenpairs, collapsed_graphs, smallest_eigenpairs
from specjax.tokens import Grid, valid_tokens

_Features = Float[Array, "tokens channels"]
_Mask = Bool[Array, " tokens"]


class Foreground(NamedTuple):
    """What the foreground stage finds, over tokens.

    Attributes:
        raw: foreground before post-processing.
        mask: foreground after it.
        eigenvalues: the two smallest.
    """

    raw: Bool[Array, " tokens"]
    mask: Bool[Array, " tokens"]
    eigenvalues: Float[Array, "2"]


class Instances(NamedTuple):
    """What the instance stages find, over tokens.

    Attributes:
        labels: 0 background, 1, 2, ... instances.
        maps: the four eigensegments before their median filter.
        eigenvalues: the five smallest; 2 where the graph has fewer nodes.
    """

    labels: Int[Array, " tokens"]
    maps: Float[Array, "segments tokens"]
    eigenvalues: Float[Array, " pairs"]


@functools.partial(jax.jit, static_argnames=("features", "layer", "pos_interpolation", "dtype"))
def extract_features(
    model: ViT,
    patches: Float[Array, "tokens values"],
    grid: Grid,
    *,
    features: str = "keys",
    layer: int = -1,
    pos_interpolation: str = "auto",
    dtype: str = "float32",
) -> Float[Array, "tokens channels"]:
    """Keys of the last block's attention, or others of its features, without CLS and registers.

    Args:
        model: the backbone.
        patches: of one image (`specjax.cut_patches`).
        grid: rows and columns of its tokens.
        features: "keys", "queries" or "values" of the block's attention, as they leave their
            projections, or its "outputs" (of the last block, after the final norm). Several, with
            commas, are joined along the channels, each token L2-normalised first.
        layer: the block, 1 for the first, -1 for the last.
        pos_interpolation: of position embeddings, "auto" (as the backbone's original code), "dino"
            or "hf" (as Hugging Face's).
        dtype: of what is multiplied; "bfloat16" is for accelerators (`specjax.models.vit`).
            Features are float32.

    Returns:
        Float32, zero where the grid has no token.

    Raises:
        SpecjaxError: there are no such features, layer, interpolation or dtype, or the patches do
            not fit the model or the grid.
    """
    kinds = feature_kinds(features)
    block = model(patches, grid, layer=layer, pos_interpolation=pos_interpolation, dtype=dtype)
    found = [getattr(block, kind) for kind in kinds]
    if len(found) > 1:
        found = [normalize_tokens(part) for part in found]
    valid = valid_tokens(patches.shape[0], grid)
    return jnp.where(valid[:, None], jnp.concatenate(found, axis=1), 0.0)


@functools.partial(jax.jit, static_argnames=("config",))
def segment_foreground(features: _Features, grid: Grid, *, config: Config) -> Foreground:
    """NCR (Eq. 1-2), Fiedler bipartition and post-processing of one image.

    Raises:
        SpecjaxError: `config.M` is more than there are channels.
    """
    protocol = config.protocol
    select = functools.partial(
        _least_noisy, grid=grid, rule=protocol.foreground_entropy, config=config
    )
    if protocol.normalize_before_foreground_selection:
        reduced = select(normalize_tokens(features))
    else:
        reduced = normalize_tokens(select(features))
    split = bipartition(reduced, grid, solver=config.solver, break_ties=protocol.break_sign_ties)
    mask = postprocess(
        split.mask, grid, median_size=protocol.foreground_median, area=protocol.region_area
    )
    return Foreground(raw=split.mask, mask=mask, eigenvalues=split.eigenvalues)


@functools.partial(jax.jit, static_argnames=("config",))
def reduce_features(
    features: _Features, foreground: _Mask, grid: Grid, *, config: Config
) -> Float[Array, "tokens reduced"]:
    """F'': N (DCR, Eq. 3) of M (NCR) channels, tokens L2-normalised over the M, background zero.

    Raises:
        SpecjaxError: `config.M` is more than there are channels.
    """
    selected = _least_noisy(features, grid, config.protocol.instance_entropy, config)
    valid = valid_tokens(features.shape[0], grid)
    return foreground_features(normalize_tokens(selected), foreground, keep=config.N, valid=valid)


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
    """The five smallest eigenpairs of an image's instance graph.

    The graph has the smallest of a few sizes that holds the foreground, or the largest one of a
    batch that is mapped over.

    Args:
        reduced: F'' (`reduce_features`).
        foreground: its mask.
        grid: rows and columns of tokens.
        config: its metric and solver.
        metrics: several metrics, which share passes over the features, and code;
            `config.metric` then means nothing. All graphs are in memory at once.
        capacity: the size of the graph, where it is known to hold the foreground
            (`specjax._sizes.capacity_for`): one size is compiled instead of all.

    Returns:
        The pairs; vectors have one entry per foreground token, in order, zeros up to the number
        of tokens, and a last entry for the background. With `metrics`, all arrays have a leading
        axis of metrics.

    Raises:
        SpecjaxError: an unknown metric.
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
    """Eigensegments of the eigenpairs of one instance graph, and their clusters by k-means.

    Args:
        pairs: of one graph (`instance_eigenpairs`, or `smallest_eigenpairs` of an
            `instance_graph`); map over the leading axis of several.
        foreground: the mask that the graph was made of.
        grid: rows and columns of tokens.
        num_instances: how many to find. More than `max_instances`, or than there are foreground
            tokens, are found as that many; where the values are known, with a warning.
        key: a typed PRNG key.
        config: its protocol's sign rule, and its restarts.
        max_instances: static upper bound of `num_instances`.
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


def segment(
    features: _Features,
    grid: Grid,
    *,
    num_instances: int | Int[Array, ""],
    key: Key[Array, ""],
    config: Config,
    max_instances: int | None = None,
) -> Int[Array, " tokens"]:
    """From features to labels: every stage after the backbone.

    Args:
        features: of one image (`extract_features`).
        grid: rows and columns of tokens.
        num_instances: how many to find (see `label_instances`).
        key: a typed PRNG key.
        config: the settings.
        max_instances: static upper bound of `num_instances`; None where that is a Python integer.

    Returns:
        0 for background, 1, 2, ... for instances.

    Raises:
        SpecjaxError: `max_instances` is needed, or `config.M` is more than there are channels.
    """
    if max_instances is None:
        if not isinstance(num_instances, int):
            raise SpecjaxError(
                "max_instances is needed where num_instances is not a Python integer",
                parameter="max_instances",
            )
        max_instances = padded_instances(num_instances)
    foreground = segment_foreground(features, grid, config=config).mask
    reduced = reduce_features(features, foreground, grid, config=config)
    pairs = instance_eigenpairs(reduced, foreground, grid, config=config)
    return label_instances(
        pairs, foreground, grid, num_instances, key, config=config, max_instances=max_instances
    ).labels


def _least_noisy(
    features: _Features, grid: Grid, rule: EntropyRule, config: Config
) -> Float[Array, "tokens kept"]:
    """The M channels of lowest entropy."""
    kept = noise_channel_reduction(
        features,
        keep=channel_count(config.M, features.shape[1]),
        bins=config.bins,
        rule=rule,
        valid=valid_tokens(features.shape[0], grid),
    )
    return features[:, kept]
