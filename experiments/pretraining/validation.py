"""The spectral score of a backbone in training: F-score and mIoU on scenes of their own."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from experiments.datasets.records import passes_paper_rule
from experiments.datasets.scenes.drawing import VALIDATION_STREAM, Scene, draw_scene
from experiments.loop import truth
from specjax import images, pipeline
from specjax._sizes import padded_tokens
from specjax.models.vit import ViT

_SIZES = ((384, 512), (512, 384), (448, 448), (480, 640))


def spectral_scores(
    model: ViT,
    colours: tuple[tuple[float, float, float], tuple[float, float, float]],
    *,
    M: int,
    N: int,
    scenes: int,
) -> dict[str, float]:
    """Mean F-score and mIoU (known number of instances), fractions, over so many scenes.

    `colours` are the mean and the deviation that the model's images are normalised with.
    """
    config = pipeline.Config(M=M, N=N)
    patch_size = model.config.patch_size
    f_scores, mious = [], []
    for scene in _drawn(scenes):
        image = images.crop_to_patches(scene.image, patch_size)
        shape = (image.shape[0] // patch_size, image.shape[1] // patch_size)
        patches = images.patchify(images.normalize(image, *colours), patch_size)
        tokens = padded_tokens(len(patches))
        patches = jnp.asarray(np.pad(patches, ((0, tokens - len(patches)), (0, 0))))
        grid = jnp.asarray(shape, jnp.int32)
        sampled = truth.on_grid(scene.instances, shape, tokens)
        instances, counted = jnp.asarray(sampled.instances), jnp.asarray(sampled.counted)

        features = pipeline.extract_features(model, patches, grid)
        foreground = pipeline.segment_foreground(features, grid, config=config).mask
        reduced = pipeline.reduce_for_instances(features, foreground, grid, config=config)
        found = pipeline.segment_instances(
            reduced,
            foreground,
            grid,
            sampled.count,
            jax.random.key(0),
            config=config,
            max_instances=8,
        )
        f_scores.append(float(pipeline.score_foreground(foreground, instances, counted)))
        scores = pipeline.score_instances(found.labels, instances, counted, max_instances=8)
        mious.append(float(scores.mean))
    return {"f_score": float(np.mean(f_scores)), "miou": float(np.mean(mious))}


@functools.lru_cache(maxsize=1)
def _drawn(count: int) -> tuple[Scene, ...]:
    return tuple(
        draw_scene(
            (VALIDATION_STREAM, index),
            height=_SIZES[index % len(_SIZES)][0],
            width=_SIZES[index % len(_SIZES)][1],
            accept=passes_paper_rule,
        )
        for index in range(count)
    )
