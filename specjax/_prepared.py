"""From a photograph, as a file, Pillow image or array, to the patches that the backbone reads.

Images are uint8 `[height, width, 3]`, RGB, upright.
"""

import dataclasses
import os

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from specjax.errors import SpecjaxError
from specjax.images import decode, resize_short_side
from specjax.models.checkpoints.loading import Checkpoint
from specjax.tokens import Patches, cut_patches

# A path, a Pillow image, or upright pixels: uint8 [height, width, 3], RGB.
Photograph = str | os.PathLike | Image.Image | np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Prepared:
    """A photograph that was read.

    Attributes:
        name: names it in messages.
        image: its pixels, upright, at its own size.
        patches: padded patches of the image, resized where asked for.
    """

    name: str
    image: UInt8[np.ndarray, "height width 3"]
    patches: Patches

    @property
    def tokens(self) -> int:
        """The number of tokens, padding included."""
        return len(self.patches.values)

    @property
    def nbytes(self) -> int:
        """The memory that it takes, in bytes."""
        return self.image.nbytes + self.patches.values.nbytes


def prepare(photograph: Photograph, *, backbone: Checkpoint, image_size: int | None) -> Prepared:
    """Read a photograph, turn it upright by its EXIF orientation, resize it and cut it.

    Args:
        photograph: a path, a Pillow image or pixels.
        backbone: has the patch size, and mean and standard deviation of colours.
        image_size: short side in pixels to resize to; None for no resizing.

    Raises:
        SpecjaxError: it cannot be read, or is too small or too large.
    """
    name = "the image"
    if isinstance(photograph, str | os.PathLike):
        name = repr(os.fspath(photograph))
    image = resized = _pixels(photograph)
    if image.size == 0:
        raise SpecjaxError(f"{name} has no pixels")
    if image_size is not None:
        resized = resize_short_side(image, image_size, name=name)
    patches = cut_patches(
        resized,
        patch_size=backbone.config.patch_size,
        mean=backbone.mean,
        std=backbone.std,
        name=name,
    )
    return Prepared(name, image, patches)


def _pixels(photograph: Photograph) -> np.ndarray:
    if not isinstance(photograph, np.ndarray):
        return decode(photograph, upright=True)
    if photograph.dtype != np.uint8 or photograph.ndim != 3 or photograph.shape[2] != 3:
        raise SpecjaxError(
            f"an array of {photograph.dtype} {list(photograph.shape)}: an image is uint8"
            " [height, width, 3]"
        )
    return photograph
