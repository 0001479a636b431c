"""Objects of photographs without labels: what the teacher's automatic masks find.

The label maps are kept as PNG files, which are read again when a training is resumed.
"""

import pathlib
import sys
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
import tqdm
from PIL import Image

from experiments.datasets.mask_images import read_mask
from experiments.datasets.records import VOID, Record
from experiments.pretraining.bank import MOST_OBJECTS, UNKNOWN, Labelled, fitted
from specjax import (
    Checkpoint,
    Proposals,
    Segmentation,
    Segmenter,
    SpecjaxError,
    choose,
    overlay,
    to_pixels,
)
from specjax._png import write_png

# The short side of a photograph in tokens.
_SHORTER = 22
# The lowest score of a proposal that is unknown, where it is no object.
_LEAST_SCORE = 0.05
# A mask with more of the image's border than this is not an object, but perhaps part of one.
_BORDER = 0.4


def find_objects(
    records: Sequence[Record], teacher: Checkpoint, folder: pathlib.Path
) -> list[Labelled]:
    """Photographs, reduced to fit a bank, and the label maps of their objects.

    Those that cannot be read are skipped, with a line for each.
    """
    # N is not used, but must not be above the teacher's M.
    segmenter = Segmenter(teacher, image_size=_SHORTER * teacher.config.patch_size, N=1)
    found = []
    for record in tqdm.tqdm(records, unit=" images", disable=None, dynamic_ncols=True):
        try:
            image = np.asarray(fitted(Image.fromarray(record.read_image())))
            path = folder / f"{record.id}.png"
            if not path.exists():
                segmented = segmenter(image)
                assert isinstance(segmented, Segmentation)  # a list for several
                path.parent.mkdir(parents=True, exist_ok=True)
                write_png(path, overlay.indexed_png(label_map(segmented)))
        except SpecjaxError as error:
            tqdm.tqdm.write(f"skipped {record.id}: {error}", file=sys.stderr)
            continue
        labels = read_mask(path)
        if labels.shape != image.shape[:2]:
            raise SpecjaxError(f"{path} has another size than its image: delete it")
        found.append((image, np.where(labels == VOID, UNKNOWN, labels).astype(np.uint8)))
    if not found:
        raise SpecjaxError("none of the images can be read")
    return found


def label_map(found: Segmentation) -> np.ndarray:
    """The objects found in a photograph as a label map, uint8 [H, W].

    0 is background, 1, 2, ... are objects, best first. 255 is unknown: in proposals of a low score,
    in masks with much of the image's border, and everywhere if there is no object.
    """
    border = np.ones(found.tiling.grid, bool)
    border[1:-1, 1:-1] = False
    objects = [
        label
        for label in range(1, min(len(found.scores), MOST_OBJECTS) + 1)
        if (found.token_labels[border] == label).mean() <= _BORDER
    ]
    if not objects:
        return np.full(found.labels.shape, UNKNOWN, np.uint8)
    assert found.proposals is not None and found.proposal_scores is not None  # no number was given
    masks = found.proposals.reshape(len(found.proposals), -1)
    proposals = Proposals(jnp.asarray(masks), jnp.asarray(found.proposal_scores))
    likely = choose(proposals, least_score=_LEAST_SCORE, max_instances=MOST_OBJECTS) > 0
    likely = np.asarray(likely).reshape(found.tiling.grid)
    unknown = to_pixels(likely, found.tiling, found.labels.shape, fill=True)
    labels = np.where(np.asarray(unknown) | (found.labels > 0), UNKNOWN, 0)
    known = np.isin(found.labels, objects)
    labels[known] = found.labels[known]
    return labels.astype(np.uint8)
