"""The backgrounds of the drawn scenes, painted on canvases (see `textures`)."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw

from experiments.datasets.scenes import textures
from experiments.datasets.scenes.textures import blur, mix, rows_and_columns, to_canvas


class Backdrop(NamedTuple):
    """A kind of background, and the row where its ground begins (None if seen from above)."""

    paint: Callable[..., np.ndarray]
    horizon: float | None


def _rough_pattern(rng: Generator, x: np.ndarray, y: np.ndarray, size: float) -> np.ndarray:
    """A pattern with a little noise, as real floors and grounds are never clean."""
    weight = textures.random_pattern(rng, size)(x, y)
    return weight + rng.uniform(0.02, 0.12) * textures.noise(x, y, rng.uniform(4, 30))


def studio(rng: Generator, height: int, width: int, horizon: float) -> np.ndarray:
    """A smooth backdrop that passes into the table without an edge, with a pool of light."""
    colours = textures.palette(rng)
    y, x = rows_and_columns(height, width)
    step = np.clip((y - horizon) / (height * rng.uniform(0.1, 0.4)) + 0.5, 0, 1)
    canvas = mix(colours[0], colours[0] * 0.6 + colours[1] * 0.4, step * step * (3 - 2 * step))
    dx = (x - width * rng.uniform(0.2, 0.8)) / (width * 0.7)
    dy = (y - height * rng.uniform(0.2, 0.7)) / (height * 0.7)
    glow = 1 / (1 + dx * dx + dy * dy)
    grain = textures.noise(x, y, rng.uniform(4, 40))
    return canvas * (0.7 + 0.4 * glow) + rng.uniform(0, 0.02) * grain


def _perspective(
    height: int, width: int, horizon: float, camera: float
) -> tuple[int, np.ndarray, np.ndarray, np.ndarray]:
    """First row of the ground, its coordinates in nearest-row pixels, and nearness in (0, 1]."""
    first = math.ceil(horizon)
    y, x = rows_and_columns(height, width)
    nearness = (y[first:] - (horizon - 3)) / (height - horizon)
    return first, (x - width / 2) / nearness, camera * height / nearness, nearness


def interior(rng: Generator, height: int, width: int, horizon: float) -> np.ndarray:
    """A floor in perspective (boards, tiles, carpet) and a wall with a skirting board."""
    colours, wall_colours = textures.palette(rng), textures.palette(rng)
    size = rng.uniform(0.12, 0.35) * max(height, width)
    y, x = rows_and_columns(height, width)
    first, across, depth, nearness = _perspective(height, width, horizon, rng.uniform(0.35, 0.8))
    weight = _rough_pattern(rng, across, depth, size)
    # Far away, the texture is finer than a pixel: fade it into its mean.
    weight = weight.mean() + (weight - weight.mean()) * np.clip(nearness * 1.6, 0.15, 1)
    floor = mix(colours[0], colours[1], weight * rng.uniform(0.3, 1.0)) * (0.8 + 0.2 * nearness)
    if rng.random() < 0.5:
        weight = _rough_pattern(rng, x, y[:first], size * rng.uniform(0.5, 1.2))
        weight = weight * rng.uniform(0.2, 0.9)
    else:
        weight = 0.1 * textures.fractal(x, y[:first])
    side = 0.92 + rng.uniform(-0.25, 0.25) * (x / width - 0.5)
    wall = mix(wall_colours[0], wall_colours[1], weight) * side
    canvas = np.concatenate([wall, floor], axis=1)
    board = max(int(height * rng.uniform(0.0, 0.05)), 1)
    canvas[:, max(first - board, 0) : first] = wall_colours[2][:, None, None]
    canvas[:, first : first + max(height // 80, 1)] *= 0.6
    return canvas


def field(rng: Generator, height: int, width: int, horizon: float) -> np.ndarray:
    """Grass, sand or earth below a sky with clouds, and often hills or trees between."""
    colours = textures.palette(rng)
    y, x = rows_and_columns(height, width)
    tones = [[0.45, 0.62, 0.85], [0.75, 0.84, 0.92], [0.93, 0.82, 0.7], [0.6, 0.63, 0.68]]
    sky = np.array(tones, np.float32)[rng.permutation(4)]
    cloud = np.clip(textures.fractal(x * 0.7, y * 1.6) * 0.5 + rng.uniform(-0.4, 0.3), 0, 1)
    canvas = mix(sky[0], sky[1], np.clip(y / horizon, 0, 1))
    canvas = canvas + (0.95 - canvas) * cloud * 0.7
    if rng.random() < 0.75:
        ridge = textures.fractal(x[0] * 0.5 + rng.uniform(0, 99), 0 * x[0])
        top = horizon - height * rng.uniform(0.03, 0.09) * (ridge + 1.6)
        tone = colours[2] * 0.55 + sky[1] * 0.25
        rough = textures.fractal(x, y + 50) * 0.05
        canvas += (tone[:, None, None] + rough - canvas) * np.clip(y - top, 0, 1)
    green = np.array([[0.28, 0.4, 0.14], [0.48, 0.52, 0.24]], np.float32)
    near, far = green if rng.random() < 0.5 else colours[:2]
    first, across, depth, nearness = _perspective(height, width, horizon, 0.5)
    blades = textures.noise(x * 1.7, y[first:] * 0.6, rng.uniform(4, 7))
    tufts = textures.fractal(across * 0.3, depth * 0.5)
    weight = 0.45 + 0.22 * tufts * np.clip(nearness * 2, 0.2, 1)
    weight = weight + rng.uniform(0.08, 0.3) * blades * np.clip(nearness * 2, 0.15, 1)
    canvas[:, first:] = mix(near, far, weight)
    return canvas


def surface(rng: Generator, height: int, width: int, horizon: None) -> np.ndarray:
    """A flat surface seen from above: a cloth, boards, stone, gravel, lawn."""
    colours = textures.palette(rng)
    y, x = rows_and_columns(height, width)
    weight = _rough_pattern(rng, x, y, rng.uniform(0.06, 0.4) * max(height, width))
    canvas = mix(colours[0], colours[1], weight * rng.uniform(0.3, 1.0))
    return canvas * (1 + 0.1 * textures.noise(x * 0.4, y * 0.4, 72.0))


def litter(rng: Generator, height: int, width: int, horizon: None) -> np.ndarray:
    """A clutter of small overlapping leaves, pebbles or confetti, seen from above."""
    colours = textures.palette(rng)
    size = max(height, width) * rng.uniform(0.012, 0.05)
    image = Image.new("RGB", (width, height), tuple(int(c * 255) for c in colours[0]))
    draw = ImageDraw.Draw(image)
    count = int(min(1.6 * height * width / (size * size * 3), 700))
    centres = rng.uniform(0, 1, (count, 2)) * (width, height)
    sizes = size * rng.uniform(0.5, 1.5, (count, 2))
    tones = colours[rng.integers(0, 6, count)] * rng.uniform(0.55, 1.1, (count, 1))
    tones = np.clip(tones * 255, 0, 255).astype(int)
    round_pieces, angles = rng.random() < 0.6, rng.uniform(0, 2 * np.pi, (count, 4))[:, 0]
    for (x, y), (a, b), tone, angle in zip(centres, sizes, tones, angles, strict=True):
        fill = tuple(tone.tolist())
        if round_pieces:
            draw.ellipse((x - a, y - b, x + a, y + b), fill=fill)
            continue
        c, s = np.cos(angle), np.sin(angle)
        corners = ((1.5, 0), (0.3, 0.6), (-1.3, 0.1), (0.1, -0.6))
        outline = [(x + a * (p * c - q * s), y + a * (p * s + q * c)) for p, q in corners]
        draw.polygon(outline, fill=fill)
    y, x = rows_and_columns(height, width)
    return blur(to_canvas(image) * (1 + 0.1 * textures.noise(x, y, 5.0)), rng.uniform(0.5, 1.2))


def bokeh(rng: Generator, height: int, width: int, horizon: float) -> np.ndarray:
    """A ground, and above it a distant background out of focus: soft blots and discs of light."""
    colours = textures.palette(rng)
    coarse = colours[rng.integers(0, 6, (int(rng.integers(4, 9)), int(rng.integers(4, 9))))]
    coarse = coarse * rng.uniform(0.6, 1.0, (*coarse.shape[:2], 1))
    small = Image.fromarray(np.clip(coarse * 255, 0, 255).astype(np.uint8))
    canvas = to_canvas(small.resize((width, height), Image.Resampling.BICUBIC))
    side = max(height, width)
    for _ in range(int(rng.integers(0, 14))):
        radius = side * rng.uniform(0.015, 0.06)
        cx, cy = rng.uniform(0, width), rng.uniform(0, height * 0.6)
        top, left = max(int(cy - radius - 2), 0), max(int(cx - radius - 2), 0)
        around = canvas[:, top : int(cy + radius + 3), left : int(cx + radius + 3)]
        y, x = np.ogrid[top : top + around.shape[1], left : left + around.shape[2]]
        disc = np.clip((radius - np.hypot(x - cx, y - cy)) / 2, 0, 1).astype(np.float32)
        around += rng.uniform(0.06, 0.25) * disc
    first, across, depth, nearness = _perspective(height, width, horizon, 0.5)
    weight = _rough_pattern(rng, across, depth, 0.25 * side)
    ground = mix(colours[4], colours[5], weight * 0.6)
    canvas[:, first:] += (ground - canvas[:, first:]) * np.clip(nearness * 3, 0, 1)
    return canvas


# The kinds of background, and the ranges of their horizons as shares of the height.
_LEVEL = (studio, interior, interior, field, field, bokeh)
_HORIZONS = {studio: (0.3, 0.55), interior: (0.3, 0.58), field: (0.18, 0.5), bokeh: (0.4, 0.7)}
_FROM_ABOVE = (surface, surface, litter)


def random_backdrop(rng: Generator, height: int) -> Backdrop:
    """A kind of background; two in three have a horizon."""
    if rng.random() < 1 / 3:
        return Backdrop(_FROM_ABOVE[rng.integers(len(_FROM_ABOVE))], None)
    paint = _LEVEL[rng.integers(len(_LEVEL))]
    return Backdrop(paint, height * rng.uniform(*_HORIZONS[paint]))


def paint_background(rng: Generator, backdrop: Backdrop, height: int, width: int) -> np.ndarray:
    """A canvas `[3, height, width]`, blurred at random."""
    canvas = backdrop.paint(rng, height, width, backdrop.horizon)
    radius = rng.choice([0.0, 0.6, 1.2, 2.5], p=[0.25, 0.35, 0.25, 0.15])
    radius *= max(height, width) / 400
    return blur(canvas, radius) if radius > 0.4 else canvas  # less is not visible
