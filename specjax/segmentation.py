"""What was found in a photograph, on its pixels and on its token grid."""

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from PIL import Image

from specjax import coco, overlay
from specjax.tokens import Tiling, to_pixels


@dataclasses.dataclass(frozen=True, eq=False)
class Segmentation:
    """What was found in one photograph.

    Attributes:
        image: the photograph, upright.
        labels: instance of each pixel, 1 to K; 0 is background. The remainder right of and below
            the last whole patch has the labels of its neighbours.
        scores: of each instance; 1 for now.
        foreground: on the token grid.
        eigensegments: the four eigenvectors that are clustered, on the token grid, before their
            median filter.
        token_labels: `labels` on the token grid.
        tiling: how the photograph, or its resized version, was cut into tokens.
    """

    image: UInt8[np.ndarray, "height width 3"]
    labels: Int[np.ndarray, "height width"]
    scores: Float[np.ndarray, " instances"]
    foreground: Bool[np.ndarray, "rows columns"]
    eigensegments: Float[np.ndarray, "segments rows columns"]
    token_labels: Int[np.ndarray, "rows columns"]
    tiling: Tiling

    @property
    def masks(self) -> Bool[np.ndarray, "instances height width"]:
        """One mask per instance."""
        return self.labels[None] == np.arange(1, len(self.scores) + 1)[:, None, None]

    @property
    def boxes(self) -> Float[np.ndarray, "instances 4"]:
        """Left, top, width and height of each instance, in pixels; 0 where it has no pixel."""
        boxes = np.zeros((len(self.scores), 4))
        for box, mask in zip(boxes, self.masks, strict=True):
            rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
            if rows.size:
                box[:] = columns[0], rows[0], np.ptp(columns) + 1, np.ptp(rows) + 1
        return boxes

    def overlay(self) -> Image.Image:
        """The photograph with each instance tinted, outlined and numbered."""
        return overlay.overlay(self.image, self.labels)

    def stages(self) -> Image.Image:
        """The photograph, its foreground, its eigensegments and its instances side by side."""

        def full(tokens):
            return to_pixels(tokens, self.tiling, self.labels.shape, fill=True)

        maps = np.stack([full(values) for values in self.eigensegments])
        return overlay.stages(self.image, full(self.foreground), maps, self.labels, None)

    def to_coco(self, image_id: int) -> list[dict[str, Any]]:
        """The instances as COCO annotations of an image, masks as compressed run lengths.

        Annotations are numbered from 1: a file of several images numbers them anew.
        """
        height, width = self.labels.shape
        entry = coco.Entry(image_id, "", height, width, coco.instances_of(self.labels))
        return coco.dataset([entry])["annotations"]
