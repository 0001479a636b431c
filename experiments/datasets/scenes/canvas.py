"""Canvases, on which the scenes are painted: float32 `[3, height, width]` in [0, 1]."""

import numpy as np
from PIL import Image, ImageFilter


def rows_and_columns(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of the rows `[height, 1]` and of the columns `[1, width]`, float32."""
    y, x = (np.arange(side, dtype=np.float32) for side in (height, width))
    return y[:, None], x[None, :]


def mix(low: np.ndarray, high: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Colours `[3]` blended by a weight `[...]`: an array `[3, ...]`."""
    shape = (3,) + (1,) * weight.ndim
    return low.reshape(shape) + (high - low).reshape(shape) * weight


def to_bytes(values: np.ndarray) -> np.ndarray:
    """Values in [0, 1] (others are clipped) as uint8."""
    return (np.clip(values, 0, 1) * np.float32(255) + np.float32(0.5)).astype(np.uint8)


def to_pixels(canvas: np.ndarray) -> np.ndarray:
    """A canvas as an image, uint8 `[height, width, 3]`."""
    return np.ascontiguousarray(np.moveaxis(to_bytes(canvas), 0, -1))


def to_canvas(image: Image.Image) -> np.ndarray:
    """An RGB image of Pillow as a canvas."""
    return np.moveaxis(np.asarray(image), -1, 0).astype(np.float32) / 255


def blur(canvas: np.ndarray, radius: float) -> np.ndarray:
    """Defocus by a Gaussian of that radius in pixels."""
    image = Image.fromarray(to_pixels(canvas))
    return to_canvas(image.filter(ImageFilter.GaussianBlur(float(radius))))
