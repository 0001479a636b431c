"""Images with objects, kept on the device: what training images are composed of.

Photographs come first. Their objects are what a teacher's automatic masks find (`found_objects`).
Drawn scenes follow, with their exact masks.
"""

import concurrent.futures
import functools
import multiprocessing
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Int, UInt8
from PIL import Image

from experiments.datasets.scenes.drawing import TRAIN_STREAM, draw_scene

# Side of the square that every image fits in, and of a drawn scene.
SIDE = 416
SCENE_SIZES = ((288, 384), (384, 288))
# Labels of an image: 0 background, then objects, at most MOST_OBJECTS, and UNKNOWN.
MOST_OBJECTS, UNKNOWN = 12, 255
# The fewest pixels of an object that is pasted into other images.
_LEAST_PIXELS = 600

Labelled = tuple[np.ndarray, np.ndarray]


class Bank(NamedTuple):
    """Images, `size` of each at the top left of a square, and a table of their objects.

    Attributes:
        images: colours from 0 to 255.
        labels: of pixels: 0 background, 1, 2, ... objects, 255 unknown.
        sizes: height and width of each image.
        objects: of each object its image, label, first row and column, rows and columns.
    """

    images: UInt8[Array | np.ndarray, "images side side 3"]
    labels: UInt8[Array | np.ndarray, "images side side"]
    sizes: Int[Array | np.ndarray, "images 2"]
    objects: Int[Array | np.ndarray, "objects 6"]


def fitted(image: Image.Image) -> Image.Image:
    """The image, reduced if it does not fit a bank's square."""
    scale = SIDE / max(image.size)
    if scale >= 1:
        return image
    width, height = (max(round(side * scale), 1) for side in image.size)
    return image.resize((width, height), Image.Resampling.LANCZOS)


def make_bank(items: Sequence[Labelled]) -> Bank:
    """The bank of images, uint8 [H, W, 3], and label maps, [H, W]."""
    images = np.zeros((len(items), SIDE, SIDE, 3), np.uint8)
    labels = np.full((len(items), SIDE, SIDE), UNKNOWN, np.uint8)
    sizes = np.empty((len(items), 2), np.int32)
    objects = []
    for number, (image, found) in enumerate(items):
        height, width = sizes[number] = image.shape[:2]
        images[number, :height, :width] = image
        labels[number, :height, :width] = found
        objects += [(number, *row) for row in _boxes(found)]
    return Bank(images, labels, sizes, np.array(objects, np.int32).reshape(-1, 6))


def _boxes(labels: np.ndarray) -> list[tuple[int, ...]]:
    """Label, first row and column, rows and columns of objects that are worth pasting.

    Those that touch the image's border are left out: part of them may be missing.
    """
    rows = []
    for label in np.unique(labels[(labels > 0) & (labels != UNKNOWN)]):
        mask = labels == label
        down, across = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        inside = down[0] > 0 and across[0] > 0 and across[-1] < mask.shape[1] - 1
        if inside and np.count_nonzero(mask) >= _LEAST_PIXELS:
            sides = down[-1] + 1 - down[0], across[-1] + 1 - across[0]
            rows.append((int(label), int(down[0]), int(across[0]), *map(int, sides)))
    return rows


def drawn_scenes(seed: int, count: int, *, workers: int) -> list[Labelled]:
    """Drawn scenes with their masks; the same for the same seed."""
    draw = functools.partial(_drawn, seed)
    if workers == 1:
        return list(map(draw, range(count)))
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(workers, context) as pool:
        return list(pool.map(draw, range(count), chunksize=16))


def _drawn(seed: int, number: int) -> Labelled:
    height, width = SCENE_SIZES[number % len(SCENE_SIZES)]
    scene = draw_scene((TRAIN_STREAM, seed, number, 0), height=height, width=width)
    return scene.image, scene.instances.astype(np.uint8)
