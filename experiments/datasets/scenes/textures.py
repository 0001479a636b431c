"""Colours, noise and patterns of the drawn scenes.

A pattern maps coordinates in pixels (float32 arrays of one shape, attached to the object, so that
the pattern turns with it) to a mixing weight in [0, 1] between two colours of its material.
"""

import dataclasses
import functools
from collections.abc import Callable

import numpy as np

_TILE = 256  # side of a noise tile in texels; a power of two, so that wrapping is a bit mask
_SIGMAS = (0.7, 1.5, 3.0, 6.0, 12.0)
_ATLAS_SEED = 20240202
# Lookups truncate towards zero, so coordinates are moved far into the positive numbers first.
_ORIGIN = 64 * _TILE

Pattern = Callable[[np.ndarray, np.ndarray], np.ndarray]


@functools.lru_cache(maxsize=1)
def _atlas() -> np.ndarray:
    """Periodic noise tiles [layers + 1, tile * tile], zero mean, unit deviation; last is 1/f."""
    rng = np.random.Generator(np.random.PCG64(_ATLAS_SEED))
    fy = np.fft.fftfreq(_TILE)[:, None]
    fx = np.fft.rfftfreq(_TILE)[None, :]
    square = fx**2 + fy**2
    filters = [np.exp(-2 * np.pi**2 * sigma**2 * square) for sigma in _SIGMAS]
    filters.append(1 / np.maximum(square, (2 / _TILE) ** 2) ** 0.75)
    tiles = []
    for kernel in filters:
        white = rng.standard_normal((_TILE, _TILE))
        tile = np.fft.irfft2(np.fft.rfft2(white) * kernel, s=(_TILE, _TILE))
        tiles.append((tile - tile.mean()) / tile.std())
    return np.stack(tiles).astype(np.float32).reshape(len(tiles), -1)


def _look_up(layer: int, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    column = (x + _ORIGIN).astype(np.int32) & (_TILE - 1)
    row = (y + _ORIGIN).astype(np.int32) & (_TILE - 1)
    return _atlas()[layer].take((row << 8) | column)


def noise(x: np.ndarray, y: np.ndarray, wavelength: float) -> np.ndarray:
    """Smooth noise of unit deviation whose blotches are about `wavelength` pixels apart."""
    sigma = wavelength / 6
    layer = min(range(len(_SIGMAS)), key=lambda i: abs(np.log(_SIGMAS[i] / sigma)))
    zoom = np.float32(min(max(_SIGMAS[layer] / sigma, 0.35), 2.0))
    return _look_up(layer, x * zoom, y * zoom)


def fractal(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Noise of all scales (amplitude falls with frequency), unit deviation."""
    return _look_up(len(_SIGMAS), x, y)


def _soft_step(value: np.ndarray, softness: float) -> np.ndarray:
    return np.clip(value / np.float32(softness) + np.float32(0.5), 0, 1)


@dataclasses.dataclass(frozen=True)
class _Frame:
    """A turned and shifted coordinate system that every pattern draws in."""

    cosine: float
    sine: float
    shift_x: float
    shift_y: float

    def __call__(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        c, s = np.float32(self.cosine), np.float32(self.sine)
        return (
            x * c + y * s + np.float32(self.shift_x),
            y * c - x * s + np.float32(self.shift_y),
        )


def _frame(rng: np.random.Generator) -> _Frame:
    angle = rng.uniform(0, 2 * np.pi)
    shift = rng.uniform(0, _TILE, 2)
    return _Frame(float(np.cos(angle)), float(np.sin(angle)), float(shift[0]), float(shift[1]))


def stripes(rng: np.random.Generator, size: float) -> Pattern:
    """Straight or wavering stripes, hard or soft, even or thin."""
    frame, period = _frame(rng), max(rng.uniform(0.18, 0.5) * size, 6.0)
    waver, share = rng.uniform(0, 1.2) * (rng.random() < 0.5), rng.uniform(-0.5, 0.5)
    softness = rng.choice([0.3, 0.6, 2.0])

    def pattern(x, y):
        x, y = frame(x, y)
        phase = x * np.float32(2 * np.pi / period)
        if waver:
            phase += np.float32(waver) * noise(x, y, 2 * period)
        return _soft_step(np.sin(phase) + np.float32(share), softness)

    return pattern


def checks(rng: np.random.Generator, size: float) -> Pattern:
    """A chess board, or a tartan of two crossing sets of stripes."""
    frame, period = _frame(rng), max(rng.uniform(0.25, 0.6) * size, 8.0)
    tartan = rng.random() < 0.5

    def pattern(x, y):
        x, y = frame(x, y)
        step = np.float32(2 * np.pi / period)
        a, b = np.sin(x * step), np.sin(y * step)
        if tartan:
            return (_soft_step(a, 0.4) + _soft_step(b, 0.4)) * np.float32(0.5)
        return _soft_step(a * b, 0.25)

    return pattern


def dots(rng: np.random.Generator, size: float) -> Pattern:
    """Round dots in a staggered grid."""
    frame, period = _frame(rng), max(rng.uniform(0.2, 0.45) * size, 7.0)
    radius = rng.uniform(0.22, 0.38)

    def pattern(x, y):
        x, y = frame(x, y)
        row = y * np.float32(1 / period)
        base = np.floor(row)
        column = x * np.float32(1 / period) + np.float32(0.5) * (base % 2)
        row = row - base - np.float32(0.5)
        column = column - np.floor(column) - np.float32(0.5)
        distance = np.sqrt(row * row + column * column)
        return _soft_step(np.float32(radius) - distance, 1.5 / period)

    return pattern


def blotches(rng: np.random.Generator, size: float) -> Pattern:
    """Sharp-edged patches, as on a cow or a leopard."""
    frame, wavelength = _frame(rng), max(rng.uniform(0.3, 1.2) * size, 7.0)
    level = rng.uniform(-0.5, 0.7)

    def pattern(x, y):
        x, y = frame(x, y)
        return _soft_step(noise(x, y, wavelength) - np.float32(level), 0.35)

    return pattern


def cloudy(rng: np.random.Generator, size: float) -> Pattern:
    """Noise of all scales."""
    frame = _frame(rng)

    def pattern(x, y):
        return np.clip(fractal(*frame(x, y)) * np.float32(0.3) + np.float32(0.5), 0, 1)

    return pattern


def fur(rng: np.random.Generator, size: float) -> Pattern:
    """Short hair: fine noise drawn out along one direction, over a coarse variation."""
    frame, stretch = _frame(rng), np.float32(rng.uniform(0.2, 0.5))

    def pattern(x, y):
        x, y = frame(x, y)
        strands = noise(x, y * stretch, 5.0) * np.float32(0.22)
        return np.clip(strands + noise(x, y, 40.0) * np.float32(0.2) + np.float32(0.45), 0, 1)

    return pattern


def speckle(rng: np.random.Generator, size: float) -> Pattern:
    """One colour with fine specks."""
    frame, wavelength = _frame(rng), rng.uniform(4, 8)
    level, amount = np.float32(rng.uniform(0.9, 1.6)), np.float32(rng.uniform(0.3, 0.9))

    def pattern(x, y):
        return _soft_step(noise(*frame(x, y), wavelength) - level, 0.5) * amount

    return pattern


def plain(rng: np.random.Generator, size: float) -> Pattern:
    """One colour that fades slowly into the other."""
    frame, reach = _frame(rng), np.float32(rng.uniform(0.05, 0.35))

    def pattern(x, y):
        return np.clip(noise(*frame(x, y), 72.0) * reach * np.float32(0.5) + reach, 0, 1)

    return pattern


def marble(rng: np.random.Generator, size: float) -> Pattern:
    """Thin veins bent by noise."""
    frame, period = _frame(rng), max(rng.uniform(0.5, 1.1) * size, 14.0)
    bend, sharp = np.float32(rng.uniform(1.0, 2.2)), rng.uniform(0.25, 0.6)

    def pattern(x, y):
        x, y = frame(x, y)
        phase = x * np.float32(2 * np.pi / period) + bend * fractal(x, y)
        return np.clip(1 - np.abs(np.sin(phase)) / np.float32(sharp), 0, 1)

    return pattern


def wood(rng: np.random.Generator, size: float) -> Pattern:
    """Grain: rings of a trunk cut lengthwise."""
    frame, period = _frame(rng), max(rng.uniform(0.12, 0.25) * size, 5.0)

    def pattern(x, y):
        x, y = frame(x, y)
        slow = y * np.float32(0.12)
        phase = x * np.float32(1 / period) + fractal(x * np.float32(0.5), slow)
        ring = phase - np.floor(phase)
        grain = noise(x, slow, 4.0) * np.float32(0.12)
        return np.clip(ring * ring + grain + np.float32(0.1), 0, 1)

    return pattern


def zigzag(rng: np.random.Generator, size: float) -> Pattern:
    """Chevrons."""
    frame, period = _frame(rng), max(rng.uniform(0.25, 0.5) * size, 8.0)

    def pattern(x, y):
        x, y = frame(x, y)
        tooth = np.abs((x * np.float32(1 / period)) % 1 - np.float32(0.5)) * np.float32(period)
        wave = np.sin((y + tooth) * np.float32(2 * np.pi / period))
        return _soft_step(wave, 0.5)

    return pattern


PATTERNS = (
    stripes, checks, dots, blotches, cloudy, fur, fur, speckle, plain, plain, marble, wood, zigzag,
)


def random_pattern(rng: np.random.Generator, size: float) -> Pattern:
    """A pattern for an object (or floor tile) of about `size` pixels."""
    return PATTERNS[rng.integers(len(PATTERNS))](rng, size)


# Families of colours that occur together, as "#rrggbb" triples.
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


@functools.lru_cache(maxsize=1)
def _families() -> np.ndarray:
    rows = [[bytes.fromhex(word) for word in family.split()] for family in _FAMILIES]
    return np.array([[list(c) for c in row] for row in rows], np.float32) / 255


def palette(rng: np.random.Generator) -> np.ndarray:
    """Six colours [6, 3] in [0, 1] that go together, in random order."""
    colours = _families()[rng.integers(len(_FAMILIES))]
    tint = rng.normal(0, 0.035, (1, 3)) + rng.normal(0, 0.025, (6, 3))
    exposure = rng.uniform(0.85, 1.12)
    return np.clip(rng.permutation(colours) * exposure + tint, 0.03, 0.97).astype(np.float32)
