"""Drawn scenes with exact instance masks: an endless supply of pictures for tests and training.

A scene holds 2 to 5 shaded, textured objects that stand before each other and cast shadows on a
background that has nothing in common with them. It is a function of its seed and its size alone.
Instance maps are exact at pixel centres; the image's outlines are smoothed over a pixel.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from numpy.random import PCG64, Generator, SeedSequence

from experiments.datasets.scenes.backgrounds import paint_background, random_backdrop
from experiments.datasets.scenes.layout import lay_out
from experiments.datasets.scenes.paint import paint_scene

# First words of the seeds, so that no picture of one stream is in another.
SAMPLES_STREAM = 0x53414D50
TRAIN_STREAM = 0x5452414E
VALIDATION_STREAM = 0x56414C49

MIN_SIDE = 64
MAX_SIDE = 4096
MAX_ASPECT = 3


@dataclasses.dataclass(frozen=True, eq=False)
class Scene:
    """A picture and the truth about it.

    Attributes:
      image: uint8 `[H, W, 3]`.
      instances: int32 `[H, W]`, 0 for the background (shadows included), objects 1 and above
        from back to front.
    """

    image: np.ndarray
    instances: np.ndarray


def draw_scene(
    seed: int | Sequence[int],
    *,
    height: int,
    width: int,
    num_objects: int | None = None,
    accept: Callable[[np.ndarray], bool] | None = None,
) -> Scene:
    """Draws the scene of a seed.

    Args:
      seed: a non-negative integer, or several.
      height: rows, 64 to 4096.
      width: columns, 64 to 4096; neither side more than three times the other.
      num_objects: number of objects, 1 to 8; None draws 2 to 5.
      accept: a rule for instance maps; layouts are drawn until one satisfies it.

    Raises:
      ValueError: a size or number out of range, or no layout satisfied `accept`.
    """
    name = f"a scene of {width}x{height} pixels"
    if not MIN_SIDE <= min(height, width) <= max(height, width) <= MAX_SIDE:
        raise ValueError(f"{name}: sides must be {MIN_SIDE} to {MAX_SIDE}")
    if max(height, width) > MAX_ASPECT * min(height, width):
        raise ValueError(f"{name}: the longer side may be {MAX_ASPECT} times the shorter")
    if num_objects is not None and not 1 <= num_objects <= 8:
        raise ValueError(f"a scene of {num_objects} objects: give 1 to 8")
    # Two generators, so that a layout that is tried again does not change the paint.
    layout, paint = (Generator(PCG64(child)) for child in SeedSequence(seed).spawn(2))
    backdrop = random_backdrop(layout, height)
    count = num_objects or int(layout.choice([2, 3, 4, 5], p=[0.3, 0.35, 0.2, 0.15]))
    placed, instances = lay_out(layout, backdrop, (height, width), count, accept)
    canvas = paint_background(paint, backdrop, height, width)
    return Scene(paint_scene(paint, canvas, placed, instances, backdrop), instances)
