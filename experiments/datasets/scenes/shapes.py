"""Outlines and reliefs of the objects in the drawn scenes.

A shape lives in its own coordinates: u to the right, v up, in units chosen by the shape. Its
surface is a function of two float32 arrays of coordinates, so that a pose (place, size, turn) is
applied by whoever draws it.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

_TABLE = 1024
# Slots of a surface: which colour of the object a point has.
BODY, SECOND, THIRD, DARK, EYE = 0, 1, 2, 3, 4


@dataclasses.dataclass(frozen=True, eq=False)
class Surface:
    """What a shape says about points: arrays of the coordinates' shape.

    Attributes:
      field: negative inside, zero on the outline, positive outside; not a distance.
      height: relief towards the viewer in the shape's units, 0 outside.
      slot: uint8 colour slot, or None where all is body.
      normal: [3, ...] normals (right, down, to the viewer) where the relief does not give them.
      grain: coordinates for patterns where u and v would cross an edge as if it were flat.
    """

    field: np.ndarray
    height: np.ndarray
    slot: np.ndarray | None = None
    normal: np.ndarray | None = None
    grain: tuple[np.ndarray, np.ndarray] | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Shape:
    """A surface and the box that holds its inside: (left, bottom, right, top)."""

    surface: Callable[[np.ndarray, np.ndarray], Surface]
    box: tuple[float, float, float, float]
    people: bool = False

    def area(self) -> float:
        """Area inside the outline in square units, measured on a coarse grid."""
        left, bottom, right, top = self.box
        steps = (np.arange(32, dtype=np.float32) + 0.5) / 32
        u, v = np.meshgrid(left + steps * (right - left), bottom + steps * (top - bottom))
        inside = self.surface(u.astype(np.float32), v.astype(np.float32)).field < 0
        return float(max(inside.mean(), 0.02) * (right - left) * (top - bottom))


def ellipse(a: float, b: float, power: float = 2.0, dome: float = 0.8) -> Shape:
    """The superellipse abs(u/a)^power + abs(v/b)^power < 1, domed."""
    depth = np.float32(dome * min(a, b))

    def surface(u, v):
        x, y = np.abs(u * np.float32(1 / a)), np.abs(v * np.float32(1 / b))
        if power == 2.0:
            value = x * x + y * y
        else:
            value = x ** np.float32(power) + y ** np.float32(power)
        return Surface(value - 1, depth * np.sqrt(np.maximum(1 - value, 0)))

    return Shape(surface, (-a, -b, a, b))


def _polar(radii: np.ndarray, dome: float, power: float) -> Shape:
    """A shape given by its radius at `_TABLE` equal angles from 0."""
    closed = np.append(radii, radii[0]).astype(np.float32)
    angles = np.arange(_TABLE) * (2 * np.pi / _TABLE)
    x, y = radii * np.cos(angles), radii * np.sin(angles)
    depth = np.float32(dome * radii.min())

    def surface(u, v):
        turn = np.arctan2(v, u) * np.float32(_TABLE / (2 * np.pi))
        turn = np.where(turn < 0, turn + _TABLE, turn)
        index = np.minimum(turn.astype(np.int32), _TABLE - 1)
        fraction = turn - index
        low = closed.take(index)
        radius = low + fraction * (closed.take(index + 1) - low)
        ratio = np.sqrt(u * u + v * v) / radius
        return Surface(
            ratio - 1, depth * np.sqrt(np.maximum(1 - ratio ** np.float32(power), 0))
        )

    return Shape(surface, (float(x.min()), float(y.min()), float(x.max()), float(y.max())))


def _angles() -> np.ndarray:
    return np.arange(_TABLE) * (2 * np.pi / _TABLE)


def _smooth_ring(values: np.ndarray, width: int) -> np.ndarray:
    """Moving average on a ring, twice, so that corners become round."""
    for _ in range(2):
        total = np.cumsum(np.concatenate([values[-width:], values]))
        values = np.roll((total[width:] - total[:-width]) / width, -(width // 2))
    return values


def stone(rng: np.random.Generator) -> Shape:
    """A superellipse between a diamond-like and a brick-like one."""
    return ellipse(1.0, rng.uniform(0.55, 1.2), rng.uniform(1.7, 4.5), rng.uniform(0.6, 0.95))


def ball(rng: np.random.Generator) -> Shape:
    """A ball."""
    return ellipse(1.0, 1.0, dome=1.0)


def blob(rng: np.random.Generator) -> Shape:
    """A contour of a few Fourier waves."""
    angles = _angles()
    radii = np.ones(_TABLE)
    for k in range(2, 7):
        size = rng.normal(0, 0.32 / k)
        radii += size * np.cos(k * angles + rng.uniform(0, 2 * np.pi))
    return _polar(np.clip(radii, 0.45, 1.7), rng.uniform(0.5, 0.9), rng.uniform(1.8, 3.0))


def polygon(rng: np.random.Generator) -> Shape:
    """A rounded polygon of 3 to 7 corners at uneven angles."""
    corners = int(rng.integers(3, 8))
    at = (np.arange(corners) + rng.uniform(-0.22, 0.22, corners)) * (2 * np.pi / corners)
    at = at + rng.uniform(0, 2 * np.pi / corners)
    angles = _angles()
    # The polygon is the intersection of half-planes at distance 1 from the centre.
    cosines = np.cos(angles[:, None] - at[None, :]).max(1)
    radii = _smooth_ring(1 / np.maximum(cosines, 0.42), int(rng.integers(20, 60)))
    return _polar(radii, rng.uniform(0.3, 0.7), rng.uniform(3, 9))


def star(rng: np.random.Generator) -> Shape:
    """A star of 5 to 8 points with rounded tips."""
    points = int(rng.integers(5, 9))
    depth = rng.uniform(0.35, 0.6)
    wave = np.abs(((_angles() * points / (2 * np.pi)) % 1) - 0.5) * 2
    radii = 1 - depth * (1 - wave) ** rng.uniform(0.8, 1.3)
    return _polar(_smooth_ring(radii, int(rng.integers(8, 26))), rng.uniform(0.5, 0.9), 1.6)


def flower(rng: np.random.Generator) -> Shape:
    """Petals around a disc of the second colour."""
    petals = int(rng.integers(5, 10))
    radii = 1 - rng.uniform(0.25, 0.45) * (1 - np.abs(np.cos(_angles() * petals / 2)) ** 0.7)
    outline = _polar(_smooth_ring(radii, 10), rng.uniform(0.3, 0.6), 2.0)
    core = np.float32(rng.uniform(0.22, 0.38))

    def surface(u, v):
        base = outline.surface(u, v)
        square = (u * u + v * v) / (core * core)
        disc = np.float32(0.3) + core * np.float32(0.7) * np.sqrt(np.maximum(1 - square, 0))
        inside = square < 1
        return Surface(
            base.field,
            np.where(inside, base.height + disc, base.height),
            np.where(inside, SECOND, BODY).astype(np.uint8),
        )

    return Shape(surface, outline.box)


def _profile(
    widths: np.ndarray,
    depth: float,
    bow: float,
    bands: tuple[tuple[float, float, int], ...] = (),
    mouth: int | None = None,
) -> Shape:
    """Half-widths at equal steps of v from -1 to 1; turned on a lathe (depth 1) or flat.

    `bands` are (from, to, slot); `mouth` is the slot of the round top, None without one.
    """
    table = np.append(widths, widths[-1]).astype(np.float32)
    last = len(widths) - 1
    widest = float(widths.max())
    opening = float(widths[-1])
    rise = max(bow * (opening / widest) ** 2 * 1.6, 1e-3)

    def surface(u, v):
        # A lathe's circles, seen from a little above, bow downwards in the middle.
        w = v + np.float32(bow) * (1 - u * u * np.float32(1 / widest**2))
        place = np.clip((w + 1) * np.float32(last / 2), 0, last)
        index = place.astype(np.int32)
        low = table.take(index)
        half = low + (place - index) * (table.take(index + 1) - low)
        height = np.float32(depth) * np.sqrt(np.maximum(half * half - u * u, 0))
        slot = None
        if bands:
            slot = np.zeros(u.shape, np.uint8)
            for low_edge, high_edge, which in bands:
                slot[(w > low_edge) & (w < high_edge)] = which
        field = np.maximum(np.abs(u) - half, np.abs(w) - 1)
        if mouth is not None:
            x = u * np.float32(1 / opening)
            y = (v - np.float32(1 - bow * (1 - (opening / widest) ** 2))) * np.float32(1 / rise)
            ring = x * x + y * y
            field = np.minimum(field, (ring - 1) * np.float32(rise))
            height = np.where(ring < 1, np.float32(0.1) * u, height)
            slot = np.zeros(u.shape, np.uint8) if slot is None else slot
            slot[ring < 0.8] = mouth
        return Surface(field, height, slot)

    return Shape(surface, (-widest, -1 - bow, widest, 1.0 + rise))


def vase(rng: np.random.Generator) -> Shape:
    """A vase: a smooth profile through a few random widths."""
    knots = np.array([0.3, rng.uniform(0.4, 0.75), rng.uniform(0.5, 0.8), rng.uniform(0.25, 0.6),
                      rng.uniform(0.16, 0.4), rng.uniform(0.25, 0.5)])
    at = np.array([-1, -0.6, -0.15, 0.35, 0.75, 1.0])
    steps = np.linspace(-1, 1, 256)
    widths = _smooth_ends(np.interp(steps, at, knots), 41)
    bands = ()
    if rng.random() < 0.5:
        middle = rng.uniform(-0.5, 0.3)
        bands = ((middle, middle + rng.uniform(0.1, 0.3), SECOND),)
    return _profile(widths, 1.0, rng.uniform(0.08, 0.16), bands, DARK)


def bottle(rng: np.random.Generator) -> Shape:
    """A bottle with shoulders, a neck, a cap and sometimes a label."""
    body, neck = rng.uniform(0.34, 0.5), rng.uniform(0.11, 0.17)
    shoulder = rng.uniform(0.05, 0.35)
    at = [-1, -0.97, shoulder, shoulder + rng.uniform(0.2, 0.35), 0.8, 0.81, 1.0]
    steps = np.linspace(-1, 1, 256)
    widths = np.interp(steps, at, [body * 0.9, body, body, neck, neck, neck * 1.25, neck * 1.2])
    bands = ((0.8, 1.5, SECOND),)
    if rng.random() < 0.7:
        bands += ((rng.uniform(-0.8, -0.6), shoulder - rng.uniform(0.05, 0.2), THIRD),)
    return _profile(_smooth_ends(widths, 13), 1.0, rng.uniform(0.04, 0.09), bands, SECOND)


def leaf(rng: np.random.Generator) -> Shape:
    """A leaf with a midrib, veins and sometimes a toothed margin."""
    steps = np.linspace(0, 1, 256)
    peak = rng.uniform(0.7, 1.3)
    widths = rng.uniform(0.38, 0.65) * np.sin(np.pi * steps**peak) ** rng.uniform(0.7, 1.1)
    if rng.random() < 0.5:
        widths = widths * (1 - 0.13 * ((steps * rng.integers(9, 16)) % 1))
    widths = np.maximum(widths, 0.025 * (steps < 0.5) + 0.002)
    blade = _profile(widths, rng.uniform(0.25, 0.45), 0.0)
    lean, count = np.float32(rng.uniform(0.5, 0.9)), np.float32(rng.uniform(4, 7))

    def surface(u, v):
        base = blade.surface(u, v)
        side = np.abs(u)
        ladder = (v - lean * side) * count
        rib = (side < 0.022) | (np.abs(ladder - np.round(ladder)) < 0.07)
        return Surface(base.field, base.height, np.where(rib, SECOND, BODY).astype(np.uint8))

    return Shape(surface, blade.box)


def _smooth_ends(values: np.ndarray, width: int) -> np.ndarray:
    padded = np.pad(values, width // 2, mode="edge")
    return np.convolve(padded, np.ones(width) / width, mode="valid")


def mug(rng: np.random.Generator) -> Shape:
    """A mug: a cylinder seen from a little above, its dark inside, and a handle with a hole."""
    r, h = rng.uniform(0.6, 0.85), rng.uniform(0.6, 0.95)
    e = rng.uniform(0.12, 0.26) * r
    taper = rng.uniform(-0.12, 0.08)
    ring_v, ring_a, ring_b = rng.uniform(-0.1, 0.1), rng.uniform(0.3, 0.42), rng.uniform(0.55, 0.7)
    ring_b, thick = ring_b * h, rng.uniform(0.2, 0.3)
    wide = r * (1 + abs(taper))
    rim = np.float32(0.88)

    def surface(u, v):
        half = np.float32(r) * (1 - np.float32(taper) * v * np.float32(1 / h))
        x = u / half
        arc = np.float32(e) * np.sqrt(np.maximum(1 - x * x, 0))
        body = np.maximum(np.abs(u) - half, np.abs(v) - np.float32(h) - arc)
        q = np.square((v - np.float32(h)) * np.float32(1 / e)) + x * x
        du = (u - np.float32(r)) * np.float32(1 / ring_a)
        dv = (v - np.float32(ring_v)) * np.float32(1 / ring_b)
        ring = np.abs(np.sqrt(du * du + dv * dv) - 1) - np.float32(thick)
        height = np.sqrt(np.maximum(half * half - u * u, 0)) + np.float32(0.3)
        tube = np.float32(0.35) * np.sqrt(np.maximum(np.float32(thick**2) - np.square(
            ring + np.float32(thick)), 0))
        height = np.where(body < 0, height, tube)
        # The inside is hollow: its relief falls where the outside's rises.
        hollow = q < rim * rim
        height = np.where(q < 1, np.where(hollow, 1 - height * np.float32(0.6), 0.3), height)
        slot = np.where(hollow, SECOND, BODY).astype(np.uint8)
        field = np.minimum(body, ring * np.float32(ring_a))
        return Surface(field, height.astype(np.float32), slot)

    return Shape(surface, (-wide, -h - e, r + ring_a * (1 + thick), h + e))


def box(rng: np.random.Generator) -> Shape:
    """A box with three visible faces, seen from a little above."""
    wa, wb = rng.uniform(0.35, 1.0), rng.uniform(0.35, 1.0)
    h = rng.uniform(0.5, 1.5)
    sa, sb = wa * rng.uniform(0.25, 0.55), wb * rng.uniform(0.25, 0.55)
    ka, kb = np.float32(sa / wa), np.float32(sb / wb)
    faces = np.array([[-0.75, 0.15, 0.64], [0.75, 0.15, 0.64], [0.0, -0.9, 0.43]], np.float32)
    lid = rng.random() < 0.5
    # On the lid, u = b wb - a wa and v = a sa + b sb with a, b in [0, 1].
    edge_a, edge_b = 1.2 * wa / (sa + kb * wa), 1.2 * wb / (sb + ka * wb)
    low = -(h + sa + sb) / 2

    def surface(u, v):
        w = v - np.float32(low)
        near = np.maximum(-u * ka, u * kb)
        far = np.minimum(
            np.float32(h + sa) + (u + np.float32(wa)) * kb,
            np.float32(h + sb) + (np.float32(wb) - u) * ka,
        )
        field = np.maximum(np.maximum(near - w, w - far), np.maximum(-wa - u, u - wb))
        face = np.where(w > near + np.float32(h), 2, (u > 0).astype(np.int32))
        slot = np.where(face == 2, SECOND, BODY).astype(np.uint8) if lid else None
        normal = np.moveaxis(faces.take(face, axis=0), -1, 0)
        # Along the edges of each face, so that a pattern lies on the faces.
        top = w - np.float32(h)
        across = np.where(face == 2, (top - ka * u) * np.float32(edge_b), u * np.float32(1.2))
        along = np.where(face == 2, (top + kb * u) * np.float32(edge_a), w - near)
        return Surface(
            field.astype(np.float32), np.zeros_like(u), slot, normal, (across + 3 * face, along)
        )

    return Shape(surface, (-wa, low, wb, low + h + sa + sb))
