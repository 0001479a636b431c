"""Objects of photographs without labels: what MaskCut finds with a teacher's features.

The label maps are kept as PNG files, which are read again when a training is resumed.
"""

import pathlib
import sys
from collections.abc import Sequence

import numpy as np
import tqdm
from PIL import Image

from experiments.datasets.mask_images import read_mask
from experiments.datasets.records import VOID, Record
from experiments.pretraining.bank import UNKNOWN, Labelled, fitted
from specjax import Checkpoint, Segmentation, Segmenter, SpecjaxError, overlay, refine
from specjax._png import write_png

# The short side of a photograph in tokens.
_SHORTER = 22
# A mask with more of the image's border than this is not an object, but perhaps part of one.
_BORDER = 0.2


def find_objects(
    records: Sequence[Record], teacher: Checkpoint, folder: pathlib.Path
) -> list[Labelled]:
    """Photographs, reduced to fit a bank, and the label maps of their objects.

    Those that cannot be read are skipped, with a line for each.
    """
    segmenter = Segmenter(
        teacher, method="maskcut", image_size=_SHORTER * teacher.config.patch_size
    )
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
    """The objects found in a photograph as a label map, uint8 [H, W], along the image's edges.

    0 is background, 1, 2, ... are objects. 255 is unknown: masks with much of the image's border.
    """
    border = np.ones(found.tiling.grid, bool)
    border[1:-1, 1:-1] = False
    objects = range(1, int(found.token_labels.max()) + 1)
    masks = np.stack([found.token_labels == 0, *(found.token_labels == label for label in objects)])
    labels = np.argmax(refine(masks, found.image, found.tiling), axis=0).astype(np.uint8)
    for label in objects:
        if np.mean(found.token_labels[border] == label) > _BORDER:
            labels[labels == label] = UNKNOWN
    return labels
