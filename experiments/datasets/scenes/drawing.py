"""Drawn scenes with exact instance masks: an endless supply of images for tests and training.

A scene has 2 to 5 shaded, textured objects, which overlap and cast shadows on an unrelated
background. It depends only on its seed and its size. Instance maps are exact at pixel centres; in
the image, outlines are smoothed over a pixel. Most surfaces are float32, some float64; scalars are
rounded to float32 before they are combined with either.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy import float32
from numpy.random import PCG64, Generator, SeedSequence

from experiments.datasets.scenes import shadows, textures
from experiments.datasets.scenes.backgrounds import paint_background, random_backdrop
from experiments.datasets.scenes.layout import Placed, Rule, lay_out
from experiments.datasets.scenes.shapes import cosine_and_sine
from experiments.datasets.scenes.textures import mix, to_pixels

# First words of the seeds, so that the streams have no image in common.
SAMPLES_STREAM, TRAIN_STREAM, VALIDATION_STREAM = 0x53414D50, 0x5452414E, 0x56414C49
MIN_SIDE, MAX_SIDE, MAX_ASPECT = 64, 4096, 3

_SKIN = textures.colours_of("f1cdb0 e0ac86 c58c63 9a6544 6f4630 4b2f22")
_HAIR = np.array([[0.1, 0.08, 0.07], [0.3, 0.2, 0.12], [0.65, 0.5, 0.3], [0.45, 0.22, 0.12]])


class Scene(NamedTuple):
    """An image, uint8 `[H, W, 3]`, and its instance map, int32 `[H, W]`.

    In the map, 0 is background (shadows included), 1 and above are objects from back to front.
    """

    image: np.ndarray
    instances: np.ndarray


class _Material(NamedTuple):
    """The look of an object: two colours mixed by a pattern, and one for each other slot."""

    pattern: textures.Pattern
    colours: np.ndarray  # [6, 3]: two of the body, then second, third, dark, eye
    gloss: float
    bumps: float
    bump_size: float


def draw_scene(
    seed: int | Sequence[int],
    *,
    height: int,
    width: int,
    num_objects: int | None = None,
    accept: Rule | None = None,
) -> Scene:
    """Draws the scene of a seed with 1 to 8 objects; if their number is None, a random 2 to 5.

    Layouts are drawn until one satisfies the rule `accept`; ValueError if none does.
    """
    name = f"a scene of {width}x{height} pixels"
    if not MIN_SIDE <= min(height, width) <= max(height, width) <= MAX_SIDE:
        raise ValueError(f"{name}: sides must be {MIN_SIDE} to {MAX_SIDE}")
    if max(height, width) > MAX_ASPECT * min(height, width):
        raise ValueError(f"{name}: the longer side may be at most {MAX_ASPECT} times the shorter")
    if num_objects is not None and not 1 <= num_objects <= 8:
        raise ValueError(f"a scene of {num_objects} objects: give 1 to 8")
    # Two generators, so that the paint does not depend on the number of layouts tried.
    layout, paint = (Generator(PCG64(child)) for child in SeedSequence(seed).spawn(2))
    backdrop = random_backdrop(layout, height)
    count = num_objects or int(layout.choice([2, 3, 4, 5], p=[0.3, 0.35, 0.2, 0.15]))
    placed, instances = lay_out(layout, backdrop, (height, width), count, accept)
    canvas = paint_background(paint, backdrop, height, width)
    return Scene(paint_scene(paint, canvas, placed, backdrop.horizon), instances)


def paint_scene(
    rng: Generator, canvas: np.ndarray, placed: list[Placed], horizon: float | None
) -> np.ndarray:
    """Paints objects (back to front) and shadows on a canvas, in place; returns the photograph."""
    light, size = shadows.random_light(rng), canvas.shape[1:]
    canvas *= 1 - light.depth * shadows.shadows(rng, light, placed, size, horizon)
    boxes = np.zeros(size, bool)  # of the objects painted so far
    for thing, material in zip(placed, _materials(rng, placed, canvas), strict=True):
        if boxes[thing.rows, thing.columns].any():
            shadows.darken_around(canvas, thing, light)
        boxes[thing.rows, thing.columns] = True
        _paint_object(rng, canvas, thing, material, light, upright=horizon is not None)
    return _photograph(rng, canvas)


def _materials(rng: Generator, placed: list[Placed], canvas: np.ndarray) -> list[_Material]:
    """A material for each object; objects of one template differ only in shade."""
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
        # Camouflage: the colour of a random point of the background.
        row, column = rng.integers(canvas.shape[1]), rng.integers(canvas.shape[2])
        colours[0] = np.clip(canvas[:, row, column] * 1.15, 0.05, 0.95)
    colours[4] *= 0.3
    colours[5] = 0.06
    if thing.shape.people:
        colours[3:5] = rng.choice(_SKIN), rng.choice(_HAIR)
    pattern = textures.random_pattern(rng, thing.pose.scale)
    gloss = float(rng.choice([0.0, 0.05, 0.2, 0.45], p=[0.35, 0.25, 0.25, 0.15]))
    bumps = float(rng.choice([0.0, 0.25, 0.6], p=[0.6, 0.25, 0.15]))
    return _Material(pattern, colours, gloss, bumps, bump_size=rng.uniform(5, 16))


def _slope(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Central differences to the right and downwards; 0 at the border of the array."""
    right, down = np.zeros_like(values), np.zeros_like(values)
    right[:, 1:-1] = (values[:, 2:] - values[:, :-2]) * 0.5
    down[1:-1] = (values[2:] - values[:-2]) * 0.5
    return right, down


def _normals(thing: Placed, relief: np.ndarray) -> tuple[np.ndarray, ...]:
    """The normals of an object's surface (right, down, to the viewer), and 1 over their length."""
    right, down = _slope(relief)
    if thing.surface.normal is None:
        x, y, z = np.clip(-right, -4, 4), np.clip(-down, -4, 4), np.array(1, float32)
    else:
        length = 1 / np.sqrt(right * right + down * down + 1)
        across, below, z = thing.surface.normal
        across = -across if thing.pose.mirrored else across
        c, s = cosine_and_sine(thing.pose.angle)
        x, y = c * across + s * below - right * length, c * below - s * across - down * length
    return x, y, z, 1 / np.sqrt(x * x + y * y + z * z)


def _facing(normals: tuple[np.ndarray, ...], direction: np.ndarray) -> np.ndarray:
    """The cosine of the angle to a direction of length 1; 0 where the surface faces away."""
    (x, y, z, scale), (right, down, near) = normals, direction.astype(float32)
    return np.maximum((x * right + y * down + z * near) * scale, 0)


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
    relief: np.ndarray = thing.surface.height * scale
    if material.bumps:
        bumps = textures.noise(x, y, material.bump_size)
        relief = relief + bumps * (material.bumps * material.bump_size / 16)
    normals = _, below, near, length = _normals(thing, relief)
    # Surfaces that face up get light from the sky, those that face down a little from the ground.
    shade = float32(light.ambient) * (1 - float32(0.3) * below * length)
    shade = shade + float32(light.strength) * _facing(normals, light.direction)
    if upright:
        _, low, _, high = map(float, thing.shape.box)
        rise = (thing.v - low) * (1 / (0.35 * (high - low)))
        shade = shade * np.clip(0.72 + 0.28 * rise, 0.72, 1)
    # A pattern on a round body looks denser towards the outline.
    bulge = 1 + float32(0.35) * (1 - near * length)
    shift_x, shift_y = rng.uniform(0, 200, 2).astype(float32)
    weight = material.pattern(x * bulge + shift_x, y * bulge + shift_y)
    colour = mix(material.colours[0], material.colours[1], weight)
    if thing.surface.slot is not None:
        for number, tone in enumerate(material.colours[2:], start=1):
            np.copyto(colour, tone[:, None, None], where=thing.surface.slot == number)
    colour *= shade * light.tint[:, None, None]
    if material.gloss:
        lx, ly, lz = light.direction.tolist()
        half = np.array([lx, ly, lz + 1]) / np.sqrt(lx * lx + ly * ly + (lz + 1) ** 2)
        spark = np.square(np.square(np.square(np.square(_facing(normals, half)))))
        colour += float32(material.gloss) * spark * spark
    # The share of each pixel inside the outline, from the field and its slope.
    right, down = _slope(thing.surface.field)
    slope = np.maximum(np.sqrt(right * right + down * down), float32(1e-6))
    behind = canvas[:, thing.rows, thing.columns]
    behind += (colour - behind) * np.clip(0.5 - thing.surface.field / slope, 0, 1)


def _photograph(rng: Generator, canvas: np.ndarray) -> np.ndarray:
    """Exposure, darker corners, sensor noise."""
    y, x = (np.linspace(-1, 1, side, dtype=float32) for side in canvas.shape[1:])
    corners = 1 - rng.uniform(0, 0.12) * (x * x + (y * y)[:, None])
    # A camera partly evens out dark and bright scenes.
    exposure = np.clip((0.45 / max(float(canvas.mean()), 0.01)) ** 0.6, 0.8, 1.8)
    canvas = canvas * (corners * float32(exposure * rng.uniform(0.85, 1.1)))
    canvas += rng.standard_normal(canvas.shape, dtype=float32) * rng.uniform(0.003, 0.022)
    return to_pixels(canvas)
