"""Training batches of drawn scenes: endless, and the same for the same seed and step.

Scenes are drawn in blocks. As drawing takes about as long as training, each block serves for
several passes, which shuffle and change its scenes anew.
"""

import concurrent.futures
import contextlib
import dataclasses
import functools
import multiprocessing
import os
from collections.abc import Iterator

import numpy as np

from experiments.datasets.records import passes_paper_rule
from experiments.datasets.scenes.drawing import TRAIN_STREAM, draw_scene
from experiments.pretraining.training import Batch, made_ahead
from specjax import cut_patches

# Height, width and number of images of successive batches: about 1,500 tokens in each.
SHAPES = (
    *((256, 256, 6), (192, 256, 8), (256, 192, 8), (256, 352, 4), (352, 256, 4)),
    *((384, 512, 2), (512, 384, 2)),
)
PATCH_SIZE = 16
_BLOCK, _PASSES = 40, 3


@dataclasses.dataclass(frozen=True)
class SceneBatches:
    """The stream; `workers` processes draw, `shapes` are those of successive batches."""

    seed: int
    shapes: tuple[tuple[int, int, int], ...] = SHAPES
    workers: int = 1

    def batches(self, start: int = 0) -> Iterator[Batch]:
        """Batches from step `start` on, as an uninterrupted stream would continue."""
        context = multiprocessing.get_context("spawn")
        # Lower priority for drawing than for training.
        pool = concurrent.futures.ProcessPoolExecutor(self.workers, context, os.nice, (5,))

        def draw(block: int) -> list[concurrent.futures.Future]:
            numbers = range(block * _BLOCK, (block + 1) * _BLOCK)
            shaped = [(number, self.shapes[number % len(self.shapes)]) for number in numbers]
            return [pool.submit(draw_batch, self.seed, number, shape) for number, shape in shaped]

        steps = _BLOCK * _PASSES
        first, offset = divmod(start, steps)
        with contextlib.closing(made_ahead(pool, draw, first, ahead=1)) as blocks:
            for block, scenes in enumerate(blocks, start=first):
                turns = [self._rng(block, 1, turn).permutation(_BLOCK) for turn in range(_PASSES)]
                order = np.concatenate(turns)
                for step in range(offset, steps):
                    pixels, maps = scenes[order[step]]
                    yield prepare(pixels, maps, self._rng(block, 2, step))
                offset = 0

    def _rng(self, *words: int) -> np.random.Generator:
        return np.random.default_rng((self.seed, *words))


def draw_batch(
    seed: int, number: int, shape: tuple[int, int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Batch `number`: images uint8 [images, H, W, 3] and instance maps [images, H, W]."""
    height, width, size = shape
    draw = functools.partial(draw_scene, height=height, width=width, accept=passes_paper_rule)
    drawn = [draw((TRAIN_STREAM, seed, number, index)) for index in range(size)]
    images, maps = zip(*drawn, strict=True)
    return np.stack(images), np.stack(maps)


def prepare(pixels: np.ndarray, maps: np.ndarray, rng: np.random.Generator) -> Batch:
    """Recolour and mirror images at random, and cut them; the batch's `shape` is their grid.

    Its arrays: normalised patches [images, tokens, values]; the object of each token, int32
    [images, tokens], 0 for background; and the `object_places` of this object [images, tokens, 3].
    """
    height, width = pixels.shape[1] // PATCH_SIZE, pixels.shape[2] // PATCH_SIZE
    patches, instances, places = [], [], []
    for image, labels in zip(pixels, maps, strict=True):
        if rng.random() < 0.5:
            image, labels = image[:, ::-1], labels[:, ::-1]
        recoloured = _recoloured(image, rng)
        patches.append(cut_patches(recoloured, patch_size=PATCH_SIZE, padded=False).values)
        # A token has the label of its first pixel, as in scoring.
        tokens = labels[::PATCH_SIZE, ::PATCH_SIZE][:height, :width].ravel()
        places.append(object_places(labels)[tokens])
        instances.append(tokens.astype(np.int32))
    return Batch(tuple(map(np.stack, (patches, instances, places))), (height, width))


def object_places(labels: np.ndarray) -> np.ndarray:
    """The centre (x, y) and the square root of the area of each object, relative to the image.

    float32 [instances + 1, 3]; row 0, that of the background, is zero.
    """
    height, width = labels.shape
    flat = labels.ravel()
    area = np.bincount(flat)
    rows, columns = np.divmod(np.arange(flat.size), width)
    x = np.bincount(flat, (columns + 0.5) / width) / np.maximum(area, 1)
    y = np.bincount(flat, (rows + 0.5) / height) / np.maximum(area, 1)
    places = np.stack([x, y, np.sqrt(area / flat.size)], axis=1).astype(np.float32)
    places[0] = 0
    return places


def _recoloured(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The image with channels permuted, contrast and brightness changed; sometimes a negative."""
    changed = image[:, :, rng.permutation(3)].astype(np.float32)
    changed = (changed - 128) * rng.uniform(0.7, 1.3) + 128 + rng.uniform(-25, 25)
    if rng.random() < 0.15:
        changed = 255 - changed
    return np.clip(changed, 0, 255).astype(np.uint8)
