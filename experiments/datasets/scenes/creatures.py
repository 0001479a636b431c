"""Animals and people of the drawn scenes: unions of ellipsoids and tapered limbs."""

from collections.abc import Callable

import numpy as np
from numpy.random import Generator

from experiments.datasets.scenes import shapes
from experiments.datasets.scenes.shapes import BODY, DARK, EYE, SECOND, THIRD, Box, Shape

Point = tuple[float, float, float]  # u, v and a radius
# A piece of a body: a function from u and v to its field and height, its box, its slot.
_Piece = tuple[Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]], Box, int]


def _egg(
    u: float, v: float, a: float, b: float, angle: float = 0.0, near: float = 0.0, slot: int = BODY
) -> _Piece:
    """An ellipsoid, turned by `angle`, its centre `near` units towards the viewer."""
    c, s = shapes.cosine_and_sine(angle)
    wide, high = np.hypot(a * c, b * s), np.hypot(a * s, b * c)

    def evaluate(us, vs):
        du, dv = us - u, vs - v
        x, y = du * (c / a) + dv * (s / a), dv * (c / b) - du * (s / b)
        field = x * x + y * y - 1
        return field, near + 0.9 * min(a, b) * np.sqrt(np.maximum(-field, 0))

    return evaluate, (u - wide, v - high, u + wide, v + high), slot


def _limb(start: Point, end: Point, near: float = 0.0, slot: int = BODY) -> _Piece:
    """A round bar from one point and radius to another."""
    (u0, v0, r0), (u1, v1, r1) = start, end
    du, dv = u1 - u0, v1 - v0
    length = max(du * du + dv * dv, 1e-6)
    low = min(u0 - r0, u1 - r1), min(v0 - r0, v1 - r1)

    def evaluate(us, vs):
        u, v = us - u0, vs - v0
        t = np.clip(u * (du / length) + v * (dv / length), 0, 1)
        x, y = u - t * du, v - t * dv
        radius = r0 + t * (r1 - r0)
        field = (x * x + y * y) / (radius * radius) - 1
        return field, near + radius * np.sqrt(np.maximum(-field, 0)) * 0.9

    return evaluate, (*low, max(u0 + r0, u1 + r1), max(v0 + r0, v1 + r1)), slot


def _union(*pieces: _Piece, people: bool = False) -> Shape:
    boxes = np.array([box for _, box, _ in pieces])

    def surface(u, v):
        field, height = np.full_like(u, 9), np.full_like(u, -9)
        slots = np.zeros(u.shape, np.uint8)
        for evaluate, _, slot in pieces:
            value, level = evaluate(u, v)
            front = (value < 0) & (level > height)
            np.copyto(height, level, where=front)
            slots[front] = slot
            np.minimum(field, value, out=field)
        # Pieces of the far side have negative heights: raise all, so that the relief is positive.
        return shapes.Surface(field, np.where(field < 0, height + 1, 0), slots)

    return Shape(surface, (*boxes[:, :2].min(0), *boxes[:, 2:].max(0)), people)


def quadruped(rng: Generator) -> Shape:
    """A four-legged animal seen from the side: anything from a sausage dog to a giraffe calf."""
    length, girth = rng.uniform(0.75, 1.15), rng.uniform(0.34, 0.5)
    leg, thick = rng.uniform(0.45, 0.95), rng.uniform(0.09, 0.15)
    lift = rng.uniform(-0.05, 0.12)
    neck_u, neck_v = length * 0.95 + rng.uniform(0.0, 0.3), girth * 0.6 + rng.uniform(0.15, 0.8)
    head, paw_slot = rng.uniform(0.24, 0.36), rng.choice((BODY, BODY, SECOND))
    nose_u, nose_v = neck_u + head * rng.uniform(1.0, 1.7), neck_v - head * rng.uniform(0.2, 0.6)
    nose = (nose_u, nose_v, head * rng.uniform(0.3, 0.5))
    pieces = [
        _egg(0, 0, length * 0.8, girth, lift),
        _egg(-length * 0.55, 0, girth * 1.0, girth * 1.02),
        _egg(length * 0.5, 0.04, girth * 0.95, girth * 1.0),
        _limb((length * 0.6, girth * 0.2, girth * 0.62), (neck_u, neck_v, head * 0.7), 0.02),
        _egg(neck_u, neck_v, head, head * 0.85, near=0.1),
        _limb((neck_u, neck_v - 0.03, head * 0.62), nose, 0.16, rng.choice((BODY, SECOND))),
        _egg(neck_u + head * 0.3, neck_v + head * 0.25, 0.05, 0.055, near=0.8, slot=EYE),
    ]
    for side, near in ((-0.16, -0.3), (0.0, 0.12)):
        for hip in (-length * 0.66 + side, length * 0.62 + side):
            step = rng.uniform(-0.16, 0.16)
            knee = (hip + step, -girth * 0.5 - leg * 0.6, thick)
            u, v, _ = foot = (hip + step * 1.2, -girth * 0.5 - leg + side * 0.4, thick * 0.9)
            pieces += [
                _limb((hip, -girth * 0.35, thick * 1.6), knee, near),
                _limb(knee, foot, near),
                _egg(u + thick * 0.5, v, thick * 1.45, thick * 0.85, near=near, slot=paw_slot),
            ]
    ear, hang = rng.uniform(0.1, 0.34), rng.uniform(-0.9, 0.6)
    u, v = neck_u - head * 0.4, neck_v + head * 0.7 + ear * hang * 0.5
    pieces.append(_egg(u, v, 0.1, 0.08 + ear, rng.uniform(-0.2, 0.6), 0.35, SECOND))
    tip_u, tip_v = -length * 0.75 - rng.uniform(0.15, 0.5), girth * 0.4 + rng.uniform(-0.5, 0.75)
    tail = (-length * 0.75, girth * 0.4, rng.uniform(0.07, 0.14))
    pieces.append(_limb(tail, (tip_u - 0.2, tip_v, rng.uniform(0.04, 0.14)), -0.1))
    return _union(*pieces)


def bird(rng: Generator) -> Shape:
    """A bird on two legs."""
    fat, lean = rng.uniform(0.5, 0.75), rng.uniform(0.1, 0.6)
    c, s = shapes.cosine_and_sine(lean)
    head, neck = rng.uniform(0.26, 0.36), rng.uniform(0.05, 0.5)
    u, v = 0.75 * c, 0.75 * s + 0.3 + neck
    beak, leg = rng.uniform(0.25, 0.6), rng.uniform(0.2, 0.6)
    face_slot = rng.choice((BODY, SECOND))
    tip = (u + head * 0.7 + beak, v - rng.uniform(0, 0.15), 0.03)
    wing_angle, wing_slot = lean + rng.uniform(-0.05, 0.25), rng.choice((BODY, SECOND))
    tail = (-1.25 * c - 0.2, -1.25 * s + rng.uniform(-0.15, 0.3), 0.12)
    pieces = [
        _egg(0, 0, 1.0, fat, lean),
        _limb((0.55 * c, 0.55 * s, fat * 0.6), (u, v, head * 0.8)),
        _egg(u, v, head, head * 0.95, near=0.1, slot=face_slot),
        _limb((u + head * 0.7, v, 0.11), tip, 0.1, THIRD),
        _egg(u + head * 0.35, v + head * 0.2, 0.055, 0.055, near=0.7, slot=EYE),
        _egg(-0.25, 0.0, 0.72, fat * 0.55, wing_angle, fat * 0.45, wing_slot),
        _limb((-0.7 * c, -0.7 * s, fat * 0.4), tail, -0.05, SECOND),
    ]
    for u, near in ((-0.1, -0.3), (0.16, 0.0)):
        foot = -fat * 0.75 - leg
        pieces.append(_limb((u, -fat * 0.5, 0.1), (u + 0.02, foot, 0.06), near, THIRD))
        pieces.append(_egg(u + 0.1, foot, 0.18, 0.06, near=near, slot=THIRD))
    return _union(*pieces)


def fish(rng: Generator) -> Shape:
    """A fish with fins and a forked tail."""
    fat, spread = rng.uniform(0.38, 0.65), rng.uniform(0.35, 0.6)
    return _union(
        _egg(0.1, 0, 1.0, fat),
        _limb((-0.6, 0, fat * 0.5), (-1.0, 0, 0.15)),
        _limb((-0.95, 0.0, 0.12), (-1.4, spread, 0.13), -0.1, SECOND),
        _limb((-0.95, 0.0, 0.12), (-1.4, -spread, 0.13), -0.1, SECOND),
        _egg(-0.1, fat * 0.95, rng.uniform(0.3, 0.5), rng.uniform(0.14, 0.3), -0.25, -0.2, SECOND),
        _egg(0.0, -fat * 0.9, 0.22, rng.uniform(0.1, 0.25), 0.4, -0.2, SECOND),
        _egg(0.05, -0.12, 0.3, 0.12, 0.5, 0.5, SECOND),
        _egg(0.72, 0.12, 0.11, 0.11, near=0.55, slot=THIRD),
        _egg(0.74, 0.12, 0.06, 0.06, near=0.8, slot=EYE),
    )


def person(rng: Generator) -> Shape:
    """A standing figure in trousers or a dress; slots: top, legs, skin, hair."""
    hip, shoulder = rng.uniform(0.24, 0.34), rng.uniform(0.28, 0.4)
    leg, head = rng.uniform(0.75, 1.0), rng.uniform(0.26, 0.34)
    stride, thick = rng.uniform(0.05, 0.3), rng.uniform(0.13, 0.18)
    top, dress = rng.uniform(0.75, 0.95), rng.random() < 0.4
    pieces = []
    for side in (-1, 1):
        knee = (side * (hip * 0.5 + stride * 0.4), -leg * 0.5, thick * 0.9)
        foot = (side * (hip * 0.5 + stride), -leg, thick * 0.75)
        shoe_u, shoe_v = foot[0] + 0.06, -leg - thick * 0.3
        slot = THIRD if dress else SECOND
        reach, lift = rng.uniform(0.1, 0.4), rng.uniform(-0.6, 0.15)
        elbow = (side * (shoulder + reach * 0.7), top * 0.5 + lift * 0.2, 0.11)
        hand = (side * (shoulder + reach), top * 0.5 + lift * 0.8 - 0.1, 0.09)
        near = 0.15 * side
        pieces += [
            _limb((side * hip * 0.48, 0.05, hip * 0.56), knee, 0.02, slot),
            _limb(knee, foot, 0.0, slot),
            _egg(shoe_u, shoe_v, thick * 1.3, thick * 0.6, near=0.05, slot=DARK),
            _limb((side * shoulder * 0.8, top * 0.9, 0.14), elbow, near),
            _limb(elbow, hand, near, rng.choice((BODY, THIRD))),
            _egg(hand[0], hand[1], 0.1, 0.1, near=near + 0.02, slot=THIRD),
        ]
    pieces.append(_limb((0, hip * 0.75, hip * 0.98), (0, top * 0.85, shoulder * 0.85), 0.05))
    if dress:
        pieces.append(_limb((0, 0.3, hip), (0, -leg * rng.uniform(0.2, 0.5), hip * 1.5), 0.06))
    else:
        pieces.append(_egg(0, 0.14, hip * 1.03, 0.26, near=0.12, slot=SECOND))
    face = top + shoulder * 0.3 + head
    look = rng.uniform(-0.3, 0.3) * head
    pieces += [
        _limb((0, top, 0.1), (0, face - head * 0.5, 0.1), 0.05, THIRD),
        _egg(0, face, head * 0.85, head, near=0.12, slot=THIRD),
        _egg(look * 0.2, face + head * 0.5, head * 0.92, head * 0.62, near=0.16, slot=DARK),
        _egg(look - head * 0.28, face - head * 0.08, 0.035, 0.045, near=0.6, slot=EYE),
        _egg(look + head * 0.28, face - head * 0.08, 0.035, 0.045, near=0.6, slot=EYE),
        _egg(look, face - head * 0.28, 0.045, 0.05, near=0.36, slot=THIRD),
    ]
    if rng.random() < 0.4:
        pieces.append(_egg(0, face - head * 0.2, head * 1.05, head * 1.25, near=-0.1, slot=DARK))
    return _union(*pieces, people=True)


def snail(rng: Generator) -> Shape:
    """A snail: a long foot, horns and a round shell of the first colour."""
    shell, rise = rng.uniform(0.5, 0.75), rng.uniform(0.3, 0.55)
    return _union(
        _limb((-0.9, -0.5, 0.06), (0.8, -0.45, 0.2), 0.0, SECOND),
        _limb((0.75, -0.45, 0.2), (1.0, -0.45 + rise, 0.17), 0.0, SECOND),
        _limb((1.02, -0.4 + rise, 0.06), (1.2, -0.05 + rise, 0.05), 0.05, SECOND),
        _limb((0.95, -0.4 + rise, 0.06), (0.95, -0.02 + rise, 0.05), -0.05, SECOND),
        _egg(-0.05, -0.35 + shell * 0.7, shell * 1.08, shell, 0.2, 0.15),
        _egg(0.0, -0.35 + shell * 0.68, shell * 0.6, shell * 0.55, 0.2, 0.5),
        _egg(1.0, -0.4 + rise, 0.04, 0.05, near=0.3, slot=EYE),
    )
