"""The spectral score of a backbone in training: F-score and mIoU on scenes of their own."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from experiments.datasets import truth
from experiments.datasets.records import passes_paper_rule
from experiments.datasets.scenes.drawing import VALIDATION_STREAM, Scene, draw_scene
from experiments.pretraining.streams import Colours
from specjax import Config, ViT, cut_patches, extract_features, f_score, instance_scores, segment

_HEIGHTS, _WIDTHS = (384, 512, 448, 480), (512, 384, 448, 640)
# More instances than a scene has.
_MOST = 8


def spectral_scores(
    model: ViT, colours: Colours, *, M: int, N: int, scenes: int
) -> dict[str, float]:
    """Mean F-score and mIoU (known number of instances), fractions, over so many scenes.

    `colours` are the mean and the deviation that the model's images are normalised with.
    """
    config, (mean, std) = Config(M=M, N=N), colours
    patch_size = model.config.patch_size
    scores = []
    for scene in _drawn(scenes):
        patches = cut_patches(scene.image, patch_size=patch_size, mean=mean, std=std)
        wanted = truth.on_grid(scene.instances, patches.tiling.grid, len(patches.values))
        grid = jnp.array(patches.tiling.grid)
        labels = _labels(model, patches.values, grid, wanted.count, config=config)
        instances, counted = jnp.asarray(wanted.instances), jnp.asarray(wanted.counted)
        # Every token of the foreground belongs to an instance.
        foreground = f_score(labels > 0, instances > 0, counted=counted)
        found = instance_scores(labels, instances, counted=counted, max_instances=_MOST)
        scores.append((float(foreground), float(found.mean)))
    means = np.mean(scores, axis=0)
    return {"f_score": float(means[0]), "miou": float(means[1])}


@functools.partial(jax.jit, static_argnames=("config",))
def _labels(model, patches, grid, count, *, config):
    features, key = extract_features(model, patches, grid), jax.random.key(0)
    return segment(features, grid, num_instances=count, key=key, config=config, max_instances=_MOST)


@functools.lru_cache(maxsize=1)
def _drawn(count: int) -> tuple[Scene, ...]:
    return tuple(
        draw_scene(
            (VALIDATION_STREAM, index),
            height=_HEIGHTS[index % len(_HEIGHTS)],
            width=_WIDTHS[index % len(_WIDTHS)],
            accept=passes_paper_rule,
        )
        for index in range(count)
    )
