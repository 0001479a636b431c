"""The stages of one image, each as a call to be timed, and their least work."""

import functools
import io
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from experiments.benchmarking import baseline
from experiments.benchmarking.clock import Work
from experiments.datasets.scenes.drawing import SAMPLES_STREAM, draw_scene
from specjax import (
    Checkpoint,
    Config,
    ViTConfig,
    cut_patches,
    decode,
    dsm_object,
    extract_features,
    instance_eigenpairs,
    instance_graph,
    label_instances,
    maskcut,
    reduce_features,
    segment_foreground,
    smallest_eigenpairs,
    tokencut,
)
from specjax._sizes import capacity_for

# Stages after the backbone.
AFTER = ("foreground", "reduce", "eigenpairs", "labels")
# Objects drawn in each scene, and instances to find in it.
OBJECTS = 3
# The dense solver takes minutes on larger graphs.
_EIGH_NODES = 2000
_FLOAT = 4


class Size(NamedTuple):
    """The size of an image in pixels."""

    width: int
    height: int

    def __str__(self):
        return f"{self.width}x{self.height}"


class Stage(NamedTuple):
    """The call to be timed, its least work, and its reference implementation."""

    run: Callable[[], Any]
    work: Work
    baseline: Callable[[], Any] | None = None


class Case(NamedTuple):
    """All that is timed on one image.

    `solvers` find the eigenpairs of its instance graph; "scipy" those of the graph of all tokens.
    """

    tokens: int
    foreground_tokens: int
    stages: Mapping[str, Stage]
    solvers: Mapping[str, Callable[[], Any]]


def draw(size: Size, seed: int) -> np.ndarray:
    """The image of a scene, uint8 [H, W, 3]."""
    stream, (width, height) = (SAMPLES_STREAM, seed), size
    return draw_scene(stream, height=height, width=width, num_objects=OBJECTS).image


def case_of(
    size: Size, *, features_from: Checkpoint, backbone: Checkpoint, dtype: str = "float32"
) -> Case:
    """The stages of a drawn scene; those after the backbone use the features of `features_from`.

    This is a trained backbone whose foreground is about that of the scene, while the timed
    `backbone` may have random weights.
    """
    image, config, file = draw(size, 1), Config(), io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=92)
    cut = cut_patches(image, patch_size=features_from.config.patch_size)
    tokens, patches, grid = cut.tiling.tokens, jnp.asarray(cut.values), jnp.array(cut.tiling.grid)

    features = extract_features(features_from.model, patches, grid)
    mask = segment_foreground(features, grid, config=config).mask
    reduced = reduce_features(features, mask, grid, config=config)
    pairs = instance_eigenpairs(reduced, mask, grid, config=config)
    members, channels = int(mask.sum()), features.shape[1]

    plain, plain_mask, plain_reduced = (np.asarray(x[:tokens]) for x in (features, mask, reduced))
    plain_graph = functools.cache(lambda: baseline.affinity(plain_reduced))
    plain_maps = functools.cache(lambda: baseline.eigenvectors(plain_graph()))

    stages = {
        "decode": Stage(lambda: decode(file.getvalue()), Work(traffic=image.size)),
        "backbone": Stage(
            lambda: extract_features(backbone.model, patches, grid, dtype=dtype),
            Work(flops=backbone_flops(backbone.config, tokens)),
        ),
        "foreground": Stage(
            lambda: segment_foreground(features, grid, config=config),
            Work(2 * config.M * tokens**2, _FLOAT * (tokens * channels + 2 * tokens**2)),
            lambda: baseline.foreground(baseline.reduced(plain, config.M), cut.tiling.grid),
        ),
        "reduce": Stage(
            lambda: reduce_features(features, mask, grid, config=config),
            Work(traffic=_FLOAT * tokens * channels),
            lambda: baseline.instance_features(plain, plain_mask, config.M, config.N),
        ),
        # For each channel a subtraction, an addition, and three operations that combine them. The
        # graph is written once and read twice.
        "eigenpairs": Stage(
            lambda: instance_eigenpairs(reduced, mask, grid, config=config),
            Work(2 * 5 * config.N * members**2 / 2, 3 * _FLOAT * members**2),
            lambda: baseline.eigenvectors(baseline.affinity(plain_reduced)),
        ),
        "labels": Stage(
            lambda: label_instances(
                pairs, mask, grid, OBJECTS, jax.random.key(0), config=config, max_instances=8
            ),
            Work(traffic=2 * _FLOAT * 4 * tokens),
            lambda: baseline.clusters(plain_maps(), plain_mask, cut.tiling.grid, OBJECTS),
        ),
        # DSM and each round of MaskCut solve a graph like that of TokenCut.
        "tokencut": Stage(
            lambda: tokencut(features, grid, center=True),
            Work(2 * channels * tokens**2, 3 * _FLOAT * tokens**2),
        ),
        "maskcut": Stage(
            lambda: maskcut(features, grid, center=True),
            Work(2 * channels * tokens**2, 9 * _FLOAT * tokens**2),
        ),
        "dsm": Stage(
            lambda: dsm_object(features, grid),
            Work(2 * channels * tokens**2, 3 * _FLOAT * tokens**2),
        ),
    }
    capacity = capacity_for(members, len(patches))  # what the pipeline chooses in its program
    graph, nodes = instance_graph(reduced, mask, grid, metric=config.metric, capacity=capacity)
    solve = jax.jit(smallest_eigenpairs, static_argnames=("count", "solver"))
    solvers: dict[str, Callable[[], Any]] = {
        name: functools.partial(solve, graph, count=baseline.PAIRS, solver=name, valid=nodes)
        for name in (["eigh"] if len(graph) <= _EIGH_NODES else []) + ["krylov"]
    }
    solvers["scipy"] = lambda: baseline.eigenvectors(plain_graph())
    return Case(tokens, members, stages, solvers)


def backbone_flops(config: ViTConfig, tokens: int) -> float:
    """The multiplications and additions of a ViT up to the keys of its last block."""
    length, channels = tokens + 1 + config.num_registers, config.hidden_size
    matrices = 3 if config.gated_mlp else 2
    block = 2 * length * (4 * channels**2 + matrices * channels * config.mlp_size)
    block += 4 * length**2 * channels
    embedding = 2 * tokens * config.patch_values * channels
    return embedding + (config.num_layers - 1) * block + 2 * length * channels**2
