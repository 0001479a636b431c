"""Inanimate objects of the drawn scenes: pots, boxes, stones, and flat figures."""

import numpy as np
from numpy.random import Generator

from experiments.datasets.scenes import shapes
from experiments.datasets.scenes.shapes import BODY, DARK, SECOND, THIRD, Bands, Shape, Surface

_STEPS = np.linspace(-1, 1, 256)


def _smooth_ring(values: np.ndarray, width: int) -> np.ndarray:
    """Moving average on a ring, twice, so that corners become round."""
    for _ in range(2):
        total = np.cumsum(np.concatenate([values[-width:], values]))
        values = np.roll((total[width:] - total[:-width]) / width, -(width // 2))
    return values


def _smooth_ends(values: np.ndarray, width: int) -> np.ndarray:
    """Moving average, with the ends repeated."""
    padded = np.pad(values, width // 2, mode="edge")
    return np.convolve(padded, np.ones(width) / width, mode="valid")


def stone(rng: Generator) -> Shape:
    """A superellipse between a diamond-like and a brick-like one."""
    return shapes.ellipse(1, rng.uniform(0.55, 1.2), rng.uniform(1.7, 4.5), rng.uniform(0.6, 0.95))


def ball(rng: Generator) -> Shape:
    """A ball."""
    return shapes.ellipse(1.0, 1.0, dome=1.0)


def blob(rng: Generator) -> Shape:
    """A contour of a few Fourier waves."""
    radii = np.ones_like(shapes.ANGLES)
    for k in range(2, 7):
        size = rng.normal(0, 0.32 / k)
        radii += size * np.cos(k * shapes.ANGLES + rng.uniform(0, 2 * np.pi))
    return shapes.polar(np.clip(radii, 0.45, 1.7), rng.uniform(0.5, 0.9), rng.uniform(1.8, 3.0))


def polygon(rng: Generator) -> Shape:
    """A rounded polygon of 3 to 7 corners at uneven angles."""
    corners = int(rng.integers(3, 8))
    at = (np.arange(corners) + rng.uniform(-0.22, 0.22, corners)) * (2 * np.pi / corners)
    at = at + rng.uniform(0, 2 * np.pi / corners)
    # The polygon is the intersection of half-planes at distance 1 from the centre.
    cosines = np.cos(shapes.ANGLES[:, None] - at[None, :]).max(1)
    radii = _smooth_ring(1 / np.maximum(cosines, 0.42), int(rng.integers(20, 60)))
    return shapes.polar(radii, rng.uniform(0.3, 0.7), rng.uniform(3, 9))


def star(rng: Generator) -> Shape:
    """A star of 5 to 8 points with rounded tips."""
    points, depth = int(rng.integers(5, 9)), rng.uniform(0.35, 0.6)
    wave = np.abs(((shapes.ANGLES * points / (2 * np.pi)) % 1) - 0.5) * 2
    radii = 1 - depth * (1 - wave) ** rng.uniform(0.8, 1.3)
    return shapes.polar(_smooth_ring(radii, int(rng.integers(8, 26))), rng.uniform(0.5, 0.9), 1.6)


def flower(rng: Generator) -> Shape:
    """Petals around a disc of the second colour."""
    petals = int(rng.integers(5, 10))
    radii = 1 - rng.uniform(0.25, 0.45) * (1 - np.abs(np.cos(shapes.ANGLES * petals / 2)) ** 0.7)
    outline = shapes.polar(_smooth_ring(radii, 10), rng.uniform(0.3, 0.6), 2.0)
    core = np.float32(rng.uniform(0.22, 0.38))

    def surface(u, v):
        base = outline.surface(u, v)
        square = (u * u + v * v) / (core * core)
        disc = 0.3 + core * 0.7 * np.sqrt(np.maximum(1 - square, 0))
        inside = square < 1
        height = np.where(inside, base.height + disc, base.height)
        return Surface(base.field, height, np.where(inside, SECOND, BODY).astype(np.uint8))

    return Shape(surface, outline.box)


def vase(rng: Generator) -> Shape:
    """A vase: a smooth profile through a few random widths."""
    knots = rng.uniform([0.4, 0.5, 0.25, 0.16, 0.25], [0.75, 0.8, 0.6, 0.4, 0.5])
    widths = np.interp(_STEPS, [-1, -0.6, -0.15, 0.35, 0.75, 1.0], [0.3, *knots])
    bands: Bands = ()
    if rng.random() < 0.5:
        middle = rng.uniform(-0.5, 0.3)
        bands = ((middle, middle + rng.uniform(0.1, 0.3), SECOND),)
    return shapes.profile(_smooth_ends(widths, 41), 1.0, rng.uniform(0.08, 0.16), bands, DARK)


def bottle(rng: Generator) -> Shape:
    """A bottle with shoulders, a neck, a cap and sometimes a label."""
    body, neck = rng.uniform(0.34, 0.5), rng.uniform(0.11, 0.17)
    shoulder = rng.uniform(0.05, 0.35)
    at = [-1, -0.97, shoulder, shoulder + rng.uniform(0.2, 0.35), 0.8, 0.81, 1.0]
    widths = np.interp(_STEPS, at, [body * 0.9, body, body, neck, neck, neck * 1.25, neck * 1.2])
    bands: Bands = ((0.8, 1.5, SECOND),)
    if rng.random() < 0.7:
        bands += ((rng.uniform(-0.8, -0.6), shoulder - rng.uniform(0.05, 0.2), THIRD),)
    return shapes.profile(_smooth_ends(widths, 13), 1.0, rng.uniform(0.04, 0.09), bands, SECOND)


def leaf(rng: Generator) -> Shape:
    """A leaf with a midrib, veins and sometimes a toothed margin."""
    steps = np.linspace(0, 1, 256)
    peak = rng.uniform(0.7, 1.3)
    widths = rng.uniform(0.38, 0.65) * np.sin(np.pi * steps**peak) ** rng.uniform(0.7, 1.1)
    if rng.random() < 0.5:
        widths = widths * (1 - 0.13 * ((steps * rng.integers(9, 16)) % 1))
    widths = np.maximum(widths, 0.025 * (steps < 0.5) + 0.002)
    blade = shapes.profile(widths, rng.uniform(0.25, 0.45), 0.0)
    lean, count = rng.uniform(0.5, 0.9), rng.uniform(4, 7)

    def surface(u, v):
        base = blade.surface(u, v)
        side = np.abs(u)
        ladder = (v - lean * side) * count
        rib = (side < 0.022) | (np.abs(ladder - np.round(ladder)) < 0.07)
        return Surface(base.field, base.height, np.where(rib, SECOND, BODY).astype(np.uint8))

    return Shape(surface, blade.box)


def mug(rng: Generator) -> Shape:
    """A mug: a cylinder seen from a little above, its dark inside, and a handle with a hole."""
    r, h = rng.uniform(0.6, 0.85), rng.uniform(0.6, 0.95)
    e, taper = rng.uniform(0.12, 0.26) * r, rng.uniform(-0.12, 0.08)
    ring_v, ring_a, ring_b = rng.uniform(-0.1, 0.1), rng.uniform(0.3, 0.42), rng.uniform(0.55, 0.7)
    ring_b, thick = ring_b * h, rng.uniform(0.2, 0.3)
    wide, rim = r * (1 + abs(taper)), np.float32(0.88)

    def surface(u, v):
        half = r * (1 - taper * v * (1 / h))
        x = u / half
        arc = e * np.sqrt(np.maximum(1 - x * x, 0))
        body = np.maximum(np.abs(u) - half, np.abs(v) - h - arc)
        top = np.square((v - h) * (1 / e)) + x * x
        du, dv = (u - r) * (1 / ring_a), (v - ring_v) * (1 / ring_b)
        ring = np.abs(np.sqrt(du * du + dv * dv) - 1) - thick
        outside = np.sqrt(np.maximum(half * half - u * u, 0)) + 0.3
        tube = 0.35 * np.sqrt(np.maximum(thick**2 - np.square(ring + thick), 0))
        height = np.where(body < 0, outside, tube)
        # The inside is hollow: its relief falls where that of the outside rises.
        hollow = top < rim * rim
        height = np.where(top < 1, np.where(hollow, 1 - height * 0.6, 0.3), height)
        slot = np.where(hollow, SECOND, BODY).astype(np.uint8)
        return Surface(np.minimum(body, ring * ring_a), height, slot)

    return Shape(surface, (-wide, -h - e, r + ring_a * (1 + thick), h + e))


def box(rng: Generator) -> Shape:
    """A box with three visible faces, seen from a little above."""
    wa, wb, h = rng.uniform(0.35, 1.0), rng.uniform(0.35, 1.0), rng.uniform(0.5, 1.5)
    sa, sb = wa * rng.uniform(0.25, 0.55), wb * rng.uniform(0.25, 0.55)
    ka, kb = np.float32(sa / wa), np.float32(sb / wb)
    faces = np.array([[-0.75, 0.15, 0.64], [0.75, 0.15, 0.64], [0.0, -0.9, 0.43]], np.float32)
    lid = rng.random() < 0.5
    # On the lid, u = b wb - a wa and v = a sa + b sb with a, b in [0, 1].
    edge_a, edge_b = float(1.2 * wa / (sa + kb * wa)), float(1.2 * wb / (sb + ka * wb))
    low = -(h + sa + sb) / 2

    def surface(u, v):
        w = v - low
        near = np.maximum(-u * ka, u * kb)
        far = np.minimum(h + sa + (u + wa) * kb, h + sb + (wb - u) * ka)
        field = np.maximum(np.maximum(near - w, w - far), np.maximum(-wa - u, u - wb))
        face = np.where(w > near + h, 2, (u > 0).astype(np.int32))
        slot = np.where(face == 2, SECOND, BODY).astype(np.uint8) if lid else None
        normal = np.moveaxis(faces.take(face, axis=0), -1, 0)
        # Coordinates along the edges of each face, so that a pattern follows the faces.
        top = w - h
        across = np.where(face == 2, (top - ka * u) * edge_b, u * 1.2)
        along = np.where(face == 2, (top + kb * u) * edge_a, w - near)
        return Surface(field, np.zeros_like(u), slot, normal, (across + 3 * face, along))

    return Shape(surface, (-wa, low, wb, low + h + sa + sb))


STILL_LIFE = (vase, vase, bottle, bottle, mug, mug, box, box, ball, stone)
FLAT = (stone, ball, blob, blob, polygon, polygon, star, flower, leaf, leaf)
