"""Light, shadow and colour of the drawn scenes."""

import dataclasses

import numpy as np
from PIL import Image, ImageFilter

from experiments.datasets.scenes import textures
from experiments.datasets.scenes.backgrounds import Setting, mix, to_bytes
from experiments.datasets.scenes.layout import Placed

_SKIN = ("f1cdb0", "e0ac86", "c58c63", "9a6544", "6f4630", "4b2f22")
_COARSE = 4  # shadows are soft: one sample in so many pixels


@dataclasses.dataclass(frozen=True, eq=False)
class _Material:
    """What an object is made of: two colours mixed by a pattern, and one for each further slot."""

    pattern: textures.Pattern
    colours: np.ndarray  # [6, 3]: two of the body, then second, third, dark, eye
    gloss: float
    bumps: float
    bump_size: float


@dataclasses.dataclass(frozen=True, eq=False)
class _Light:
    direction: np.ndarray  # towards the light: right, down, to the viewer
    ambient: float
    strength: float
    tint: np.ndarray


def paint_scene(
    rng: np.random.Generator,
    canvas: np.ndarray,
    placed: list[Placed],
    instances: np.ndarray,
    setting: Setting,
) -> np.ndarray:
    """Paints objects (back to front) with their shadows on a canvas [3, H, W], in place.

    Returns:
      The photograph, uint8 [H, W, 3].
    """
    light = _light(rng)
    depth = rng.uniform(0.45, 0.75)
    if setting.horizon is None:
        shadow = _dropped_shadows(rng, light, placed, instances.shape)
    else:
        shadow = _cast_shadows(rng, light, placed, instances.shape, setting.horizon)
    canvas *= 1 - np.float32(depth) * shadow
    materials = _materials(rng, placed, canvas)
    for number, (thing, material) in enumerate(zip(placed, materials, strict=True)):
        if any(_near(thing, other) for other in placed[:number]):
            _darken_around(canvas, thing, light, depth)
        _paint_object(rng, canvas, thing, material, light, setting.horizon is not None)
    return _photograph(rng, canvas)


def _light(rng: np.random.Generator) -> _Light:
    side = rng.uniform(-0.95, 0.95)
    direction = np.array([side, -rng.uniform(0.35, 1.0), rng.uniform(0.5, 1.1)], np.float32)
    ambient = rng.uniform(0.35, 0.65)
    warm = rng.uniform(-0.07, 0.07)
    return _Light(
        direction / np.sqrt((direction**2).sum()),
        ambient,
        rng.uniform(0.75, 1.0) * (1.25 - ambient),
        np.array([1 + warm, 1.0, 1 - warm], np.float32),
    )


def _materials(
    rng: np.random.Generator, placed: list[Placed], canvas: np.ndarray
) -> list[_Material]:
    """A material for each object; those of one template differ by a shade."""
    made: dict[int, _Material] = {}
    materials = []
    shared = textures.palette(rng) if rng.random() < 0.5 else None
    for thing in placed:
        if thing.template not in made:
            made[thing.template] = _material(rng, thing, shared, canvas)
        material = made[thing.template]
        shade = rng.normal(0, 0.02, (6, 3)) + rng.normal(0, 0.025, (6, 1))
        colours = np.clip(material.colours + shade, 0.01, 0.98).astype(np.float32)
        materials.append(dataclasses.replace(material, colours=colours))
    return materials


def _material(
    rng: np.random.Generator, thing: Placed, shared: np.ndarray | None, canvas: np.ndarray
) -> _Material:
    colours = np.array(rng.permutation(shared) if shared is not None else textures.palette(rng))
    if rng.random() < 0.2:
        # Camouflage: the colour of some point of the background.
        row, column = rng.integers(canvas.shape[1]), rng.integers(canvas.shape[2])
        colours[0] = np.clip(canvas[:, row, column] * 1.15, 0.05, 0.95)
    colours[4] *= 0.3
    colours[5] = 0.06
    if thing.shape.people:
        skin = bytes.fromhex(_SKIN[rng.integers(len(_SKIN))])
        colours[3] = np.array(list(skin), np.float32) / 255
        colours[4] = np.array([[0.1, 0.08, 0.07], [0.3, 0.2, 0.12], [0.65, 0.5, 0.3],
                               [0.45, 0.22, 0.12]], np.float32)[rng.integers(4)]
    size = thing.pose.scale
    return _Material(
        textures.random_pattern(rng, size),
        colours.astype(np.float32),
        gloss=float(rng.choice([0.0, 0.05, 0.2, 0.45], p=[0.35, 0.25, 0.25, 0.15])),
        bumps=float(rng.choice([0.0, 0.25, 0.6], p=[0.6, 0.25, 0.15])),
        bump_size=rng.uniform(5, 16),
    )


def _upsampled(coarse: np.ndarray, radius: float, shape: tuple[int, int]) -> np.ndarray:
    """A coarse layer in [0, 1], blurred by a radius in its own pixels and brought to full size."""
    image = Image.fromarray(to_bytes(coarse)).filter(ImageFilter.GaussianBlur(float(radius)))
    # The coarse layer may reach a little beyond the image: the box is the image itself.
    image = image.resize(
        (shape[1], shape[0]), Image.Resampling.BILINEAR,
        box=(0, 0, shape[1] / _COARSE, shape[0] / _COARSE),
    )
    return np.asarray(image).astype(np.float32) * np.float32(1 / 255)


def _coarse_mask(thing: Placed, shape: tuple[int, int]) -> np.ndarray:
    """The object's mask, one sample in `_COARSE` pixels, on a layer that covers the image."""
    layer = np.zeros((-(-shape[0] // _COARSE), -(-shape[1] // _COARSE)), bool)
    top, left = -(-thing.rows.start // _COARSE), -(-thing.columns.start // _COARSE)
    samples = thing.mask[
        top * _COARSE - thing.rows.start :: _COARSE, left * _COARSE - thing.columns.start :: _COARSE
    ]
    layer[top : top + samples.shape[0], left : left + samples.shape[1]] = samples
    return layer


def _shifted(mask: np.ndarray, rows: int, columns: int) -> np.ndarray:
    padded = np.pad(mask, ((max(rows, 0), max(-rows, 0)), (max(columns, 0), max(-columns, 0))))
    return padded[
        max(-rows, 0) : max(-rows, 0) + mask.shape[0],
        max(-columns, 0) : max(-columns, 0) + mask.shape[1],
    ]


def _dropped_shadows(
    rng: np.random.Generator, light: _Light, placed: list[Placed], shape: tuple[int, int]
) -> np.ndarray:
    """Shadows of things that lie on a surface: displaced away from the light."""
    reach = rng.uniform(0.015, 0.05) * max(shape) / _COARSE
    layer = np.zeros((-(-shape[0] // _COARSE), -(-shape[1] // _COARSE)), np.float32)
    rows, columns = (int(np.rint(-light.direction[i] * reach)) for i in (1, 0))
    for thing in placed:
        layer = np.maximum(layer, _shifted(_coarse_mask(thing, shape), rows, columns))
    return _upsampled(layer, max(0.5 * reach, 0.8), shape)


def _cast_shadows(
    rng: np.random.Generator,
    light: _Light,
    placed: list[Placed],
    shape: tuple[int, int],
    horizon: float,
) -> np.ndarray:
    """Shadows of upright things on the ground: sheared, flattened, darkest where they stand."""
    layer = np.zeros((-(-shape[0] // _COARSE), -(-shape[1] // _COARSE)), np.float32)
    y = np.arange(layer.shape[0], dtype=np.float32)[:, None]
    x = np.arange(layer.shape[1], dtype=np.float32)[None, :]
    flat, shear = rng.uniform(0.15, 0.35), -light.direction[0] * rng.uniform(0.5, 1.1)
    strength = np.float32(rng.uniform(0.35, 0.9))
    for thing in placed:
        left, _, right, bottom = thing.pose.extent(thing.shape)
        base = np.float32(bottom / _COARSE - 0.5)
        lift = (base - y) * np.float32(1 / flat)
        rows = np.rint(base - lift).astype(np.int32)
        columns = np.rint(x - np.float32(shear) * lift).astype(np.int32)
        valid = (rows >= 0) & (rows < layer.shape[0]) & (lift >= 0)
        valid = valid & (columns >= 0) & (columns < layer.shape[1])
        mask = _coarse_mask(thing, shape)
        seen = mask[
            np.clip(rows, 0, layer.shape[0] - 1), np.clip(columns, 0, layer.shape[1] - 1)
        ]
        layer = np.maximum(layer, strength * (seen & valid))
        half = (right - left) * 0.42 / _COARSE
        dx = (x - np.float32((left + right) / 2 / _COARSE)) / np.float32(half)
        dy = (y - base + np.float32(0.05 * half)) / np.float32(0.22 * half + 0.6)
        layer = np.maximum(layer, np.clip(1.5 - dx * dx - dy * dy, 0, 1))
    # What reaches the wall or the sky is weak.
    layer[: int(horizon / _COARSE)] *= np.float32(0.25)
    return _upsampled(layer, rng.uniform(0.6, 1.4), shape)


def _near(one: Placed, other: Placed) -> bool:
    """Whether the boxes of two objects overlap."""
    return (
        max(one.rows.start, other.rows.start) < min(one.rows.stop, other.rows.stop)
        and max(one.columns.start, other.columns.start) < min(one.columns.stop, other.columns.stop)
    )


def _darken_around(canvas: np.ndarray, thing: Placed, light: _Light, depth: float) -> None:
    """A soft dark rim on what lies behind an object, displaced away from the light."""
    margin = 3 * _COARSE
    rows = slice(max(thing.rows.start - margin, 0), thing.rows.stop + margin)
    columns = slice(max(thing.columns.start - margin, 0), thing.columns.stop + margin)
    part = canvas[:, rows, columns]
    local = dataclasses.replace(
        thing,
        rows=slice(thing.rows.start - rows.start, thing.rows.stop - rows.start),
        columns=slice(thing.columns.start - columns.start, thing.columns.stop - columns.start),
    )
    mask = _coarse_mask(local, part.shape[1:])
    shift = [int(np.rint(-light.direction[i] * 1.2)) for i in (1, 0)]
    halo = _upsampled(_shifted(mask, *shift).astype(np.float32), 1.1, part.shape[1:])
    part *= 1 - np.float32(0.6 * depth) * halo


def _slope(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Central differences to the right and downwards, 0 at the array's border."""
    right, down = np.zeros_like(values), np.zeros_like(values)
    right[:, 1:-1] = (values[:, 2:] - values[:, :-2]) * np.float32(0.5)
    down[1:-1] = (values[2:] - values[:-2]) * np.float32(0.5)
    return right, down


def _coverage(field: np.ndarray) -> np.ndarray:
    """Share of each pixel inside the outline, from the field and its slope."""
    right, down = _slope(field)
    slope = np.sqrt(right * right + down * down)
    return np.clip(np.float32(0.5) - field / np.maximum(slope, np.float32(1e-6)), 0, 1)


def _paint_object(
    rng: np.random.Generator,
    canvas: np.ndarray,
    thing: Placed,
    material: _Material,
    light: _Light,
    upright: bool,
) -> None:
    scale = np.float32(thing.pose.scale)
    grain = thing.surface.grain or (thing.u, thing.v)
    x, y = grain[0] * scale, grain[1] * scale
    relief = thing.surface.height * scale
    if material.bumps:
        bumps = textures.noise(x, y, material.bump_size)
        relief = relief + bumps * np.float32(material.bumps * material.bump_size / 16)
    right, down = _slope(relief)
    if thing.surface.normal is not None:
        length = 1 / np.sqrt(right * right + down * down + 1)
        across, below, nz = thing.surface.normal
        across = -across if thing.pose.mirrored else across
        c, s = np.float32(np.cos(thing.pose.angle)), np.float32(np.sin(thing.pose.angle))
        nx, ny = c * across + s * below - right * length, c * below - s * across - down * length
    else:
        nx, ny = np.clip(-right, -4, 4), np.clip(-down, -4, 4)
        nz = np.float32(1)
    length = 1 / np.sqrt(nx * nx + ny * ny + nz * nz)
    lx, ly, lz = (float(c) for c in light.direction)
    facing = np.maximum((nx * np.float32(lx) + ny * np.float32(ly) + nz * np.float32(lz))
                        * length, 0)
    # Light from the sky on what faces up, and from the ground a little on what faces down.
    shade = np.float32(light.ambient) * (1 - np.float32(0.3) * ny * length)
    shade = shade + np.float32(light.strength) * facing
    if upright:
        _, low, _, high = thing.shape.box
        rise = (thing.v - np.float32(low)) * np.float32(1 / (0.35 * (high - low)))
        shade = shade * np.clip(np.float32(0.72) + np.float32(0.28) * rise, 0.72, 1)
    # A pattern on a round body crowds together towards the outline.
    bulge = 1 + np.float32(0.35) * (1 - nz * length)
    shift = rng.uniform(0, 200, 2)
    weight = material.pattern(x * bulge + np.float32(shift[0]), y * bulge + np.float32(shift[1]))
    colour = mix(material.colours[0], material.colours[1], weight)
    slot = thing.surface.slot
    if slot is not None:
        for number in range(1, 5):
            where = slot == number
            if where.any():
                np.copyto(colour, material.colours[number + 1][:, None, None], where=where)
    colour *= shade * light.tint[:, None, None]
    if material.gloss:
        half = np.array([lx, ly, lz + 1]) / np.sqrt(lx * lx + ly * ly + (lz + 1) ** 2)
        spark = np.maximum((nx * np.float32(half[0]) + ny * np.float32(half[1])
                            + nz * np.float32(half[2])) * length, 0)
        spark = np.square(np.square(np.square(np.square(spark))))
        colour += np.float32(material.gloss) * spark * spark
    part = canvas[:, thing.rows, thing.columns]
    part += (colour - part) * _coverage(thing.surface.field)


def _photograph(rng: np.random.Generator, canvas: np.ndarray) -> np.ndarray:
    """Exposure, darker corners, sensor noise."""
    _, height, width = canvas.shape
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    corners = 1 - np.float32(rng.uniform(0, 0.12)) * (x * x + y * y)
    # A camera brightens dark scenes and dims bright ones, but not all the way.
    exposure = np.clip((0.45 / max(float(canvas.mean()), 0.01)) ** 0.6, 0.8, 1.8)
    canvas = canvas * (corners * np.float32(exposure * rng.uniform(0.85, 1.1)))
    noise = rng.standard_normal(canvas.shape, dtype=np.float32)
    canvas += noise * np.float32(rng.uniform(0.003, 0.022))
    return np.ascontiguousarray(np.moveaxis(to_bytes(canvas), 0, -1))
