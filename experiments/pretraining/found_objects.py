"""Objects of photographs without labels: what the teacher's automatic masks find.

The label maps are kept as PNG files, which are read again when a training is resumed.
"""

import functools
import io
import math
import pathlib
import sys
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import tqdm
from flax import nnx
from PIL import Image

from experiments.datasets.records import Record
from experiments.pretraining.bank import MOST_OBJECTS, UNKNOWN, Labelled, fitted
from specjax import (
    Checkpoint,
    Proposals,
    SpecjaxError,
    Tiling,
    choose,
    cut_patches,
    propose,
    refine,
)
from specjax._folder import write_bytes
from specjax.models.features import FEATURES

# Tokens of the shorter side of a photograph, and of all of it at most.
_SHORTER, _TOKENS = 22, 704
# The lowest score of an object, and of what is left out as unknown.
_OBJECT, _UNKNOWN = 0.1, 0.05
# A mask with more of the image's border than this is not an object, but perhaps part of one.
_BORDER = 0.4


def find_objects(
    records: Sequence[Record], teacher: Checkpoint, folder: pathlib.Path
) -> list[Labelled]:
    """Photographs, reduced to fit a bank, and the label maps of their objects.

    Those that cannot be read are skipped, with a line for each.
    """
    found = []
    run = _proposals_of(teacher)
    for record in tqdm.tqdm(records, unit=" images", disable=None, dynamic_ncols=True):
        try:
            image = fitted(Image.fromarray(record.read_image()))
        except SpecjaxError as error:
            tqdm.tqdm.write(f"skipped {record.id}: {error}", file=sys.stderr)
            continue
        path = folder / f"{record.id}.png"
        if not path.exists():
            proposals, tiling = run(image)
            labels = label_map(proposals, np.asarray(image), tiling)
            content = io.BytesIO()
            Image.fromarray(labels).save(content, format="png")
            path.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(path, content.getvalue())
        with Image.open(path) as stored:
            labels = np.asarray(stored)
        if labels.shape != (image.height, image.width) or labels.dtype != np.uint8:
            raise SpecjaxError(f"{path} is not the label map of {record.id}: delete it")
        found.append((np.asarray(image), labels))
    if not found:
        raise SpecjaxError("none of the images can be read")
    return found


def _proposals_of(teacher: Checkpoint):
    """A function from an image to the teacher's proposals, and how it was cut into tokens."""
    structure, parameters = nnx.split(teacher.model)

    @jax.jit
    def run(parameters, patches, grid):
        model = nnx.merge(structure, parameters)
        block = model(patches, (grid[0], grid[1]), attention_chunk=1024)
        features = jnp.stack([getattr(block, kind) for kind in FEATURES])
        return propose(features, grid, max_proposals=60, overlap=0.6)

    def of_image(image: Image.Image) -> tuple[Proposals, Tiling]:
        side = teacher.config.patch_size
        shorter = min(image.size)
        grid = [max(round(_SHORTER * n / shorter), 1) for n in (image.height, image.width)]
        if math.prod(grid) > _TOKENS:
            scale = (_TOKENS / math.prod(grid)) ** 0.5
            grid = [max(int(n * scale), 1) for n in grid]
        resized = image.resize((grid[1] * side, grid[0] * side), Image.Resampling.BICUBIC)
        cut = functools.partial(cut_patches, mean=teacher.mean, std=teacher.std, padded=False)
        patches = cut(np.asarray(resized), patch_size=side)
        values = np.pad(patches.values, ((0, _TOKENS - len(patches.values)), (0, 0)))
        return run(parameters, values, jnp.array(grid)), patches.tiling

    return of_image


def label_map(proposals: Proposals, image: np.ndarray, tiling: Tiling) -> np.ndarray:
    """Objects among proposals as a label map of the image's pixels, uint8 [H, W].

    0 is background, 1, 2, ... are objects, best first. 255 is unknown: in masks of a low score or
    with much of the image's border, and everywhere if there is no object.
    """
    most = {"max_instances": MOST_OBJECTS}
    sure, likely = (
        np.asarray(choose(proposals, least_score=least, **most))[: tiling.tokens]
        for least in (_OBJECT, _UNKNOWN)
    )
    labels = np.where(sure > 0, sure, np.where(likely > 0, UNKNOWN, 0)).reshape(tiling.grid)
    border = np.ones(tiling.grid, bool)
    border[1:-1, 1:-1] = False
    objects = [
        label
        for label in range(1, MOST_OBJECTS + 1)
        if (labels == label).any() and (labels[border] == label).mean() <= _BORDER
    ]
    if not objects:
        return np.full(image.shape[:2], UNKNOWN, np.uint8)
    unknown = (labels > 0) & ~np.isin(labels, objects)
    masks = np.stack([unknown, *[labels == label for label in objects]])
    shares = refine(masks, image, tiling)
    best = np.argmax(shares, axis=0)
    values = np.array([UNKNOWN, *range(1, len(objects) + 1)], np.uint8)
    return np.where(shares.max(axis=0) > 0.5, values[best], 0).astype(np.uint8)
