"""Outlines and reliefs of the objects in the drawn scenes: the type of a shape, three families.

A shape has its own coordinates: u to the right, v up, in units of its choice. Its surface is a
function of float32 arrays u and v; the code that draws a shape applies its pose.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

# Slots of a surface: the number of the colour that a point has.
BODY, SECOND, THIRD, DARK, EYE = 0, 1, 2, 3, 4

Box = tuple[float, float, float, float]
Bands = tuple[tuple[float, float, int], ...]  # from v, to v, slot

_TABLE = 1024
ANGLES = np.arange(_TABLE) * (2 * np.pi / _TABLE)  # at which `polar` takes radii


class Surface(NamedTuple):
    """The values of a shape at points: arrays of the shape of the coordinates."""

    field: np.ndarray  # negative inside, zero on the outline, positive outside; not a distance
    height: np.ndarray  # relief towards the viewer in the shape's units, 0 outside
    slot: np.ndarray | None = None  # uint8 colour slot; None if all is body
    # [3, ...] normals (right, down, to the viewer), if they do not follow from the relief.
    normal: np.ndarray | None = None
    # Coordinates for patterns, if with u and v a pattern would ignore the edges of a body.
    grain: tuple[np.ndarray, np.ndarray] | None = None


class Shape(NamedTuple):
    """A surface, and the box around its inside: (left, bottom, right, top)."""

    surface: Callable[[np.ndarray, np.ndarray], Surface]
    box: Box
    people: bool = False

    def area(self) -> float:
        """The area inside the outline in square units, measured on a coarse grid."""
        left, bottom, right, top = self.box
        steps = (np.arange(32, dtype=np.float32) + 0.5) / 32
        u, v = np.meshgrid(left + steps * (right - left), bottom + steps * (top - bottom))
        inside = self.surface(u.astype(np.float32), v.astype(np.float32)).field < 0
        return float(max(inside.mean(), 0.02) * (right - left) * (top - bottom))


def cosine_and_sine(angle: float) -> tuple[float, float]:
    """Cosine and sine of an angle in radians, as Python floats, which keep arrays float32."""
    return float(np.cos(angle)), float(np.sin(angle))


def ellipse(a: float, b: float, power: float = 2.0, dome: float = 0.8) -> Shape:
    """The superellipse abs(u/a)^power + abs(v/b)^power < 1, domed."""

    def surface(u, v):
        x, y = np.abs(u * (1 / a)), np.abs(v * (1 / b))
        value = x * x + y * y if power == 2.0 else x**power + y**power
        return Surface(value - 1, dome * min(a, b) * np.sqrt(np.maximum(1 - value, 0)))

    return Shape(surface, (-a, -b, a, b))


def polar(radii: np.ndarray, dome: float, power: float) -> Shape:
    """A shape given by its radii at `ANGLES`."""
    closed = np.append(radii, radii[0]).astype(np.float32)
    x, y = radii * np.cos(ANGLES), radii * np.sin(ANGLES)
    depth, exponent = np.float32(dome * radii.min()), np.float32(power)

    def surface(u, v):
        turn = np.arctan2(v, u) * (_TABLE / (2 * np.pi))
        turn = np.where(turn < 0, turn + _TABLE, turn)
        index = np.minimum(turn.astype(np.int32), _TABLE - 1)
        ratio = np.sqrt(u * u + v * v) / _between(closed, index, turn - index)
        return Surface(ratio - 1, depth * np.sqrt(np.maximum(1 - ratio**exponent, 0)))

    return Shape(surface, (float(x.min()), float(y.min()), float(x.max()), float(y.max())))


def profile(
    widths: np.ndarray, depth: float, bow: float, bands: Bands = (), mouth: int | None = None
) -> Shape:
    """A shape of given half-widths at equal steps of v from -1 to 1.

    It is round with `depth` 1 and flatter with less; `mouth` is the slot of its opening, if any.
    """
    table = np.append(widths, widths[-1]).astype(np.float32)
    last, widest, opening = len(widths) - 1, float(widths.max()), float(widths[-1])
    rise = max(bow * (opening / widest) ** 2 * 1.6, 1e-3)
    relief = np.float32(depth)  # as it is combined with float64 arrays

    def surface(u, v):
        # Horizontal circles, seen from a little above, bow downwards in the middle.
        w = v + bow * (1 - u * u * (1 / widest**2))
        place = np.clip((w + 1) * (last / 2), 0, last)
        index = place.astype(np.int32)
        half = _between(table, index, place - index)
        height = relief * np.sqrt(np.maximum(half * half - u * u, 0))
        slot = np.zeros(u.shape, np.uint8) if bands or mouth is not None else None
        for low, high, which in bands:
            slot[(w > low) & (w < high)] = which
        field = np.maximum(np.abs(u) - half, np.abs(w) - 1)
        if mouth is not None:
            x = u * (1 / opening)
            y = (v - (1 - bow * (1 - (opening / widest) ** 2))) * (1 / rise)
            ring = x * x + y * y
            field = np.minimum(field, (ring - 1) * rise)
            height = np.where(ring < 1, 0.1 * u, height)
            slot[ring < 0.8] = mouth
        return Surface(field, height, slot)

    return Shape(surface, (-widest, -1 - bow, widest, 1.0 + rise))


def _between(table: np.ndarray, index: np.ndarray, fraction: np.ndarray) -> np.ndarray:
    """Linear interpolation between the entries `index` and `index + 1` of a table."""
    low = table.take(index)
    return low + fraction * (table.take(index + 1) - low)
