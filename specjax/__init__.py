"""Unsupervised instance segmentation with deep spectral methods, in JAX.

Pure functions on the arrays of one image; batch with `jax.vmap`, compile with `jax.jit`. Arrays
over tokens are flat, row-major over the token grid, and may be padded (`specjax.tokens`).
"""

from specjax._batching import image_mesh, over_images, replicated, shared_out, slots_of
from specjax._sizes import capacity_for, instance_capacities, padded_instances, padded_tokens
from specjax.affinity import (
    METRICS,
    affinity_matrix,
    pairwise_similarities,
    pairwise_similarity,
    prepare_features,
)
from specjax.channels import (
    EntropyRule,
    channel_deviation,
    channel_entropy,
    channel_histogram,
    deviation_channel_reduction,
    noise_channel_reduction,
    normalize_tokens,
)
from specjax.clustering import KMeans, kmeans
from specjax.config import Config, check_config
from specjax.errors import SpecjaxError
from specjax.evaluation import (
    InstanceScores,
    SimilarityVariances,
    f_score,
    instance_scores,
    iou_matrix,
    similarity_variance_ratio,
)
from specjax.foreground import (
    Bipartition,
    as_grid,
    bipartition,
    foreground_graph,
    invert_if_background,
    postprocess,
)
from specjax.images import crop_to_patches, decode, normalize, patchify, resize_short_side
from specjax.instances import (
    Eigensegments,
    cluster_eigensegments,
    eigensegments,
    foreground_features,
    instance_graph,
)
from specjax.models.checkpoints.loading import Checkpoint, load_checkpoint, random_checkpoint
from specjax.models.vit import VIT_S16, BlockOutputs, ViT, ViTConfig
from specjax.morphology import (
    connected_components,
    drop_small_regions,
    fill_holes,
    median_filter,
    median_filter_mask,
)
from specjax.pipeline import (
    ForegroundResult,
    InstanceResult,
    extract_features,
    reduce_for_foreground,
    reduce_for_instances,
    segment_foreground,
    segment_instances,
    segment_instances_by_metric,
)
from specjax.protocol import PAPER, PROTOCOLS, REFERENCE, Protocol
from specjax.spectral import (
    Eigenpairs,
    collapsed_graph,
    collapsed_graphs,
    degrees,
    laplacian,
    normalized_adjacency,
    orient,
    smallest_eigenpairs,
)
from specjax.tokens import Grid, valid_tokens

__all__ = [  # noqa: RUF022 (grouped by theme, in the order of the method)
    # Images to patches
    "decode",
    "resize_short_side",
    "crop_to_patches",
    "normalize",
    "patchify",
    "Grid",
    "valid_tokens",
    # Backbone
    "ViT",
    "ViTConfig",
    "VIT_S16",
    "BlockOutputs",
    "Checkpoint",
    "load_checkpoint",
    "random_checkpoint",
    # Channels
    "EntropyRule",
    "channel_histogram",
    "channel_entropy",
    "channel_deviation",
    "noise_channel_reduction",
    "deviation_channel_reduction",
    "normalize_tokens",
    # Graphs
    "METRICS",
    "affinity_matrix",
    "prepare_features",
    "pairwise_similarity",
    "pairwise_similarities",
    "degrees",
    "laplacian",
    "normalized_adjacency",
    "Eigenpairs",
    "smallest_eigenpairs",
    "collapsed_graph",
    "collapsed_graphs",
    "orient",
    # Foreground
    "foreground_graph",
    "Bipartition",
    "bipartition",
    "invert_if_background",
    "postprocess",
    "as_grid",
    "median_filter",
    "median_filter_mask",
    "connected_components",
    "fill_holes",
    "drop_small_regions",
    # Instances
    "foreground_features",
    "instance_graph",
    "Eigensegments",
    "eigensegments",
    "cluster_eigensegments",
    "KMeans",
    "kmeans",
    # Composed stages
    "Protocol",
    "PAPER",
    "REFERENCE",
    "PROTOCOLS",
    "Config",
    "check_config",
    "padded_tokens",
    "instance_capacities",
    "capacity_for",
    "padded_instances",
    "extract_features",
    "reduce_for_foreground",
    "reduce_for_instances",
    "ForegroundResult",
    "segment_foreground",
    "InstanceResult",
    "segment_instances",
    "segment_instances_by_metric",
    # Many images
    "image_mesh",
    "over_images",
    "shared_out",
    "replicated",
    "slots_of",
    # Scores
    "f_score",
    "iou_matrix",
    "InstanceScores",
    "instance_scores",
    "SimilarityVariances",
    "similarity_variance_ratio",
    "SpecjaxError",
]
