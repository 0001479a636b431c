"""Unsupervised instance segmentation with deep spectral methods, in JAX.

Pure functions on the arrays of one image; batch with `jax.vmap`, compile with `jax.jit`. Arrays
over tokens are flat, row-major over the token grid, and may be padded (`specjax.tokens`).

An argument is *traced* where it may be an array inside a compiled program, and *static* where it is
a Python value: each new value of a static argument compiles a new program. The examples in the
docstrings assume these imports:

    import jax
    import jax.numpy as jnp
    import numpy as np
    import specjax
"""

from specjax.affinity import METRICS, affinity_matrix
from specjax.channels import (
    EntropyRule,
    channel_deviation,
    channel_entropy,
    deviation_channel_reduction,
    noise_channel_reduction,
    normalize_tokens,
)
from specjax.clustering import kmeans
from specjax.config import PAPER, PROTOCOLS, REFERENCE, Config, Protocol, channel_count
from specjax.errors import SpecjaxError
from specjax.evaluation import f_score, instance_scores, similarity_variance_ratio
from specjax.foreground import bipartition, postprocess
from specjax.images import decode, resize_short_side
from specjax.instance_stages import instance_eigenpairs, label_instances
from specjax.instances import instance_graph
from specjax.methods.dsm import dsm_object
from specjax.methods.dsm_segments import dsm_segments
from specjax.methods.maskcut import maskcut
from specjax.methods.tokencut import tokencut
from specjax.models.checkpoints.export import save_checkpoint
from specjax.models.checkpoints.loading import Checkpoint, load_checkpoint, random_checkpoint
from specjax.models.config import VIT_S16, ViTConfig
from specjax.models.vit import ViT
from specjax.pipeline import (
    Foreground,
    extract_features,
    reduce_features,
    segment,
    segment_foreground,
)
from specjax.proposals import Proposals, choose, propose
from specjax.refinement import refine
from specjax.segmentation import Segmentation
from specjax.segmenter import Segmenter
from specjax.spectral import smallest_eigenpairs
from specjax.tokens import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Patches,
    Tiling,
    as_grid,
    cut_patches,
    pad_tokens,
    to_pixels,
    valid_tokens,
)

__version__ = "0.1.0"

__all__ = [  # noqa: RUF022 (grouped by theme, in the order of the method)
    # The front door
    "Segmenter",
    "Segmentation",
    # Images to patches, and maps over tokens back to pixels
    "decode",
    "resize_short_side",
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "cut_patches",
    "Patches",
    "Tiling",
    "pad_tokens",
    "valid_tokens",
    "as_grid",
    "to_pixels",
    # Backbone
    "ViT",
    "ViTConfig",
    "VIT_S16",
    "Checkpoint",
    "load_checkpoint",
    "random_checkpoint",
    "save_checkpoint",
    # The stages, and their composition
    "Config",
    "Protocol",
    "PAPER",
    "REFERENCE",
    "PROTOCOLS",
    "channel_count",
    "extract_features",
    "segment_foreground",
    "Foreground",
    "reduce_features",
    "instance_eigenpairs",
    "label_instances",
    "segment",
    # What stages are made of: channels
    "EntropyRule",
    "channel_entropy",
    "channel_deviation",
    "noise_channel_reduction",
    "deviation_channel_reduction",
    "normalize_tokens",
    # ... graphs
    "METRICS",
    "affinity_matrix",
    "instance_graph",
    "smallest_eigenpairs",
    # ... masks and labels
    "bipartition",
    "postprocess",
    "kmeans",
    # Other methods, on the same features
    "tokencut",
    "maskcut",
    "dsm_object",
    "dsm_segments",
    # Masks without being told how many
    "propose",
    "Proposals",
    "choose",
    "refine",
    # Scores
    "f_score",
    "instance_scores",
    "similarity_variance_ratio",
    # A mistake in the input
    "SpecjaxError",
]
