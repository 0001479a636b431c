"""The built-in dataset: 48 drawn scenes, `scene_00` to `scene_47`, that need no files.

Every scene satisfies the paper's test rule. Scenes are drawn when first asked for.
"""

import functools
from collections.abc import Iterator

import numpy as np

from experiments.datasets.records import Record, passes_paper_rule
from experiments.datasets.scenes.drawing import SAMPLES_STREAM, Scene, draw_scene

COUNT = 48

# (height, width), as photographs have them: few, so that few programs are compiled; not all are
# multiples of a patch.
_SIZES = (
    (480, 640), (512, 512), (427, 640), (640, 480), (375, 500), (512, 640), (500, 375), (600, 450),
)
_OBJECTS = (2, 3, 2, 4, 3, 2, 5, 3, 4)


def records() -> Iterator[Record]:
    """The built-in scenes, in order; image and instance map come from one drawing."""
    for index in range(COUNT):
        yield Record(
            id=f"scene_{index:02d}",
            source=f"built-in scene {index:02d}",
            read_image=functools.partial(_read_image, index),
            read_instances=functools.partial(_read_instances, index),
        )


def _read_image(index: int) -> np.ndarray:
    return _scene(index).image.copy()


def _read_instances(index: int) -> np.ndarray:
    return _scene(index).instances.copy()


# Room for the records that a reader has in flight; all 48 would take 90 MB.
@functools.lru_cache(maxsize=16)
def _scene(index: int) -> Scene:
    height, width = _SIZES[index % len(_SIZES)]
    return draw_scene(
        (SAMPLES_STREAM, index),
        height=height,
        width=width,
        num_objects=_OBJECTS[index % len(_OBJECTS)],
        accept=passes_paper_rule,
    )
