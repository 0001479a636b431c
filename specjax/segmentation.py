"""The instances found in a photograph, as pixels and on its token grid."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from PIL import Image

from specjax import coco, overlay
from specjax.refinement import refine_each
from specjax.tokens import Tiling, to_pixels


@dataclasses.dataclass(frozen=True, eq=False)
class Segmentation:
    """The instances found in one photograph: the result of a `Segmenter`.

    Attributes:
        image: the photograph, upright.
        labels: label map at the size of the photograph: 0 is background, 1 to K are instances.
            Pixels right of and below the last whole patch take the label of the nearest token.
        scores: confidence of each instance, from 0 to 1; K is their number. Always 1 where their
            number was given, or another method found them.
        foreground: foreground mask on the token grid.
        eigensegments: the eigenvectors that are clustered, on the token grid, before their median
            filter: four, as many as another method cuts or clusters, or none with proposals.
        token_labels: label map on the token grid.
        tiling: how the photograph, resized where asked for, was cut into tokens; at the largest of
            several scales.
        proposals: masks on the token grid that may be instances, best first; they may overlap. None
            where the number of instances was given, or another method found them.
        proposal_scores: their scores, from 0 to 1.
        proposal_shares: how much of each token belongs to each of them, from 0 to 1; None takes
            whole tokens.

    Example:
        >>> found = specjax.Segmentation(
        ...     image=np.zeros((4, 4, 3), np.uint8),
        ...     labels=np.array([[0, 0, 1, 1]] * 4),
        ...     scores=np.ones(1),
        ...     foreground=np.array([[False, True]] * 2),
        ...     eigensegments=np.zeros((4, 2, 2), np.float32),
        ...     token_labels=np.array([[0, 1]] * 2),
        ...     tiling=specjax.Tiling.of_image((4, 4), 2),
        ... )
        >>> found.masks.shape, found.boxes.tolist()
        ((1, 4, 4), [[2.0, 0.0, 2.0, 4.0]])
        >>> found.overlay().size
        (4, 4)
        >>> list(found.proposed_masks())  # none, as there are no proposals
        []
        >>> found.stages().mode
        'RGB'
        >>> found.to_coco(image_id=7)[0]["bbox"]
        [2.0, 0.0, 2.0, 4.0]
    """

    image: UInt8[np.ndarray, "height width 3"]
    labels: Int[np.ndarray, "height width"]
    scores: Float[np.ndarray, " instances"]
    foreground: Bool[np.ndarray, "rows columns"]
    eigensegments: Float[np.ndarray, "segments rows columns"]
    token_labels: Int[np.ndarray, "rows columns"]
    tiling: Tiling
    proposals: Bool[np.ndarray, "proposals rows columns"] | None = None
    proposal_scores: Float[np.ndarray, " proposals"] | None = None
    proposal_shares: Float[np.ndarray, "proposals rows columns"] | None = None

    def proposed_masks(self) -> Iterator[tuple[Bool[np.ndarray, "height width"], float]]:
        """The proposals as masks at the size of the photograph, made one after the other.

        Yields:
            A mask and its score, best first. A proposal so thin that no pixel is left is left out.
        """
        shares = self.proposals if self.proposal_shares is None else self.proposal_shares
        if shares is None or self.proposal_scores is None:
            return
        refined = refine_each(shares, self.image, self.tiling)
        for share, score in zip(refined, self.proposal_scores, strict=True):
            mask = share > 0.5
            if mask.any():
                yield mask, float(score)

    @property
    def masks(self) -> Bool[np.ndarray, "instances height width"]:
        """A mask for each instance, at the size of the photograph."""
        return self.labels[None] == np.arange(1, len(self.scores) + 1)[:, None, None]

    @property
    def boxes(self) -> Float[np.ndarray, "instances 4"]:
        """Left, top, width and height of each instance in pixels; 0 where it has no pixel."""
        boxes = np.zeros((len(self.scores), 4))
        for box, mask in zip(boxes, self.masks, strict=True):
            rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
            if rows.size:
                box[:] = columns[0], rows[0], np.ptp(columns) + 1, np.ptp(rows) + 1
        return boxes

    def overlay(self) -> Image.Image:
        """Draw the instances on the photograph.

        Returns:
            The photograph with each instance tinted, outlined and numbered.
        """
        return overlay.overlay(self.image, self.labels)

    def stages(self) -> Image.Image:
        """Draw the result of each stage of the method.

        Returns:
            The photograph, its foreground, its eigensegments and its instances, side by side.
        """

        def full(tokens):
            return to_pixels(tokens, self.tiling, self.labels.shape, fill=True)

        maps = [full(values) for values in self.eigensegments]
        foreground, stacked = full(self.foreground), np.stack(maps) if maps else None
        return overlay.stages(self.image, foreground, stacked, self.labels, None)

    def to_coco(self, image_id: int) -> list[dict[str, Any]]:
        """Write the instances as COCO annotations, masks as compressed run lengths.

        Args:
            image_id: number of the image in the COCO file.

        Returns:
            An annotation per instance, as `json` can write it. Ids start at 1 for each photograph:
            renumber them for a file of several images.
        """
        height, width = self.labels.shape
        entry = coco.Entry(image_id, "", height, width, coco.instances_of(self.labels))
        return coco.dataset([entry])["annotations"]
