"""The stages of one image, each as a call to be timed, and the work in it."""

import dataclasses
import functools
import io
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from experiments.benchmarking import baseline
from experiments.benchmarking.flags import Size
from experiments.benchmarking.machine import Work
from experiments.datasets.scenes.drawing import SAMPLES_STREAM, draw_scene
from specjax import (
    Checkpoint,
    Config,
    ViTConfig,
    cut_patches,
    decode,
    extract_features,
    instance_eigenpairs,
    instance_graph,
    label_instances,
    reduce_features,
    segment_foreground,
    smallest_eigenpairs,
)
from specjax._sizes import capacity_for

# Stages after the backbone.
AFTER = ("foreground", "reduce", "eigenpairs", "labels")
# Of each scene; as many are found.
OBJECTS = 3
# The dense solver takes minutes on larger graphs.
_EIGH_NODES = 2000
_FLOAT = 4


@dataclasses.dataclass(frozen=True)
class Stage:
    """One stage of one image.

    Attributes:
        run: what is timed.
        baseline: the reference implementation's call; None where there is nothing to compare.
        work: the operations and bytes that it cannot do without.
    """

    run: Callable[[], Any]
    baseline: Callable[[], Any] | None
    work: Work


@dataclasses.dataclass(frozen=True)
class Case:
    """What is timed of one image.

    Attributes:
        tokens: of the image.
        foreground_tokens: how many of them are foreground.
        stages: by name.
        solvers: give the eigenpairs of its instance graph, by the solver's name.
        scipy_solver: the reference implementation's, on the graph of all tokens.
    """

    tokens: int
    foreground_tokens: int
    stages: Mapping[str, Stage]
    solvers: Mapping[str, Callable[[], Any]]
    scipy_solver: Callable[[], Any]


def draw(size: Size, seed: int) -> np.ndarray:
    """The image of a scene, uint8 [H, W, 3]."""
    stream, (width, height) = (SAMPLES_STREAM, seed), size
    return draw_scene(stream, height=height, width=width, num_objects=OBJECTS).image


def case_of(
    size: Size, *, features_from: Checkpoint, backbone: Checkpoint, dtype: str = "float32"
) -> Case:
    """The stages of a drawn scene.

    `backbone` is what the backbone stage times; what follows it works on the features of
    `features_from`, whose foreground is about the scene's.
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

    plain, plain_mask, plain_reduced = (
        np.asarray(array[:tokens]) for array in (features, mask, reduced)
    )
    plain_graph = functools.cache(lambda: baseline.affinity(plain_reduced))
    plain_maps = functools.cache(lambda: baseline.eigenvectors(plain_graph()))

    stages = {
        "decode": Stage(lambda: decode(file.getvalue()), None, Work(traffic=image.size)),
        "backbone": Stage(
            lambda: extract_features(backbone.model, patches, grid, dtype=dtype),
            None,
            Work(flops=backbone_flops(backbone.config, tokens)),
        ),
        "foreground": Stage(
            lambda: segment_foreground(features, grid, config=config),
            lambda: baseline.foreground(baseline.reduced(plain, config.M), cut.tiling.grid),
            Work(2 * config.M * tokens**2, _FLOAT * (tokens * channels + 2 * tokens**2)),
        ),
        "reduce": Stage(
            lambda: reduce_features(features, mask, grid, config=config),
            lambda: baseline.instance_features(plain, plain_mask, config.M, config.N),
            Work(traffic=_FLOAT * tokens * channels),
        ),
        # Three sums over channels: a subtraction, an addition, and three ways to combine. The graph
        # is written once and read twice.
        "eigenpairs": Stage(
            lambda: instance_eigenpairs(reduced, mask, grid, config=config),
            lambda: baseline.eigenvectors(baseline.affinity(plain_reduced)),
            Work(2 * 5 * config.N * members**2 / 2, 3 * _FLOAT * members**2),
        ),
        "labels": Stage(
            lambda: label_instances(
                pairs, mask, grid, OBJECTS, jax.random.key(0), config=config, max_instances=8
            ),
            lambda: baseline.clusters(plain_maps(), plain_mask, cut.tiling.grid, OBJECTS),
            Work(traffic=2 * _FLOAT * 4 * tokens),
        ),
    }
    capacity = capacity_for(members, len(patches))  # what the pipeline chooses in its program
    graph, nodes = instance_graph(reduced, mask, grid, metric=config.metric, capacity=capacity)
    solve = jax.jit(smallest_eigenpairs, static_argnames=("count", "solver"))
    solvers = {
        name: functools.partial(solve, graph, count=baseline.PAIRS, solver=name, valid=nodes)
        for name in (["eigh"] if len(graph) <= _EIGH_NODES else []) + ["krylov"]
    }
    return Case(tokens, members, stages, solvers, lambda: baseline.eigenvectors(plain_graph()))


def backbone_flops(config: ViTConfig, tokens: int) -> float:
    """Multiplications and additions of a ViT up to the keys of its last block."""
    length, channels = tokens + 1, config.hidden_size
    block = 2 * length * (4 * channels**2 + 2 * channels * config.mlp_size)
    block += 4 * length**2 * channels
    embedding = 2 * tokens * config.patch_values * channels
    return embedding + (config.num_layers - 1) * block + 2 * length * channels**2
