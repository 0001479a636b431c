"""Light and shadow of the drawn scenes. Shadows are soft, so coarse layers suffice for them."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.ndimage
from numpy.random import Generator
from PIL import Image, ImageFilter

from experiments.datasets.scenes.layout import Placed, Size
from experiments.datasets.scenes.textures import rows_and_columns, to_bytes

_COARSE = 4  # side of a pixel of a coarse layer, in pixels of the image


class Light(NamedTuple):
    """A lamp, and the light of the sky."""

    direction: np.ndarray  # to the lamp (right, down, to the viewer), float32 `[3]` of length 1
    ambient: float  # strength of the light from all sides
    strength: float  # of the lamp
    tint: np.ndarray  # colour of the lamp, float32 `[3]`
    depth: float  # how dark a shadow is, from 0 to 1


def random_light(rng: Generator) -> Light:
    """A lamp above and in front of the scene, more to the left or to the right."""
    side = rng.uniform(-0.95, 0.95)
    direction = np.array([side, -rng.uniform(0.35, 1.0), rng.uniform(0.5, 1.1)], np.float32)
    ambient, warm = rng.uniform(0.35, 0.65), rng.uniform(-0.07, 0.07)
    direction = direction / np.sqrt((direction**2).sum())
    strength, depth = rng.uniform(0.75, 1.0) * (1.25 - ambient), rng.uniform(0.45, 0.75)
    tint = np.array([1 + warm, 1.0, 1 - warm], np.float32)
    return Light(direction, ambient, strength, tint, depth)


def shadows(
    rng: Generator, light: Light, placed: list[Placed], size: Size, horizon: float | None
) -> np.ndarray:
    """Shadows on the background of an image: `[height, width]` from 0 to 1."""
    masks = [_coarse(thing.mask, thing.rows.start, thing.columns.start, size) for thing in placed]
    if horizon is None:  # things lie on a surface: displaced away from the light
        reach = rng.uniform(0.015, 0.05) * max(size) / _COARSE
        layer = np.any([_displaced(mask, light, reach) for mask in masks], axis=0)
        return _upsampled(layer, max(0.5 * reach, 0.8), size)
    layer = _cast(rng, light, placed, masks)
    # Shadows on the wall or the sky are weak.
    layer[: int(horizon / _COARSE)] *= 0.25
    return _upsampled(layer, rng.uniform(0.6, 1.4), size)


def darken_around(canvas: np.ndarray, thing: Placed, light: Light) -> None:
    """Paint a soft dark rim on the things behind an object, displaced away from the light."""
    margin = 3 * _COARSE
    top, left = max(thing.rows.start - margin, 0), max(thing.columns.start - margin, 0)
    behind = canvas[:, top : thing.rows.stop + margin, left : thing.columns.stop + margin]
    size = behind.shape[1:]
    mask = _coarse(thing.mask, thing.rows.start - top, thing.columns.start - left, size)
    behind *= 1 - 0.6 * light.depth * _upsampled(_displaced(mask, light, 1.2), 1.1, size)


def _coarse(mask: np.ndarray, top: int, left: int, size: Sequence[int]) -> np.ndarray:
    """A mask that begins at (top, left) of an image, on a coarse layer that covers the image."""
    layer = np.zeros(size, bool)
    layer[top : top + mask.shape[0], left : left + mask.shape[1]] = mask
    return layer[::_COARSE, ::_COARSE]


def _upsampled(coarse: np.ndarray, radius: float, size: Sequence[int]) -> np.ndarray:
    """A coarse layer in [0, 1], blurred by a radius in its own pixels and brought to full size."""
    height, width = size
    image = Image.fromarray(to_bytes(coarse)).filter(ImageFilter.GaussianBlur(float(radius)))
    # The coarse layer may reach a little beyond the image; the box is that of the image.
    box = (0, 0, width / _COARSE, height / _COARSE)
    image = image.resize((width, height), Image.Resampling.BILINEAR, box=box)
    return np.asarray(image).astype(np.float32) * np.float32(1 / 255)


def _displaced(mask: np.ndarray, light: Light, reach: float) -> np.ndarray:
    """A coarse mask moved away from the light, by `reach` times the light's direction."""
    across, down = np.rint(-light.direction[:2] * reach)
    return scipy.ndimage.shift(mask, (down, across), order=0)


def _cast(
    rng: Generator, light: Light, placed: list[Placed], masks: list[np.ndarray]
) -> np.ndarray:
    """Shadows of upright things on the ground: sheared, flattened, darkest at the base."""
    height, width = masks[0].shape
    layer = np.zeros((height, width), np.float32)
    y, x = rows_and_columns(height, width)
    flat, shear = rng.uniform(0.15, 0.35), -light.direction[0] * rng.uniform(0.5, 1.1)
    strength = np.float32(rng.uniform(0.35, 0.9))
    for thing, mask in zip(placed, masks, strict=True):
        left, _, right, bottom = (edge / _COARSE for edge in thing.pose.extent(thing.shape))
        base = bottom - 0.5
        lift = (base - y) * (1 / flat)
        rows = np.rint(base - lift).astype(np.int32)
        columns = np.rint(x - shear * lift).astype(np.int32)
        valid = (rows >= 0) & (rows < height) & (lift >= 0) & (columns >= 0) & (columns < width)
        covered = mask[np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1)]
        layer = np.maximum(layer, strength * (covered & valid))
        half = (right - left) * 0.42
        dx = (x - (left + right) / 2) / half
        dy = (y - base + 0.05 * half) / (0.22 * half + 0.6)
        layer = np.maximum(layer, np.clip(1.5 - dx * dx - dy * dy, 0, 1))
    return layer
