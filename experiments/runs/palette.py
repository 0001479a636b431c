"""The colours of label maps: PASCAL VOC's palette."""

import numpy as np


def voc_colours() -> np.ndarray:
    """uint8 [256, 3]: the bits of the index, spread over the three channels' high bits."""
    index = np.arange(256)
    colours = np.zeros((256, 3), np.uint8)
    for level in range(8):
        for channel in range(3):
            bit = (index >> (3 * level + channel)) & 1
            colours[:, channel] |= (bit << (7 - level)).astype(np.uint8)
    return colours


def voc_palette() -> bytes:
    """The palette as Pillow takes it."""
    return voc_colours().tobytes()
