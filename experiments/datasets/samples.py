"""The built-in dataset: 48 drawn scenes, `scene_00` to `scene_47`, which need no files.

Every scene satisfies the paper's test rule. Scenes are drawn when first asked for.
"""

import functools
from collections.abc import Iterator

import numpy as np

from experiments.datasets.records import Dataset, Record, passes_paper_rule
from experiments.datasets.scenes.drawing import SAMPLES_STREAM, Scene, draw_scene

COUNT = 48

# A few sizes, as of photographs, so that few programs are compiled; not all fit whole patches.
_HEIGHTS = (480, 512, 427, 640, 375, 512, 500, 600)
_WIDTHS = (640, 512, 640, 480, 500, 640, 375, 450)
_PARTS = ("image", "instances")
_OBJECTS = (2, 3, 2, 4, 3, 2, 5, 3, 4)
_PARTS = ("image", "instances")


def open_samples() -> Dataset:
    """Opens the built-in dataset."""
    return Dataset("samples", annotated=True, identity={"name": "samples"}, records=records)


def records() -> Iterator[Record]:
    """The built-in scenes, in order; image and instance map come from the same drawing."""
    for index in range(COUNT):
        image, instances = (functools.partial(_read, index, part) for part in _PARTS)
        yield Record(f"scene_{index:02d}", f"built-in scene {index:02d}", image, instances)


def _read(index: int, part: str) -> np.ndarray:
    return getattr(_scene(index), part).copy()


# Enough for the records that are being read at a time; all 48 would take 90 MB.
@functools.lru_cache(maxsize=16)
def _scene(index: int) -> Scene:
    return draw_scene(
        (SAMPLES_STREAM, index),
        height=_HEIGHTS[index % len(_HEIGHTS)],
        width=_WIDTHS[index % len(_WIDTHS)],
        num_objects=_OBJECTS[index % len(_OBJECTS)],
        accept=passes_paper_rule,
    )
