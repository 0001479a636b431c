"""The EXIF orientation of an image: 1 is upright, 5 to 8 exchange height and width."""

from typing import NamedTuple

import numpy as np
from PIL import Image

from specjax._remarks import no_warnings

_TAG = 0x0112
_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class Header(NamedTuple):
    """What the header of an image file says; sizes are (height, width)."""

    stored: tuple[int, int]
    orientation: int

    @property
    def shown(self) -> tuple[int, int]:
        """The size after the turn that EXIF asks for."""
        return self.stored[::-1] if self.orientation >= 5 else self.stored


def header_of(image: Image.Image) -> Header:
    """The header of an image that Pillow has opened. Pillow turns TIFF files by itself."""
    with no_warnings():
        try:
            found = 1 if image.format == "TIFF" else image.getexif().get(_TAG, 1)
        except Exception:  # the pixels may be fine although the EXIF block is damaged
            found = 1
    return Header((image.height, image.width), found if found in _TRANSPOSE else 1)


def turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Pixels as stored, [H, W, 3], turned upright."""
    if orientation not in _TRANSPOSE:
        return pixels
    return np.array(Image.fromarray(pixels).transpose(_TRANSPOSE[orientation]))
