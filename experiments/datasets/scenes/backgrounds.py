"""What lies behind the objects of the drawn scenes: canvases [3, height, width] in [0, 1]."""

import dataclasses
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from experiments.datasets.scenes import textures


@dataclasses.dataclass(frozen=True)
class Setting:
    """A kind of background, and the row where its ground begins (None: seen from above)."""

    paint: Callable[..., np.ndarray]
    horizon: float | None


def _rows_and_columns(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    return (
        np.arange(height, dtype=np.float32)[:, None],
        np.arange(width, dtype=np.float32)[None, :],
    )


def mix(low: np.ndarray, high: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Colours [3] blended by a weight [...]: an array [3, ...]."""
    shape = (3,) + (1,) * weight.ndim
    return low.reshape(shape) + (high - low).reshape(shape) * weight


def blur(canvas: np.ndarray, radius: float) -> np.ndarray:
    """Defocus by a Gaussian of that radius in pixels."""
    pixels = np.ascontiguousarray(np.moveaxis(to_bytes(canvas), 0, -1))
    image = Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(float(radius)))
    return np.moveaxis(np.asarray(image), -1, 0).astype(np.float32) / 255


def to_bytes(canvas: np.ndarray) -> np.ndarray:
    """Values in [0, 1] (others are clipped) as uint8."""
    return (np.clip(canvas, 0, 1) * np.float32(255) + np.float32(0.5)).astype(np.uint8)


def _pattern_weight(
    rng: np.random.Generator, x: np.ndarray, y: np.ndarray, size: float
) -> np.ndarray:
    """A pattern, roughened a little by noise, since nothing outdoors or on a floor is clean."""
    weight = textures.random_pattern(rng, size)(x, y)
    return weight + np.float32(rng.uniform(0.02, 0.12)) * textures.noise(x, y, rng.uniform(4, 30))


def studio(
    rng: np.random.Generator, height: int, width: int, horizon: float
) -> np.ndarray:
    """A smooth backdrop that turns into the table without an edge, with a pool of light."""
    colours = textures.palette(rng)
    y, x = _rows_and_columns(height, width)
    step = np.clip((y - np.float32(horizon)) / np.float32(height * rng.uniform(0.1, 0.4)) + 0.5,
                   0, 1)
    canvas = mix(colours[0], colours[0] * 0.6 + colours[1] * 0.4, step * step * (3 - 2 * step))
    dx = (x - np.float32(width * rng.uniform(0.2, 0.8))) / np.float32(width * 0.7)
    dy = (y - np.float32(height * rng.uniform(0.2, 0.7))) / np.float32(height * 0.7)
    glow = 1 / (1 + dx * dx + dy * dy)
    grain = textures.noise(x + 0 * y, y + 0 * x, rng.uniform(4, 40))
    return canvas * (0.7 + 0.4 * glow) + np.float32(rng.uniform(0, 0.02)) * grain


def _perspective(
    height: int, width: int, horizon: float, camera: float
) -> tuple[int, np.ndarray, np.ndarray, np.ndarray]:
    """First row of the ground, its coordinates in nearest-row pixels, and nearness in (0, 1]."""
    first = min(max(int(np.ceil(horizon)), 0), height - 1)
    y, x = _rows_and_columns(height, width)
    nearness = (y[first:] - np.float32(horizon - 3)) / np.float32(height - horizon)
    depth = np.float32(camera * height) / nearness
    across = (x - np.float32(width / 2)) / nearness
    return first, across, depth + 0 * across, nearness


def room(
    rng: np.random.Generator, height: int, width: int, horizon: float
) -> np.ndarray:
    """A floor in perspective (boards, tiles, carpet) and a wall with a skirting board."""
    colours, wall_colours = textures.palette(rng), textures.palette(rng)
    size = rng.uniform(0.12, 0.35) * max(height, width)
    y, x = _rows_and_columns(height, width)
    canvas = np.empty((3, height, width), np.float32)
    first, across, depth, nearness = _perspective(height, width, horizon, rng.uniform(0.35, 0.8))
    weight = _pattern_weight(rng, across, depth, size)
    # Far texture is finer than a pixel: fade it into its mean.
    fade = np.clip(nearness * np.float32(1.6), 0.15, 1)
    weight = np.float32(weight.mean()) + (weight - np.float32(weight.mean())) * fade
    weight = weight * np.float32(rng.uniform(0.3, 1.0))
    canvas[:, first:] = mix(colours[0], colours[1], weight) * (np.float32(0.8) + 0.2 * nearness)
    wall_x, wall_y = x + 0 * y[:first], y[:first] + 0 * x
    if rng.random() < 0.5:
        weight = _pattern_weight(rng, wall_x, wall_y, size * rng.uniform(0.5, 1.2))
        weight = weight * np.float32(rng.uniform(0.2, 0.9))
    else:
        weight = 0.1 * textures.fractal(wall_x, wall_y)
    side = np.float32(rng.uniform(-0.25, 0.25)) * (x / np.float32(width) - np.float32(0.5))
    canvas[:, :first] = mix(wall_colours[0], wall_colours[1], weight) * (np.float32(0.92) + side)
    board = max(int(height * rng.uniform(0.0, 0.05)), 1)
    canvas[:, max(first - board, 0):first] = wall_colours[2][:, None, None]
    canvas[:, first:first + max(height // 80, 1)] *= np.float32(0.6)
    return canvas


def field(
    rng: np.random.Generator, height: int, width: int, horizon: float
) -> np.ndarray:
    """Grass, sand or earth below a sky with clouds, and often hills or trees between."""
    colours = textures.palette(rng)
    y, x = _rows_and_columns(height, width)
    canvas = np.empty((3, height, width), np.float32)
    sky = np.array([[0.45, 0.62, 0.85], [0.75, 0.84, 0.92], [0.93, 0.82, 0.7], [0.6, 0.63, 0.68]],
                   np.float32)[rng.permutation(4)]
    fall = np.clip(y / np.float32(horizon), 0, 1)
    cloud = textures.fractal(x * np.float32(0.7) + 0 * y, y * np.float32(1.6) + 0 * x)
    cloud = np.clip(cloud * np.float32(0.5) + np.float32(rng.uniform(-0.4, 0.3)), 0, 1)
    canvas[:] = mix(sky[0], sky[1], fall)
    canvas += (np.float32(0.95) - canvas) * cloud * np.float32(0.7)
    if rng.random() < 0.75:
        ridge = textures.fractal(x[0] * np.float32(0.5) + rng.uniform(0, 99), 0 * x[0])
        top = np.float32(horizon) - np.float32(height * rng.uniform(0.03, 0.09)) * (ridge + 1.6)
        hill = np.clip(y - top[None, :], 0, 1)
        tone = colours[2] * 0.55 + sky[1] * 0.25
        rough = textures.fractal(x + 0 * y, y + 50 + 0 * x) * np.float32(0.05)
        canvas += (tone[:, None, None] + rough - canvas) * hill
    green = np.array([[0.28, 0.4, 0.14], [0.48, 0.52, 0.24]], np.float32)
    near, far = green if rng.random() < 0.5 else colours[:2]
    first, across, depth, nearness = _perspective(height, width, horizon, 0.5)
    blades = textures.noise(x * np.float32(1.7) + 0 * depth, y[first:] * np.float32(0.6) + 0 * x,
                            rng.uniform(4, 7))
    patches = textures.fractal(across * np.float32(0.3), depth * np.float32(0.5))
    weight = np.float32(0.45) + 0.22 * patches * np.clip(nearness * 2, 0.2, 1)
    weight = weight + np.float32(rng.uniform(0.08, 0.3)) * blades * np.clip(nearness * 2, 0.15, 1)
    canvas[:, first:] = mix(near, far, weight)
    return canvas


def surface(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A flat surface seen from above: a cloth, boards, stone, gravel, lawn."""
    colours = textures.palette(rng)
    y, x = _rows_and_columns(height, width)
    x, y = x + 0 * y, y + 0 * x
    size = rng.uniform(0.06, 0.4) * max(height, width)
    weight = _pattern_weight(rng, x, y, size)
    canvas = mix(colours[0], colours[1], weight * np.float32(rng.uniform(0.3, 1.0)))
    light = np.float32(1) + np.float32(0.1) * textures.noise(x * 0.4, y * 0.4, 72.0)
    return canvas * light


def litter(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A clutter of small overlapping leaves, pebbles or confetti, seen from above."""
    colours = textures.palette(rng)
    side = max(height, width)
    size = side * rng.uniform(0.012, 0.05)
    image = Image.new("RGB", (width, height), tuple(int(c * 255) for c in colours[0]))
    draw = ImageDraw.Draw(image)
    count = int(min(1.6 * height * width / (size * size * 3), 700))
    centres = rng.uniform(0, 1, (count, 2)) * (width, height)
    sizes = size * rng.uniform(0.5, 1.5, (count, 2))
    tones = colours[rng.integers(0, 6, count)] * rng.uniform(0.55, 1.1, (count, 1))
    tones = np.clip(tones * 255, 0, 255).astype(int)
    round_ones, angles = rng.random() < 0.6, rng.uniform(0, 2 * np.pi, (count, 4)).cumsum(1)
    for (x, y), (a, b), tone, angle in zip(centres, sizes, tones, angles, strict=True):
        fill = (int(tone[0]), int(tone[1]), int(tone[2]))
        if round_ones:
            draw.ellipse((x - a, y - b, x + a, y + b), fill=fill)
        else:
            turn = angle[0]
            c, s = np.cos(turn), np.sin(turn)
            corners = ((1.5, 0), (0.3, 0.6), (-1.3, 0.1), (0.1, -0.6))
            draw.polygon(
                [(x + a * (p * c - q * s), y + a * (p * s + q * c)) for p, q in corners], fill=fill
            )
    canvas = np.moveaxis(np.asarray(image), -1, 0).astype(np.float32) / 255
    y, x = _rows_and_columns(height, width)
    relief = np.float32(1) + np.float32(0.1) * textures.noise(x + 0 * y, y + 0 * x, 5.0)
    return blur(canvas * relief, rng.uniform(0.5, 1.2))


def bokeh(
    rng: np.random.Generator, height: int, width: int, horizon: float
) -> np.ndarray:
    """Something far out of focus above a ground: soft patches of colour and discs of light."""
    colours = textures.palette(rng)
    coarse = colours[rng.integers(0, 6, (int(rng.integers(4, 9)), int(rng.integers(4, 9))))]
    coarse = coarse * rng.uniform(0.6, 1.0, (*coarse.shape[:2], 1))
    small = Image.fromarray(np.clip(coarse * 255, 0, 255).astype(np.uint8))
    image = small.resize((width, height), Image.Resampling.BICUBIC)
    canvas = np.moveaxis(np.asarray(image), -1, 0).astype(np.float32) / 255
    side = max(height, width)
    for _ in range(int(rng.integers(0, 14))):
        radius = side * rng.uniform(0.015, 0.06)
        cx, cy = rng.uniform(0, width), rng.uniform(0, height * 0.6)
        rows = slice(max(int(cy - radius - 2), 0), int(cy + radius + 3))
        columns = slice(max(int(cx - radius - 2), 0), int(cx + radius + 3))
        y, x = np.ogrid[rows.start:min(rows.stop, height), columns.start:min(columns.stop, width)]
        disc = np.clip((radius - np.hypot(x - cx, y - cy)) / 2, 0, 1).astype(np.float32)
        canvas[:, rows, columns] += np.float32(rng.uniform(0.06, 0.25)) * disc
    first, across, depth, nearness = _perspective(height, width, horizon, 0.5)
    weight = _pattern_weight(rng, across, depth, 0.25 * side)
    ground = mix(colours[4], colours[5], weight * np.float32(0.6))
    share = np.clip(nearness * np.float32(3), 0, 1)
    canvas[:, first:] += (ground - canvas[:, first:]) * share
    return canvas


# Kinds with the range of their horizon as a share of the height.
_LEVEL = (
    (studio, 0.3, 0.55), (room, 0.3, 0.58), (room, 0.3, 0.58), (field, 0.18, 0.5),
    (field, 0.18, 0.5), (bokeh, 0.4, 0.7),
)
_FROM_ABOVE = (surface, surface, litter)


def random_setting(rng: np.random.Generator, height: int) -> Setting:
    """A kind of background; two in three have a horizon."""
    if rng.random() < 1 / 3:
        return Setting(_FROM_ABOVE[rng.integers(len(_FROM_ABOVE))], None)
    paint, low, high = _LEVEL[rng.integers(len(_LEVEL))]
    return Setting(paint, height * rng.uniform(low, high))


def paint_background(
    rng: np.random.Generator, setting: Setting, height: int, width: int
) -> np.ndarray:
    """A canvas [3, height, width], defocused more or less (or not at all)."""
    if setting.horizon is None:
        canvas = setting.paint(rng, height, width)
    else:
        canvas = setting.paint(rng, height, width, setting.horizon)
    radius = rng.choice([0.0, 0.6, 1.2, 2.5], p=[0.25, 0.35, 0.25, 0.15])
    radius *= max(height, width) / 400
    if radius > 0.4:  # less cannot be seen
        canvas = blur(canvas, radius)
    return canvas.astype(np.float32, copy=False)
