"""Animals and people of the drawn scenes: unions of ellipsoids and tapered limbs."""

import dataclasses

import numpy as np

from experiments.datasets.scenes.shapes import (
    BODY,
    DARK,
    EYE,
    SECOND,
    THIRD,
    Shape,
    Surface,
)


@dataclasses.dataclass(frozen=True)
class _Egg:
    """An ellipsoid, turned by `angle`, its centre `near` units towards the viewer."""

    u: float
    v: float
    a: float
    b: float
    angle: float = 0.0
    near: float = 0.0
    slot: int = BODY

    def box(self) -> tuple[float, float, float, float]:
        c, s = np.cos(self.angle), np.sin(self.angle)
        wide, high = np.hypot(self.a * c, self.b * s), np.hypot(self.a * s, self.b * c)
        return self.u - wide, self.v - high, self.u + wide, self.v + high

    def evaluate(self, u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        u, v = u - np.float32(self.u), v - np.float32(self.v)
        c, s = np.cos(self.angle), np.sin(self.angle)
        x = u * np.float32(c / self.a) + v * np.float32(s / self.a)
        y = v * np.float32(c / self.b) - u * np.float32(s / self.b)
        field = x * x + y * y - 1
        depth = np.float32(0.9 * min(self.a, self.b))
        return field, np.float32(self.near) + depth * np.sqrt(np.maximum(-field, 0))


@dataclasses.dataclass(frozen=True)
class _Limb:
    """A round bar from one point and radius to another."""

    start: tuple[float, float, float]
    end: tuple[float, float, float]
    near: float = 0.0
    slot: int = BODY

    def box(self) -> tuple[float, float, float, float]:
        (u0, v0, r0), (u1, v1, r1) = self.start, self.end
        return (
            min(u0 - r0, u1 - r1), min(v0 - r0, v1 - r1),
            max(u0 + r0, u1 + r1), max(v0 + r0, v1 + r1),
        )

    def evaluate(self, u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        (u0, v0, r0), (u1, v1, r1) = self.start, self.end
        du, dv = u1 - u0, v1 - v0
        length = max(du * du + dv * dv, 1e-6)
        u, v = u - np.float32(u0), v - np.float32(v0)
        t = np.clip(u * np.float32(du / length) + v * np.float32(dv / length), 0, 1)
        x, y = u - t * np.float32(du), v - t * np.float32(dv)
        radius = np.float32(r0) + t * np.float32(r1 - r0)
        field = (x * x + y * y) / (radius * radius) - 1
        height = radius * np.sqrt(np.maximum(-field, 0)) * np.float32(0.9)
        return field, np.float32(self.near) + height


def _union(parts: list[_Egg | _Limb], people: bool = False) -> Shape:
    boxes = np.array([part.box() for part in parts])
    low, high = boxes[:, :2].min(0), boxes[:, 2:].max(0)

    def surface(u, v):
        field = np.full(u.shape, np.float32(9))
        height = np.full(u.shape, np.float32(-9))
        slot = np.zeros(u.shape, np.uint8)
        for part in parts:
            value, level = part.evaluate(u, v)
            front = (value < 0) & (level > height)
            np.copyto(height, level, where=front)
            np.copyto(slot, np.uint8(part.slot), where=front)
            np.minimum(field, value, out=field)
        # The far side's parts lie behind the sheet: lift all, so that the relief is positive.
        height = np.where(field < 0, height + np.float32(1), 0).astype(np.float32)
        return Surface(field, height, slot)

    return Shape(surface, (low[0], low[1], high[0], high[1]), people)


def quadruped(rng: np.random.Generator) -> Shape:
    """A four-legged animal seen from the side: anything from a sausage dog to a giraffe calf."""
    length, girth = rng.uniform(0.75, 1.15), rng.uniform(0.34, 0.5)
    leg, thick = rng.uniform(0.45, 0.95), rng.uniform(0.09, 0.15)
    lift = rng.uniform(-0.05, 0.12)
    neck_u, neck_v = length * 0.95 + rng.uniform(0.0, 0.3), girth * 0.6 + rng.uniform(0.15, 0.8)
    head = rng.uniform(0.24, 0.36)
    paw_slot = int(rng.choice([BODY, BODY, SECOND]))
    parts: list[_Egg | _Limb] = [
        _Egg(0, 0, length * 0.8, girth, lift),
        _Egg(-length * 0.55, 0, girth * 1.0, girth * 1.02),
        _Egg(length * 0.5, 0.04, girth * 0.95, girth * 1.0),
        _Limb((length * 0.6, girth * 0.2, girth * 0.62), (neck_u, neck_v, head * 0.7), 0.02),
        _Egg(neck_u, neck_v, head, head * 0.85, near=0.1),
        _Limb((neck_u, neck_v - 0.03, head * 0.62),
              (neck_u + head * rng.uniform(1.0, 1.7), neck_v - head * rng.uniform(0.2, 0.6),
               head * rng.uniform(0.3, 0.5)), 0.16, int(rng.choice([BODY, SECOND]))),
        _Egg(neck_u + head * 0.3, neck_v + head * 0.25, 0.05, 0.055, near=0.8, slot=EYE),
    ]
    for side, near in ((-0.16, -0.3), (0.0, 0.12)):
        for u in (-length * 0.66, length * 0.62):
            step = rng.uniform(-0.16, 0.16)
            knee = (u + side + step, -girth * 0.5 - leg * 0.6, thick)
            foot = (u + side + step * 1.2, -girth * 0.5 - leg + side * 0.4, thick * 0.9)
            parts.append(_Limb((u + side, -girth * 0.35, thick * 1.6), knee, near))
            parts.append(_Limb(knee, foot, near))
            parts.append(_Egg(foot[0] + thick * 0.5, foot[1], thick * 1.45, thick * 0.85,
                              near=near, slot=paw_slot))
    ear = rng.uniform(0.1, 0.34)
    hang = rng.uniform(-0.9, 0.6)
    parts.append(_Egg(neck_u - head * 0.4, neck_v + head * 0.7 + ear * hang * 0.5,
                      0.1, 0.08 + ear, rng.uniform(-0.2, 0.6), 0.35, SECOND))
    tail_u, tail_v = -length * 0.75 - rng.uniform(0.15, 0.5), rng.uniform(-0.5, 0.75)
    parts.append(_Limb((-length * 0.75, girth * 0.4, rng.uniform(0.07, 0.14)),
                       (tail_u - 0.2, girth * 0.4 + tail_v, rng.uniform(0.04, 0.14)), -0.1))
    return _union(parts)


def bird(rng: np.random.Generator) -> Shape:
    """A bird on two legs."""
    fat, lean = rng.uniform(0.5, 0.75), rng.uniform(0.1, 0.6)
    c, s = float(np.cos(lean)), float(np.sin(lean))
    head, neck = rng.uniform(0.26, 0.36), rng.uniform(0.05, 0.5)
    head_u, head_v = 0.75 * c, 0.75 * s + 0.3 + neck
    beak = rng.uniform(0.25, 0.6)
    leg = rng.uniform(0.2, 0.6)
    parts: list[_Egg | _Limb] = [
        _Egg(0, 0, 1.0, fat, lean),
        _Limb((0.55 * c, 0.55 * s, fat * 0.6), (head_u, head_v, head * 0.8), 0.0),
        _Egg(head_u, head_v, head, head * 0.95, near=0.1, slot=int(rng.choice([BODY, SECOND]))),
        _Limb((head_u + head * 0.7, head_v, 0.11),
              (head_u + head * 0.7 + beak, head_v - rng.uniform(0, 0.15), 0.03), 0.1, THIRD),
        _Egg(head_u + head * 0.35, head_v + head * 0.2, 0.055, 0.055, near=0.7, slot=EYE),
        _Egg(-0.25, 0.0, 0.72, fat * 0.55, lean + rng.uniform(-0.05, 0.25), fat * 0.45,
             int(rng.choice([BODY, SECOND]))),
        _Limb((-0.7 * c, -0.7 * s, fat * 0.4),
              (-1.25 * c - 0.2, -1.25 * s + rng.uniform(-0.15, 0.3), 0.12), -0.05, SECOND),
    ]
    for u, near in ((-0.1, -0.3), (0.16, 0.0)):
        foot = -fat * 0.75 - leg
        parts.append(_Limb((u, -fat * 0.5, 0.1), (u + 0.02, foot, 0.06), near, THIRD))
        parts.append(_Egg(u + 0.1, foot, 0.18, 0.06, near=near, slot=THIRD))
    return _union(parts)


def fish(rng: np.random.Generator) -> Shape:
    """A fish with fins and a forked tail."""
    fat = rng.uniform(0.38, 0.65)
    spread = rng.uniform(0.35, 0.6)
    parts: list[_Egg | _Limb] = [
        _Egg(0.1, 0, 1.0, fat),
        _Limb((-0.6, 0, fat * 0.5), (-1.0, 0, 0.15)),
        _Limb((-0.95, 0.0, 0.12), (-1.4, spread, 0.13), -0.1, SECOND),
        _Limb((-0.95, 0.0, 0.12), (-1.4, -spread, 0.13), -0.1, SECOND),
        _Egg(-0.1, fat * 0.95, rng.uniform(0.3, 0.5), rng.uniform(0.14, 0.3), -0.25, -0.2, SECOND),
        _Egg(0.0, -fat * 0.9, 0.22, rng.uniform(0.1, 0.25), 0.4, -0.2, SECOND),
        _Egg(0.05, -0.12, 0.3, 0.12, 0.5, 0.5, SECOND),
        _Egg(0.72, 0.12, 0.11, 0.11, near=0.55, slot=THIRD),
        _Egg(0.74, 0.12, 0.06, 0.06, near=0.8, slot=EYE),
    ]
    return _union(parts)


def person(rng: np.random.Generator) -> Shape:
    """A standing figure in trousers or a dress; slots: top, legs, skin, hair."""
    hip, shoulder = rng.uniform(0.24, 0.34), rng.uniform(0.28, 0.4)
    leg, head = rng.uniform(0.75, 1.0), rng.uniform(0.26, 0.34)
    stride, thick = rng.uniform(0.05, 0.3), rng.uniform(0.13, 0.18)
    top = rng.uniform(0.75, 0.95)
    dress = rng.random() < 0.4
    parts: list[_Egg | _Limb] = []
    for side in (-1, 1):
        knee = (side * (hip * 0.5 + stride * 0.4), -leg * 0.5, thick * 0.9)
        foot = (side * (hip * 0.5 + stride), -leg, thick * 0.75)
        slot = THIRD if dress else SECOND
        parts.append(_Limb((side * hip * 0.48, 0.05, hip * 0.56), knee, 0.02, slot))
        parts.append(_Limb(knee, foot, 0.0, slot))
        parts.append(_Egg(foot[0] + 0.06, -leg - thick * 0.3, thick * 1.3, thick * 0.6,
                          near=0.05, slot=DARK))
        reach, raise_ = rng.uniform(0.1, 0.4), rng.uniform(-0.6, 0.15)
        elbow = (side * (shoulder + reach * 0.7), top * 0.5 + raise_ * 0.2, 0.11)
        hand = (side * (shoulder + reach), top * 0.5 + raise_ * 0.8 - 0.1, 0.09)
        near = 0.15 * side
        parts.append(_Limb((side * shoulder * 0.8, top * 0.9, 0.14), elbow, near))
        parts.append(_Limb(elbow, hand, near, int(rng.choice([BODY, THIRD]))))
        parts.append(_Egg(hand[0], hand[1], 0.1, 0.1, near=near + 0.02, slot=THIRD))
    parts.append(_Limb((0, hip * 0.75, hip * 0.98), (0, top * 0.85, shoulder * 0.85), 0.05))
    if dress:
        parts.append(_Limb((0, 0.3, hip), (0, -leg * rng.uniform(0.2, 0.5), hip * 1.5), 0.06))
    else:
        parts.append(_Egg(0, 0.14, hip * 1.03, 0.26, near=0.12, slot=SECOND))
    face = top + shoulder * 0.3 + head
    look = rng.uniform(-0.3, 0.3) * head
    parts += [
        _Limb((0, top, 0.1), (0, face - head * 0.5, 0.1), 0.05, THIRD),
        _Egg(0, face, head * 0.85, head, near=0.12, slot=THIRD),
        _Egg(look * 0.2, face + head * 0.5, head * 0.92, head * 0.62, near=0.16, slot=DARK),
        _Egg(look - head * 0.28, face - head * 0.08, 0.035, 0.045, near=0.6, slot=EYE),
        _Egg(look + head * 0.28, face - head * 0.08, 0.035, 0.045, near=0.6, slot=EYE),
        _Egg(look, face - head * 0.28, 0.045, 0.05, near=0.36, slot=THIRD),
    ]
    if rng.random() < 0.4:
        parts.append(_Egg(0, face - head * 0.2, head * 1.05, head * 1.25, near=-0.1, slot=DARK))
    return _union(parts, people=True)


def snail(rng: np.random.Generator) -> Shape:
    """A snail: a long foot, horns and a round shell of the first colour."""
    shell = rng.uniform(0.5, 0.75)
    rise = rng.uniform(0.3, 0.55)
    parts: list[_Egg | _Limb] = [
        _Limb((-0.9, -0.5, 0.06), (0.8, -0.45, 0.2), 0.0, SECOND),
        _Limb((0.75, -0.45, 0.2), (1.0, -0.45 + rise, 0.17), 0.0, SECOND),
        _Limb((1.02, -0.4 + rise, 0.06), (1.2, -0.05 + rise, 0.05), 0.05, SECOND),
        _Limb((0.95, -0.4 + rise, 0.06), (0.95, -0.02 + rise, 0.05), -0.05, SECOND),
        _Egg(-0.05, -0.35 + shell * 0.7, shell * 1.08, shell, 0.2, 0.15),
        _Egg(0.0, -0.35 + shell * 0.68, shell * 0.6, shell * 0.55, 0.2, 0.5),
        _Egg(1.0, -0.4 + rise, 0.04, 0.05, near=0.3, slot=EYE),
    ]
    return _union(parts)
