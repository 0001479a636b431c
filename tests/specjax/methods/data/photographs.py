"""The photographs that DSM is compared on, and their features: keys of DINOv2 ViT-S/14."""

import pathlib

import numpy as np
from PIL import Image

from specjax import cut_patches, extract_features, load_checkpoint

# Images are resized to this many rows and columns of tokens, so that one program fits all.
GRID = (39, 39)
_COCO = """
000000000790 000000058636 000000109313 000000157206 000000184321 000000227000 000000275791
000000322864 000000370162 000000432430 000000466137 000000516008
"""
_VOC = """
000032 000039 000061 000121 000129 000187 000250 000323 000363 000480 000515 000549
"""
NAMES = (
    *(f"coco_mini/images/{name}.jpg" for name in _COCO.split()),
    *(f"voc2007_dev/JPEGImages/{name}.jpg" for name in _VOC.split()),
)


def read(shared, names=NAMES):
    """Features and colors of each photograph: one token a row, the image shrunk to the grid."""
    shared = pathlib.Path(shared)
    checkpoint = load_checkpoint(str(shared / "checkpoints" / "dinov2-small"))
    rows, columns = GRID
    side = checkpoint.config.patch_size
    for name in names:
        with Image.open(shared / "data" / name) as opened:
            image = opened.convert("RGB").resize((columns * side, rows * side))
        cut = cut_patches(np.asarray(image), patch_size=side, padded=False)
        features = extract_features(checkpoint.model, cut.values, cut.tiling.grid)
        small = image.resize((columns, rows), Image.Resampling.BILINEAR)
        yield np.asarray(features), np.asarray(small)
