"""The method in five jitted stages, and their composition, one image at a time.

    features = extract_features(model, patches, grid)
    foreground = segment_foreground(features, grid, config=config).mask
    reduced = reduce_features(features, foreground, grid, config=config)
    pairs = instance_eigenpairs(reduced, foreground, grid, config=config)
    found = label_instances(pairs, foreground, grid, num_instances, key, config=config, ...)

Features are float32 `[tokens, channels]`; masks and labels are `[tokens]`: flat over the grid,
possibly padded (`specjax.tokens`). `grid` is rows and columns; it is traced, so that one compiled
program serves all images of one padded length. `Config` is static: a new value compiles a new
program. The last two stages are in `specjax.instance_stages`.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from specjax._sizes import padded_instances
from specjax.channels import EntropyRule, noise_channel_reduction, normalize_tokens
from specjax.config import Config, channel_count
from specjax.errors import SpecjaxError
from specjax.foreground import bipartition, postprocess
from specjax.instance_stages import instance_eigenpairs, label_instances
from specjax.instances import foreground_features
from specjax.models.features import feature_kinds
from specjax.models.vit import ViT
from specjax.tokens import Grid, valid_tokens

_Features = Float[Array, "tokens channels"]
_Mask = Bool[Array, " tokens"]


class Foreground(NamedTuple):
    """The result of `segment_foreground`, over tokens.

    Attributes:
        raw: the foreground mask before post-processing.
        mask: the foreground mask after it.
        eigenvalues: the two smallest of the foreground graph: 0 and the Fiedler value.

    Example:
        >>> features = jax.random.normal(jax.random.key(0), (12, 8))
        >>> config = specjax.Config(M=6, N=4, bins=5)
        >>> specjax.segment_foreground(features, (3, 4), config=config).eigenvalues.shape
        (2,)
    """

    raw: Bool[Array, " tokens"]
    mask: Bool[Array, " tokens"]
    eigenvalues: Float[Array, "2"]


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
    """Features of an image: the keys of the last block's attention, or others of a block.

    Keys, queries and values are the outputs of their projections, bias included, heads
    concatenated, before any rotary position. The class token and registers are left out.

    Args:
        model: the backbone (`load_checkpoint(...).model`).
        patches: of one image (`cut_patches`).
        grid: rows and columns of the token grid; may be traced.
        features: "keys", "queries", "values", or a block's "outputs" (of the last block, after the
            final norm). Several, with commas, are joined along the channels, each token
            L2-normalised first; static.
        layer: number of the block: 1 is the first, -1 the last; static.
        pos_interpolation: how position embeddings are resampled to the grid: "auto" (as the
            backbone's original code), "dino" or "hf" (as Hugging Face); static.
        dtype: precision of the matrix products, "float32", or "bfloat16" for accelerators; static.

    Returns:
        Features in float32 whatever `dtype` is; 0 for padding.

    Raises:
        SpecjaxError: the model has no such layer, interpolation or dtype, or the patches do not
            fit the model or the grid.

    Example:
        >>> config = specjax.ViTConfig(
        ...     hidden_size=6, num_layers=1, num_heads=2, mlp_size=8, patch_size=4, image_size=8
        ... )
        >>> model = specjax.random_checkpoint(config, seed=0).model
        >>> patches = specjax.cut_patches(np.zeros((8, 12, 3), np.uint8), patch_size=4)
        >>> specjax.extract_features(model, patches.values, patches.tiling.grid).shape
        (256, 6)
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
    """The foreground stage: NCR (Eq. 1-2), Fiedler bipartition and post-processing.

    Args:
        features: of one image (`extract_features`).
        grid: rows and columns of the token grid; may be traced.
        config: its M, bins, protocol and solver; static.

    Returns:
        The mask before and after post-processing, and the eigenvalues.

    Raises:
        SpecjaxError: `config.M` is more than there are channels.

    Example:
        >>> features = jax.random.normal(jax.random.key(0), (12, 8))
        >>> config = specjax.Config(M=6, N=4, bins=5)
        >>> specjax.segment_foreground(features, (3, 4), config=config).mask.shape
        (12,)
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
    """Reduced features F'': NCR (Eq. 1-2), L2-normalisation, DCR (Eq. 3), background set to zero.

    The M channels of lowest entropy are selected, each token is normalised over them, and the N of
    them with the highest standard deviation are kept. The paper does not say when to normalise;
    both protocols do it after the first selection.

    Args:
        features: of one image (`extract_features`).
        foreground: its foreground mask (`segment_foreground(...).mask`).
        grid: rows and columns of the token grid; may be traced.
        config: its M, N, bins and protocol; static.

    Returns:
        `config.N` channels of each token; background and padding are 0.

    Raises:
        SpecjaxError: `config.M` is more than there are channels.

    Example:
        >>> features = jax.random.normal(jax.random.key(0), (12, 8))
        >>> config = specjax.Config(M=6, N=4, bins=5)
        >>> specjax.reduce_features(features, jnp.ones(12, bool), (3, 4), config=config).shape
        (12, 4)
    """
    selected = _least_noisy(features, grid, config.protocol.instance_entropy, config)
    valid = valid_tokens(features.shape[0], grid)
    return foreground_features(normalize_tokens(selected), foreground, keep=config.N, valid=valid)


def segment(
    features: _Features,
    grid: Grid,
    *,
    num_instances: int | Int[Array, ""],
    key: Key[Array, ""],
    config: Config,
    max_instances: int | None = None,
) -> Int[Array, " tokens"]:
    """Every stage after the backbone: from features to a label map over tokens.

    Args:
        features: of one image (`extract_features`).
        grid: rows and columns of the token grid; may be traced.
        num_instances: how many instances to find; may be traced (see `label_instances`).
        key: a typed PRNG key (`jax.random.key`), for the starts of k-means.
        config: the settings; static.
        max_instances: upper bound of `num_instances`, static; needed where `num_instances` is not a
            Python integer.

    Returns:
        0 for background, 1, 2, ... for instances.

    Raises:
        SpecjaxError: `max_instances` is missing, or `config.M` is more than there are channels.

    Example:
        >>> features = jax.random.normal(jax.random.key(0), (12, 8))
        >>> config = specjax.Config(M=6, N=4, bins=5)
        >>> key = jax.random.key(1)
        >>> specjax.segment(features, (3, 4), num_instances=1, key=key, config=config).shape
        (12,)
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
