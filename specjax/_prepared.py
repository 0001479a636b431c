"""From a photograph, as a file, Pillow image or array, to the patches that the backbone reads.

Images are uint8 `[height, width, 3]`, RGB, upright.
"""

import dataclasses
import os
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image

from specjax._windows import Window, cut_window, windows_of
from specjax.errors import SpecjaxError
from specjax.images import decode, resize_short_side
from specjax.models.checkpoints.loading import Checkpoint
from specjax.tokens import Tiling, cut_patches

# A path, a Pillow image, or upright pixels: uint8 [height, width, 3], RGB.
Photograph = str | os.PathLike | Image.Image | np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Prepared:
    """A photograph that was read.

    Attributes:
        name: names it in messages.
        image: its pixels, upright, at its own size.
        windows: the whole image, and windows of it at larger scales where asked for.
        values: padded patches of each window, all of one length.
    """

    name: str
    image: UInt8[np.ndarray, "height width 3"]
    windows: tuple[Window, ...]
    values: tuple[Float32[np.ndarray, "tokens patch_values"], ...]

    @property
    def tokens(self) -> int:
        """The number of tokens of a window, padding included."""
        return len(self.values[0])

    @property
    def tiling(self) -> Tiling:
        """How the image was cut at the largest scale."""
        return self.windows[-1].tiling


def prepare(
    photograph: Photograph, *, backbone: Checkpoint, scales: Sequence[int | None]
) -> Prepared:
    """Read a photograph, turn it upright by its EXIF orientation, resize it and cut it.

    Args:
        photograph: a path, a Pillow image or pixels.
        backbone: has the patch size, and mean and standard deviation of colours.
        scales: short sides in pixels to resize to, ascending; None for no resizing. The first
            image is cut as a whole, the others into windows of its size.

    Raises:
        SpecjaxError: it cannot be read, or is too small or too large.
    """
    name = "the image"
    if isinstance(photograph, str | os.PathLike):
        name = repr(os.fspath(photograph))
    image = _pixels(photograph)
    if image.size == 0:
        raise SpecjaxError(f"{name} has no pixels")
    cut = {}
    for scale in scales:
        try:
            patches = cut_patches(
                image if scale is None else resize_short_side(image, scale, name=name),
                patch_size=backbone.config.patch_size,
                mean=backbone.mean,
                std=backbone.std,
                padded=False,
                name=name,
            )
        except SpecjaxError as error:
            if len(scales) == 1:
                raise
            raise SpecjaxError(f"{error} (scale {scale})", parameter="scales") from None
        cut[patches.tiling] = patches.values
    windows = windows_of(list(cut))
    values = tuple(cut_window(cut[window.tiling], window) for window in windows)
    return Prepared(name, image, windows, values)


def _pixels(photograph: Photograph) -> np.ndarray:
    if not isinstance(photograph, np.ndarray):
        return decode(photograph, upright=True)
    if photograph.dtype != np.uint8 or photograph.ndim != 3 or photograph.shape[2] != 3:
        raise SpecjaxError(
            f"an array of {photograph.dtype} {list(photograph.shape)}: an image is uint8"
            " [height, width, 3]"
        )
    return photograph
