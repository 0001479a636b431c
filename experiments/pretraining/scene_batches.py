"""Training batches of drawn scenes: endless, and the same for the same seed and step.

Scenes are drawn in blocks; every pass over a block shuffles and changes its scenes anew, so that
a scene, which costs as much as a training step's share, serves several times.
"""

import concurrent.futures
import contextlib
import dataclasses
import multiprocessing
import os
from collections.abc import Iterator

import numpy as np

from experiments.datasets.records import passes_paper_rule
from experiments.datasets.scenes.drawing import TRAIN_STREAM, draw_scene
from experiments.pretraining.streams import Batch, made_ahead
from specjax import cut_patches

# Height, width and number of images of a batch, in turn: about 1,500 tokens in each.
SHAPES = (
    *((256, 256, 6), (192, 256, 8), (256, 192, 8), (256, 352, 4), (352, 256, 4)),
    *((384, 512, 2), (512, 384, 2)),
)
PATCH_SIZE = 16
_BLOCK = 40
_PASSES = 3


@dataclasses.dataclass(frozen=True)
class SceneBatches:
    """The stream.

    Attributes:
        seed: of scenes, their order and their changes.
        shapes: height, width and number of images of a batch, in turn.
        workers: processes that draw.
    """

    seed: int
    shapes: tuple[tuple[int, int, int], ...] = SHAPES
    workers: int = 1

    def batches(self, start: int = 0) -> Iterator[Batch]:
        """Batches from step `start` on; see `Stream`."""
        context = multiprocessing.get_context("spawn")
        pool = concurrent.futures.ProcessPoolExecutor(
            self.workers, mp_context=context, initializer=_yield_to_training
        )

        def draw(block: int) -> list[concurrent.futures.Future]:
            return [
                pool.submit(draw_batch, self.seed, number, self.shapes[number % len(self.shapes)])
                for number in range(block * _BLOCK, (block + 1) * _BLOCK)
            ]

        steps = _BLOCK * _PASSES
        first, offset = divmod(start, steps)
        with contextlib.closing(made_ahead(pool, draw, first, ahead=1)) as blocks:
            for block, scenes in enumerate(blocks, start=first):
                order = np.concatenate(
                    [self._rng(block, 1, turn).permutation(_BLOCK) for turn in range(_PASSES)]
                )
                for step in range(offset, steps):
                    yield prepare(*scenes[order[step]], self._rng(block, 2, step))
                offset = 0

    def _rng(self, *words: int) -> np.random.Generator:
        return np.random.default_rng((self.seed, *words))


def _yield_to_training() -> None:
    os.nice(5)


def draw_batch(
    seed: int, number: int, shape: tuple[int, int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Batch `number`: images uint8 [images, H, W, 3] and instance maps [images, H, W]."""
    height, width, size = shape
    drawn = [
        draw_scene(
            (TRAIN_STREAM, seed, number, index),
            height=height,
            width=width,
            accept=passes_paper_rule,
        )
        for index in range(size)
    ]
    return np.stack([one.image for one in drawn]), np.stack([one.instances for one in drawn])


def prepare(pixels: np.ndarray, maps: np.ndarray, rng: np.random.Generator) -> Batch:
    """Change colours and side at random, and cut into tokens.

    The arrays are:
        patches, float32 [images, tokens, values], normalised;
        instances, int32 [images, tokens], the object that a token belongs to, 0 on background;
        places, float32 [images, tokens, 3], centre (x, y) and root of the area of that object, as
            fractions of the image, 0 on background;
    and the shape is their grid, rows and columns.
    """
    height, width = pixels.shape[1] // PATCH_SIZE, pixels.shape[2] // PATCH_SIZE
    patches, instances, places = [], [], []
    for image, labels in zip(pixels, maps, strict=True):
        if rng.random() < 0.5:
            image, labels = image[:, ::-1], labels[:, ::-1]
        recoloured = _recoloured(image, rng)
        patches.append(cut_patches(recoloured, patch_size=PATCH_SIZE, padded=False).values)
        # The pixel that stands for a token in scoring: its first.
        tokens = labels[::PATCH_SIZE, ::PATCH_SIZE][:height, :width].ravel()
        places.append(object_places(labels)[tokens])
        instances.append(tokens.astype(np.int32))
    arrays = (np.stack(patches), np.stack(instances), np.stack(places))
    return Batch(arrays, (height, width))


def object_places(labels: np.ndarray) -> np.ndarray:
    """float32 [instances + 1, 3]: centre (x, y) and root of the area; row 0 is background."""
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
    """Channels permuted, contrast and brightness changed; now and then a negative."""
    changed = image[:, :, rng.permutation(3)].astype(np.float32)
    changed = (changed - 128) * rng.uniform(0.7, 1.3) + 128 + rng.uniform(-25, 25)
    if rng.random() < 0.15:
        changed = 255 - changed
    return np.clip(changed, 0, 255).astype(np.uint8)
