"""The stages of one image, each as a call to be timed, and the work in it."""

import dataclasses
import functools
import io
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from experiments.benchmarking import baseline
from experiments.benchmarking.machine import Work
from experiments.datasets.scenes.drawing import SAMPLES_STREAM, draw_scene
from experiments.loop.backbone import pad_tokens
from specjax import images, pipeline
from specjax._sizes import capacity_for
from specjax.config import Config
from specjax.models.checkpoints.loading import Checkpoint
from specjax.models.config import ViTConfig
from specjax.models.vit import ViT

# Stages after the backbone.
AFTER = ("channels", "foreground", "affinity", "eigen", "clustering")
_OBJECTS = 3
_FLOAT = 4


@dataclasses.dataclass(frozen=True)
class Stage:
    """One stage of one image.

    Attributes:
        ours: what is timed.
        theirs: the same as the published code does it; None where there is nothing to compare.
        work: the operations and bytes that it cannot do without.
    """

    ours: Callable[[], Any]
    theirs: Callable[[], Any] | None
    work: Work


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Tokens of the image, and how many of them are foreground."""

    tokens: int
    foreground: int


def stages_of(
    width: int,
    height: int,
    *,
    features_from: Checkpoint,
    backbone: Checkpoint,
    config: Config,
    dtype: str = "float32",
) -> tuple[dict[str, Stage], Sizes]:
    """The stages of a drawn scene of this size.

    `backbone` is what the backbone stage times; what follows it works on the features of
    `features_from`, whose foreground is about the scene's.
    """
    scene = draw_scene((SAMPLES_STREAM, 1), height=height, width=width, num_objects=_OBJECTS)
    file = io.BytesIO()
    Image.fromarray(scene.image).save(file, "JPEG", quality=92)
    patch_size = features_from.config.patch_size
    image = images.crop_to_patches(scene.image, patch_size)
    shape = (image.shape[0] // patch_size, image.shape[1] // patch_size)
    tokens, grid = shape[0] * shape[1], jnp.asarray(shape, jnp.int32)
    patches = jnp.asarray(pad_tokens(images.patchify(images.normalize(image), patch_size)))

    features = pipeline.extract_features(features_from.model, patches, grid)
    mask = pipeline.segment_foreground(features, grid, config=config).mask
    members = int(mask.sum())
    # What the pipeline chooses inside its program.
    capacity = capacity_for(members, features.shape[0])
    masked = pipeline.reduce_for_instances(features, mask, grid, config=config)

    normal = pipeline.reduce_for_foreground(features, grid, config=config)
    build = functools.partial(
        pipeline.build_instance_graph, masked, mask, grid, config=config, capacity=capacity
    )
    graph, nodes = build()
    pairs = pipeline.solve_instance_graph(graph, nodes, config=config)

    def reduce_both():
        first = pipeline.reduce_for_foreground(features, grid, config=config)
        return first, pipeline.reduce_for_instances(features, mask, grid, config=config)

    plain, plain_mask, plain_normal, plain_masked = (
        np.asarray(array[:tokens]) for array in (features, mask, normal, masked)
    )

    @functools.cache
    def plain_graph():
        return baseline.affinity(plain_masked)

    @functools.cache
    def plain_maps():
        return baseline.eigenvectors(plain_graph())

    channels = plain.shape[1]
    works = {
        "decode": Work(traffic=image.size),
        "backbone": Work(flops=backbone_flops(backbone.config, tokens)),
        "channels": Work(traffic=2 * _FLOAT * tokens * channels),
        "foreground": Work(
            flops=2 * config.M * tokens**2, traffic=2 * _FLOAT * tokens**2
        ),
        # Three sums over channels: a subtraction, an addition, and three ways to combine.
        "affinity": Work(
            flops=2 * 5 * config.N * members**2 / 2, traffic=_FLOAT * members**2
        ),
        "eigen": Work(traffic=2 * _FLOAT * members**2),
        "clustering": Work(traffic=2 * _FLOAT * 4 * tokens),
    }
    calls = {
        "decode": (lambda: images.decode(file.getvalue()), None),
        "backbone": (_backbone(backbone.model, patches, grid, dtype), None),
        "channels": (
            reduce_both,
            lambda: baseline.channels(plain, plain_mask, config.M, config.N),
        ),
        "foreground": (
            lambda: pipeline.split_foreground(normal, grid, config=config),
            lambda: baseline.foreground(plain_normal, shape),
        ),
        "affinity": (build, lambda: baseline.affinity(plain_masked)),
        "eigen": (
            lambda: pipeline.solve_instance_graph(graph, nodes, config=config),
            lambda: baseline.eigenvectors(plain_graph()),
        ),
        "clustering": (
            lambda: pipeline.label_instances(
                pairs, mask, grid, _OBJECTS, jax.random.key(0), config=config, max_instances=8
            ),
            lambda: baseline.clusters(plain_maps(), plain_mask, shape, _OBJECTS),
        ),
    }
    stages = {
        name: Stage(ours, theirs, works[name]) for name, (ours, theirs) in calls.items()
    }
    return stages, Sizes(tokens, members)


def backbone_flops(config: ViTConfig, tokens: int) -> float:
    """Multiplications and additions of a ViT up to the keys of its last block."""
    length, channels = tokens + 1, config.hidden_size
    block = 2 * length * (4 * channels**2 + 2 * channels * config.mlp_size)
    block += 4 * length**2 * channels
    embedding = 2 * tokens * config.patch_values * channels
    return embedding + (config.num_layers - 1) * block + 2 * length * channels**2


def _backbone(
    model: ViT, patches: jax.Array, grid: jax.Array, dtype: str
) -> Callable[[], jax.Array]:
    return lambda: pipeline.extract_features(model, patches, grid, dtype=dtype)
