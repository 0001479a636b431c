"""Draw the row of photographs that the README shows: what is found, and what goes wrong.

    python -m examples.photograph_row --checkpoint=facebook/dinov2-small --output=row.jpg

The photographs are the two that scikit-learn comes with.
"""

import io
import pathlib
from collections.abc import Sequence

import numpy as np
from absl import flags
from PIL import Image
from sklearn.datasets import load_sample_image

from specjax import Segmentation, Segmenter, SpecjaxError
from specjax._flags import METHOD, Flag, declare
from specjax._folder import write_bytes
from specjax._program import execute, refuse_arguments

# A photograph, and how many instances to find: one, two, one object split, two merged.
PANELS = (("china.jpg", 1), ("flower.jpg", 2), ("china.jpg", 3), ("flower.jpg", 1))
_WIDTH = 320  # of a panel, in pixels
FLAGS = {
    "checkpoint": METHOD["checkpoint"]._replace(default="specjax-mini"),
    "output": Flag("string", "row.jpg", "File to write."),
}


def draw(segmenter: Segmenter) -> Image.Image:
    """The panels side by side."""
    overlays = []
    for name, num_instances in PANELS:
        found = segmenter(load_sample_image(name), num_instances=num_instances)
        assert isinstance(found, Segmentation)
        overlay = found.overlay()
        size = _WIDTH, round(overlay.height * _WIDTH / overlay.width)
        overlays.append(np.asarray(overlay.resize(size, Image.Resampling.LANCZOS)))
    return Image.fromarray(np.concatenate(overlays, axis=1))


def main(arguments: Sequence[str]) -> int:
    """Read the flags, draw, write."""
    refuse_arguments(arguments, "give the backbone with --checkpoint")
    output = pathlib.Path(flags.FLAGS.output)
    if output.suffix.lower() not in (".jpg", ".png"):
        raise SpecjaxError(f"--output={output}: give a name that ends in .jpg or .png")
    content = io.BytesIO()
    row = draw(Segmenter(flags.FLAGS.checkpoint))
    row.save(content, "png" if output.suffix.lower() == ".png" else "jpeg", quality=90)
    print(write_bytes(output, content.getvalue()))
    return 0


if __name__ == "__main__":
    declare(FLAGS)
    execute(main)
