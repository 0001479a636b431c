"""Colour of the drawn scenes: what objects are made of, and how the light falls on them.

Surfaces are float32, some float64; numbers that meet them are rounded to float32 for both.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy import float32
from numpy.random import Generator

from experiments.datasets.scenes import shadows, textures
from experiments.datasets.scenes.backgrounds import Backdrop
from experiments.datasets.scenes.canvas import mix, to_pixels
from experiments.datasets.scenes.layout import Placed
from experiments.datasets.scenes.shapes import cosine_and_sine

_SKIN = textures.colours_of("f1cdb0 e0ac86 c58c63 9a6544 6f4630 4b2f22")
_HAIR = np.array([[0.1, 0.08, 0.07], [0.3, 0.2, 0.12], [0.65, 0.5, 0.3], [0.45, 0.22, 0.12]])


class _Material(NamedTuple):
    """What an object is made of: two colours mixed by a pattern, and one for each further slot."""

    pattern: textures.Pattern
    colours: np.ndarray  # [6, 3]: two of the body, then second, third, dark, eye
    gloss: float
    bumps: float
    bump_size: float


def paint_scene(
    rng: Generator,
    canvas: np.ndarray,
    placed: list[Placed],
    instances: np.ndarray,
    backdrop: Backdrop,
) -> np.ndarray:
    """Paints objects (back to front) with their shadows on a canvas `[3, H, W]`, in place.

    Returns:
      The photograph, uint8 `[H, W, 3]`.
    """
    light = shadows.random_light(rng)
    shadow = shadows.shadows(rng, light, placed, instances.shape, backdrop.horizon)
    canvas *= 1 - light.depth * shadow
    materials = _materials(rng, placed, canvas)
    for number, (thing, material) in enumerate(zip(placed, materials, strict=True)):
        if any(_near(thing, other) for other in placed[:number]):
            shadows.darken_around(canvas, thing, light)
        _paint_object(rng, canvas, thing, material, light, backdrop.horizon is not None)
    return _photograph(rng, canvas)


def _materials(rng: Generator, placed: list[Placed], canvas: np.ndarray) -> list[_Material]:
    """A material for each object; those of one template differ by a shade."""
    by_template: dict[int, _Material] = {}
    materials = []
    shared = textures.palette(rng) if rng.random() < 0.5 else None
    for thing in placed:
        if thing.template not in by_template:
            by_template[thing.template] = _material(rng, thing, shared, canvas)
        material = by_template[thing.template]
        shade = rng.normal(0, 0.02, (6, 3)) + rng.normal(0, 0.025, (6, 1))
        colours = np.clip(material.colours + shade, 0.01, 0.98).astype(float32)
        materials.append(material._replace(colours=colours))
    return materials


def _material(
    rng: Generator, thing: Placed, shared: np.ndarray | None, canvas: np.ndarray
) -> _Material:
    colours = rng.permutation(shared) if shared is not None else textures.palette(rng)
    if rng.random() < 0.2:
        # Camouflage: the colour of some point of the background.
        row, column = rng.integers(canvas.shape[1]), rng.integers(canvas.shape[2])
        colours[0] = np.clip(canvas[:, row, column] * 1.15, 0.05, 0.95)
    colours[4] *= 0.3
    colours[5] = 0.06
    if thing.shape.people:
        colours[3] = _SKIN[rng.integers(len(_SKIN))]
        colours[4] = _HAIR[rng.integers(len(_HAIR))]
    return _Material(
        textures.random_pattern(rng, thing.pose.scale),
        colours,
        gloss=float(rng.choice([0.0, 0.05, 0.2, 0.45], p=[0.35, 0.25, 0.25, 0.15])),
        bumps=float(rng.choice([0.0, 0.25, 0.6], p=[0.6, 0.25, 0.15])),
        bump_size=rng.uniform(5, 16),
    )


def _near(one: Placed, other: Placed) -> bool:
    """Whether the boxes of two objects overlap."""
    sides = ((one.rows, other.rows), (one.columns, other.columns))
    return all(max(a.start, b.start) < min(a.stop, b.stop) for a, b in sides)


def _slope(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Central differences to the right and downwards, 0 at the array's border."""
    right, down = np.zeros_like(values), np.zeros_like(values)
    right[:, 1:-1] = (values[:, 2:] - values[:, :-2]) * 0.5
    down[1:-1] = (values[2:] - values[:-2]) * 0.5
    return right, down


def _coverage(field: np.ndarray) -> np.ndarray:
    """Share of each pixel inside the outline, from the field and its slope."""
    right, down = _slope(field)
    slope = np.sqrt(right * right + down * down)
    return np.clip(0.5 - field / np.maximum(slope, float32(1e-6)), 0, 1)


class _Normals(NamedTuple):
    """Normals of an object's surface (right, down, to the viewer) and 1 over their length."""

    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    scale: np.ndarray

    def facing(self, direction: Sequence[float]) -> np.ndarray:
        """Cosine of the angle to a direction of length 1, or 0 where it lies behind."""
        x, y, z = float32(direction)
        return np.maximum((self.x * x + self.y * y + self.z * z) * self.scale, 0)


def _normals(thing: Placed, relief: np.ndarray) -> _Normals:
    right, down = _slope(relief)
    if thing.surface.normal is None:
        x, y, z = np.clip(-right, -4, 4), np.clip(-down, -4, 4), float32(1)
    else:
        length = 1 / np.sqrt(right * right + down * down + 1)
        across, below, z = thing.surface.normal
        across = -across if thing.pose.mirrored else across
        c, s = cosine_and_sine(thing.pose.angle)
        x, y = c * across + s * below - right * length, c * below - s * across - down * length
    return _Normals(x, y, z, 1 / np.sqrt(x * x + y * y + z * z))


def _paint_object(
    rng: Generator,
    canvas: np.ndarray,
    thing: Placed,
    material: _Material,
    light: shadows.Light,
    upright: bool,
) -> None:
    scale = float32(thing.pose.scale)
    x, y = (grain * scale for grain in thing.surface.grain or (thing.u, thing.v))
    relief = thing.surface.height * scale
    if material.bumps:
        bumps = textures.noise(x, y, material.bump_size)
        relief = relief + bumps * (material.bumps * material.bump_size / 16)
    normals = _normals(thing, relief)
    # Light from the sky on what faces up, and from the ground a little on what faces down.
    shade = float32(light.ambient) * (1 - float32(0.3) * normals.y * normals.scale)
    shade = shade + float32(light.strength) * normals.facing(light.direction)
    if upright:
        _, low, _, high = map(float, thing.shape.box)
        rise = (thing.v - low) * (1 / (0.35 * (high - low)))
        shade = shade * np.clip(0.72 + 0.28 * rise, 0.72, 1)
    # A pattern on a round body crowds together towards the outline.
    bulge = 1 + float32(0.35) * (1 - normals.z * normals.scale)
    shift_x, shift_y = float32(rng.uniform(0, 200, 2))
    weight = material.pattern(x * bulge + shift_x, y * bulge + shift_y)
    colour = mix(material.colours[0], material.colours[1], weight)
    if thing.surface.slot is not None:
        for number, tone in enumerate(material.colours[2:], start=1):
            np.copyto(colour, tone[:, None, None], where=thing.surface.slot == number)
    colour *= shade * light.tint[:, None, None]
    if material.gloss:
        lx, ly, lz = light.direction.tolist()
        half = np.array([lx, ly, lz + 1]) / np.sqrt(lx * lx + ly * ly + (lz + 1) ** 2)
        spark = np.square(np.square(np.square(np.square(normals.facing(half)))))
        colour += float32(material.gloss) * spark * spark
    behind = canvas[:, thing.rows, thing.columns]
    behind += (colour - behind) * _coverage(thing.surface.field)


def _photograph(rng: Generator, canvas: np.ndarray) -> np.ndarray:
    """Exposure, darker corners, sensor noise."""
    _, height, width = canvas.shape
    y = np.linspace(-1, 1, height, dtype=float32)[:, None]
    x = np.linspace(-1, 1, width, dtype=float32)[None, :]
    corners = 1 - rng.uniform(0, 0.12) * (x * x + y * y)
    # A camera brightens dark scenes and dims bright ones, but not all the way.
    exposure = np.clip((0.45 / max(float(canvas.mean()), 0.01)) ** 0.6, 0.8, 1.8)
    canvas = canvas * (corners * float32(exposure * rng.uniform(0.85, 1.1)))
    noise = rng.standard_normal(canvas.shape, dtype=float32)
    canvas += noise * rng.uniform(0.003, 0.022)
    return to_pixels(canvas)
