"""Values of more than 8 bits, as cameras and scientific instruments write them, as 8 bits.

Pillow keeps the upper bytes alone of colours of 16 bits, so that values of 12 bits are nearly
black; their lower bytes are read here. Of floating-point values it reads grey ones alone, whose
range is not known either.
"""

import io
import os
import sys

import numpy as np
from PIL import ImageFile, TiffImagePlugin

from specjax._remarks import no_warnings

# Formats of the samples of a TIFF: integers without and with a sign, and undefined.
_INTEGERS = {1, 2, 4}
# Cameras store values of these numbers of bits as 16 bits.
_BITS = (8, 10, 12, 14, 16)
_FOREIGN = "B" if sys.byteorder == "little" else "L"
# For each mode in which Pillow reads upper bytes, one that reads the lower ones, and their places.
_LOWER = {
    f"{mode};16{order}": (f"{mode};16{other}", [*range(len(mode))])
    for mode in ("RGB", "RGBA")
    for order, other in (("B", "L"), ("L", "B"), ("N", _FOREIGN))
}
_LOWER["LA;16B"] = ("RGBA", [1, 1, 1, 3])  # all four bytes, as if they were four channels

FLOATS = "holds floating-point values of unknown range: convert it to 8 or 16 bits"


def scaled(values: np.ndarray) -> tuple[np.ndarray, int]:
    """Values of up to 16 bits from 0 to 255, and the number of bits that they were scaled from."""
    bits = next(bits for bits in _BITS if values.max() < 2**bits)
    most = 2**bits - 1
    return ((255 * values.astype(np.int64) + most // 2) // most).astype(np.uint8), bits


def load_lower_bytes(image: ImageFile.ImageFile) -> np.ndarray | None:
    """Load the lower bytes of 16-bit colours, [H, W, C]; None for another kind of image."""
    tiles, channels = [], [0]
    for tile in image.tile:
        mode, *rest = tile.args if isinstance(tile.args, tuple) else (tile.args,)
        if mode not in _LOWER:
            return None
        lower, channels = _LOWER[mode]
        tiles.append(tile._replace(args=(lower, *rest) if isinstance(tile.args, tuple) else lower))
    image.tile = tiles
    return np.asarray(image)[:, :, channels] if tiles else None


def unrecognized(source: str | os.PathLike | bytes) -> str:
    """What is wrong with a file that Pillow does not recognize, such as a TIFF of other values."""
    try:
        with io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb") as stream:
            head = stream.read(8)
            head += stream.read(8) if head[2:3] == b"+" else b""  # BigTIFF
            with no_warnings():  # of a damaged file
                tags = TiffImagePlugin.ImageFileDirectory_v2(head)
                stream.seek(tags.next)
                tags.load(stream)
            bits = max(tags.get(TiffImagePlugin.BITSPERSAMPLE, (1,)))
            channels = tags.get(TiffImagePlugin.SAMPLESPERPIXEL, 1)
            kinds = tags.get(TiffImagePlugin.SAMPLEFORMAT, (1,))
    except Exception:  # no TIFF, or a damaged one, of which Pillow raises errors of all kinds
        return "is not an image in a format that Pillow reads"
    if not _INTEGERS.issuperset(kinds):
        return FLOATS
    return (
        f"is a TIFF of {channels} x {bits} bits a pixel, which Pillow does not read: convert it to"
        " grey or RGB with 8 or 16 bits"
    )
