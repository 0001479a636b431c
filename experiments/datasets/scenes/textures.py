"""Canvases, colours, noise and patterns of the drawn scenes.

Canvases are float32 `[3, height, width]` in [0, 1]. A pattern maps coordinates in pixels to a
mixing weight of two colours in [0, 1]. The coordinates are arrays that broadcast; they belong to
the object, so that the pattern turns with it. Most are float32, some float64; scalars are rounded
to float32 before they are combined with either.
"""

import functools
from collections.abc import Callable

import numpy as np
from numpy import float32
from numpy.random import PCG64, Generator
from PIL import Image, ImageFilter

_TILE = 256  # side of a noise tile in texels; a power of two, so that a bit mask wraps
_SIGMAS = (0.7, 1.5, 3.0, 6.0, 12.0)
_ATLAS_SEED = 20240202
# Lookups truncate towards zero, so coordinates are first shifted to be positive.
_ORIGIN = 64 * _TILE

Pattern = Callable[[np.ndarray, np.ndarray], np.ndarray]


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
    """Blur with a Gaussian of the given radius in pixels."""
    image = Image.fromarray(to_pixels(canvas))
    return to_canvas(image.filter(ImageFilter.GaussianBlur(float(radius))))


@functools.lru_cache(maxsize=1)
def _atlas() -> np.ndarray:
    """Periodic noise tiles [layers + 1, tile * tile], zero mean, unit deviation; last is 1/f."""
    rng = Generator(PCG64(_ATLAS_SEED))
    square = np.fft.rfftfreq(_TILE)[None, :] ** 2 + np.fft.fftfreq(_TILE)[:, None] ** 2
    filters = [np.exp(-2 * np.pi**2 * sigma**2 * square) for sigma in _SIGMAS]
    filters.append(1 / np.maximum(square, (2 / _TILE) ** 2) ** 0.75)
    tiles = []
    for kernel in filters:
        white = rng.standard_normal((_TILE, _TILE))
        tile = np.fft.irfft2(np.fft.rfft2(white) * kernel, s=(_TILE, _TILE))
        tiles.append((tile - tile.mean()) / tile.std())
    return np.stack(tiles).astype(float32).reshape(len(tiles), -1)


def _look_up(layer: int, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    column, row = ((place + _ORIGIN).astype(np.int32) & (_TILE - 1) for place in (x, y))
    return _atlas()[layer].take((row << 8) | column)


def noise(x: np.ndarray, y: np.ndarray, wavelength: float) -> np.ndarray:
    """Smooth noise of unit deviation, with blotches about `wavelength` pixels apart."""
    sigma = wavelength / 6
    layer = min(range(len(_SIGMAS)), key=lambda i: abs(np.log(_SIGMAS[i] / sigma)))
    zoom = float32(min(max(_SIGMAS[layer] / sigma, 0.35), 2.0))
    return _look_up(layer, x * zoom, y * zoom)


def fractal(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Noise of all scales (amplitude falls with frequency), unit deviation."""
    return _look_up(len(_SIGMAS), x, y)


def _soft_step(value: np.ndarray, softness: float) -> np.ndarray:
    return np.clip(value / float32(softness) + 0.5, 0, 1)


def _stripes(rng: Generator, size: float) -> Pattern:
    period = max(rng.uniform(0.18, 0.5) * size, 6.0)
    waver, share = rng.uniform(0, 1.2) * (rng.random() < 0.5), rng.uniform(-0.5, 0.5)
    softness = rng.choice([0.3, 0.6, 2.0])

    def pattern(x, y):
        phase = x * float32(2 * np.pi / period)
        if waver:
            phase += waver * noise(x, y, 2 * period)
        return _soft_step(np.sin(phase) + float32(share), softness)

    return pattern


def _checks(rng: Generator, size: float) -> Pattern:
    """A chess board, or a tartan of two crossing sets of stripes."""
    step = float32(2 * np.pi / max(rng.uniform(0.25, 0.6) * size, 8.0))
    if rng.random() < 0.5:
        return lambda x, y: (
            (_soft_step(np.sin(x * step), 0.4) + _soft_step(np.sin(y * step), 0.4)) * 0.5
        )
    return lambda x, y: _soft_step(np.sin(x * step) * np.sin(y * step), 0.25)


def _dots(rng: Generator, size: float) -> Pattern:
    period, radius = max(rng.uniform(0.2, 0.45) * size, 7.0), rng.uniform(0.22, 0.38)

    def pattern(x, y):
        row = y * float32(1 / period)
        base = np.floor(row)
        column = x * float32(1 / period) + 0.5 * (base % 2)
        row, column = row - base - 0.5, column - np.floor(column) - 0.5
        return _soft_step(float32(radius) - np.sqrt(row * row + column * column), 1.5 / period)

    return pattern


def _blotches(rng: Generator, size: float) -> Pattern:
    """Sharp-edged spots, as on a cow or a leopard."""
    wavelength, level = max(rng.uniform(0.3, 1.2) * size, 7.0), rng.uniform(-0.5, 0.7)
    return lambda x, y: _soft_step(noise(x, y, wavelength) - level, 0.35)


def _cloudy(rng: Generator, size: float) -> Pattern:
    return lambda x, y: np.clip(fractal(x, y) * 0.3 + 0.5, 0, 1)


def _fur(rng: Generator, size: float) -> Pattern:
    """Short hair: fine noise stretched along one direction, over a coarse variation."""
    stretch = float32(rng.uniform(0.2, 0.5))
    return lambda x, y: np.clip(
        noise(x, y * stretch, 5.0) * 0.22 + noise(x, y, 40.0) * 0.2 + 0.45, 0, 1
    )


def _speckle(rng: Generator, size: float) -> Pattern:
    wavelength, level, amount = rng.uniform(4, 8), rng.uniform(0.9, 1.6), rng.uniform(0.3, 0.9)
    return lambda x, y: _soft_step(noise(x, y, wavelength) - level, 0.5) * amount


def _plain(rng: Generator, size: float) -> Pattern:
    """One colour that fades slowly into the other."""
    reach = rng.uniform(0.05, 0.35)
    return lambda x, y: np.clip(noise(x, y, 72.0) * reach * 0.5 + reach, 0, 1)


def _marble(rng: Generator, size: float) -> Pattern:
    step = float32(2 * np.pi / max(rng.uniform(0.5, 1.1) * size, 14.0))
    bend, sharp = rng.uniform(1.0, 2.2), float32(rng.uniform(0.25, 0.6))
    return lambda x, y: np.clip(1 - np.abs(np.sin(x * step + bend * fractal(x, y))) / sharp, 0, 1)


def _wood(rng: Generator, size: float) -> Pattern:
    """Grain: rings of a trunk cut lengthwise."""
    period = max(rng.uniform(0.12, 0.25) * size, 5.0)

    def pattern(x, y):
        slow = y * float32(0.12)
        phase = x * float32(1 / period) + fractal(x * 0.5, slow)
        ring = phase - np.floor(phase)
        return np.clip(ring * ring + noise(x, slow, 4.0) * 0.12 + 0.1, 0, 1)

    return pattern


def _zigzag(rng: Generator, size: float) -> Pattern:
    period = max(rng.uniform(0.25, 0.5) * size, 8.0)
    step, share, height = (float32(n) for n in (2 * np.pi / period, 1 / period, period))
    return lambda x, y: _soft_step(np.sin((y + np.abs((x * share) % 1 - 0.5) * height) * step), 0.5)


_CLEAN = (_stripes, _checks, _dots, _blotches, _cloudy)
_PATTERNS = (*_CLEAN, _fur, _fur, _speckle, _plain, _plain, _marble, _wood, _zigzag)


def random_pattern(rng: Generator, size: float) -> Pattern:
    """A pattern, turned and shifted, for an object (or floor tile) of about `size` pixels."""
    maker, angle = _PATTERNS[rng.integers(len(_PATTERNS))], rng.uniform(0, 2 * np.pi)
    shift_x, shift_y = rng.uniform(0, _TILE, 2).astype(float32)
    c, s = float32(np.cos(angle)), float32(np.sin(angle))
    pattern = maker(rng, size)
    return lambda x, y: pattern(x * c + y * s + shift_x, y * c - x * s + shift_y)


# Families of six colours that go together, as "rrggbb".
_FAMILIES = (
    "5b4636 8a6b4a b89a6e d9c6a0 3a2f28 a6784c",  # earth
    "4f5d2f 74803f 9aa35a 2f3d25 b9b77d 6a5a3a",  # meadow
    "7d8a96 a9b4bd d5dade 4b545c 2b3137 93887c",  # stone
    "b5533c d98e5f e8c39e 7a2f2a f0e0cc 9c6b57",  # brick
    "2f4a6d 5a7ea6 a5c0d6 1c2a3f d9d3c3 8d9aa8",  # denim
    "c9a227 e3c567 8b6b1f f1e3b4 5e4a1d b36a2e",  # straw
    "6e3b5c a8648c d4a5bf 402238 ead7df 8f7a86",  # heather
    "2f6b62 5c9a8b a4cbbd 17403b dfe7dc 7f8f80",  # sea glass
    "c23b3b e0a030 2f7fb5 3f8f4f f2ead8 33343a",  # toys
    "e8b4b0 f3d9c6 bcd3c9 a9b9d8 f4eee0 cdb6d6",  # pastel
    "1f1f22 3a3a3f 6b6b70 a3a3a6 d8d6d2 8a7f78",  # grey
    "e07a4f f2c14e 5f9e6e 4d6fa8 f7f0e4 73445c",  # picture book
)


def colours_of(text: str) -> np.ndarray:
    """The colours [n, 3] in [0, 1] of n words "rrggbb"."""
    return np.array(list(bytes.fromhex(text)), float32).reshape(-1, 3) / 255


def palette(rng: Generator) -> np.ndarray:
    """Six colours [6, 3] in [0, 1] that go together, in random order."""
    colours = colours_of(_FAMILIES[rng.integers(len(_FAMILIES))])
    tint = rng.normal(0, 0.035, (1, 3)) + rng.normal(0, 0.025, (6, 3))
    exposure = rng.uniform(0.85, 1.12)
    return np.clip(rng.permutation(colours) * exposure + tint, 0.03, 0.97).astype(float32)
