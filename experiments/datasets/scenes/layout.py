"""Where the objects of a drawn scene are, and which of their pixels are visible."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.random import Generator

from experiments.datasets.scenes import creatures, things
from experiments.datasets.scenes.backgrounds import Backdrop
from experiments.datasets.scenes.shapes import Box, Shape, Surface, cosine_and_sine

_ANIMALS = (*[creatures.quadruped] * 2, *[creatures.bird] * 2, creatures.snail)
_PEOPLE = (*[creatures.person] * 3, creatures.quadruped, things.ball)
_OUTDOORS = (creatures.quadruped, creatures.bird, things.stone, things.ball, things.box)
_THEMES = (things.STILL_LIFE, things.STILL_LIFE, _ANIMALS, _ANIMALS, _PEOPLE, _OUTDOORS)
_LYING = (creatures.fish, creatures.quadruped, creatures.snail, things.bottle, things.box)
_FROM_ABOVE = (*things.FLAT, *_LYING)

Size = tuple[int, int]  # height, width of the image in pixels
Rule = Callable[[np.ndarray], bool]  # whether an instance map is accepted

_ATTEMPTS, _CANDIDATES = 500, 10
_MIN_VISIBLE_SHARE = 0.45  # of the object's own pixels
_MIN_VISIBLE_AREA = 0.02  # of the image


class Pose(NamedTuple):
    """The origin of a shape in pixels, pixels per unit, angle in radians, mirrored or not."""

    x: float
    y: float
    scale: float
    angle: float = 0.0
    mirrored: bool = False

    def extent(self, shape: Shape) -> Box:
        """Left, top, right and bottom of the turned box, in pixels."""
        left, bottom, right, top = map(float, shape.box)
        if self.mirrored:
            left, right = -right, -left
        c, s = cosine_and_sine(self.angle)
        x = [self.x + self.scale * (c * u - s * v) for u in (left, right) for v in (bottom, top)]
        y = [self.y - self.scale * (s * u + c * v) for u in (left, right) for v in (bottom, top)]
        return min(x), min(y), max(x), max(y)


class Placed(NamedTuple):
    """A shape at its place; only the paint is missing."""

    shape: Shape
    pose: Pose
    template: int  # objects with the same template have the same shape and similar colours
    rows: slice  # the part of the image that the arrays cover
    columns: slice
    u: np.ndarray  # the shape's coordinates at the pixel centres
    v: np.ndarray
    surface: Surface  # the shape at these coordinates
    mask: np.ndarray  # bool, pixel centres inside the outline, whether hidden by others or not


def place(shape: Shape, pose: Pose, size: Size, template: int = 0) -> Placed:
    """Evaluates a shape at the pixel centres of an image, only inside its bounding box."""
    height, width = size
    left, top, right, bottom = pose.extent(shape)
    # Two more pixels, so that the soft edge and the slope at the outline are included.
    rows = slice(max(int(top) - 2, 0), max(min(int(bottom) + 3, height), 0))
    columns = slice(max(int(left) - 2, 0), max(min(int(right) + 3, width), 0))
    dx = np.arange(columns.start, columns.stop, dtype=np.float32)[None, :] + (0.5 - pose.x)
    dy = (pose.y - 0.5) - np.arange(rows.start, rows.stop, dtype=np.float32)[:, None]
    c, s = (share / pose.scale for share in cosine_and_sine(pose.angle))
    side = -1 if pose.mirrored else 1
    u, v = dx * (c * side) + dy * (s * side), dy * c - dx * s
    surface = shape.surface(u, v)
    return Placed(shape, pose, template, rows, columns, u, v, surface, surface.field < 0)


def instance_map(placed: list[Placed], size: Size) -> np.ndarray:
    """Object i of the list, which is sorted from back to front, is instance i + 1."""
    instances = np.zeros(size, np.int32)
    for number, thing in enumerate(placed, start=1):
        instances[thing.rows, thing.columns][thing.mask] = number
    return instances


def lay_out(
    rng: Generator, backdrop: Backdrop, size: Size, count: int, accept: Rule | None = None
) -> tuple[list[Placed], np.ndarray]:
    """`count` objects from back to front and their map, drawn until all are well visible."""
    for attempt in range(_ATTEMPTS):
        # Crowded layouts that fail again and again get smaller objects.
        shrink = 1.0 if accept else 0.97 ** max(attempt - 10, 0)
        placed = _try(rng, backdrop, size, count, shrink)
        instances = instance_map(placed, size)
        visible = np.bincount(instances.ravel(), minlength=count + 1)[1:]
        areas = np.array([np.count_nonzero(thing.mask) for thing in placed])
        least = np.maximum(_MIN_VISIBLE_AREA * instances.size, _MIN_VISIBLE_SHARE * areas)
        if (visible >= least).all() and (accept is None or accept(instances)):
            return placed, instances
    raise ValueError(
        f"{_ATTEMPTS} layouts of {count} objects on {size[1]}x{size[0]} pixels failed: "
        "ask for fewer objects or a milder rule"
    )


def _try(rng: Generator, backdrop: Backdrop, size: Size, count: int, shrink: float) -> list[Placed]:
    height, width = size
    flat = backdrop.horizon is None
    makers = _FROM_ABOVE if flat else _THEMES[rng.integers(len(_THEMES))]
    drawn = [makers[rng.integers(len(makers))](rng) for _ in range(count)]
    # In two of five scenes, some or all objects share a shape.
    shared = int(rng.integers(2, count + 1)) if count > 1 and rng.random() < 0.4 else 1
    templates = [0 if i < shared else i for i in range(count)]
    shapes = [drawn[i] for i in templates]
    low, high = (0.2, 0.4) if count < 3 else (0.21 + 0.05 * count, 0.36 + 0.05 * count)
    total = rng.uniform(min(low, 0.5), min(high, 0.65))
    shares = rng.uniform(0.55, 1.3, count) if count < 4 else rng.uniform(0.75, 1.2, count)
    # As objects hide parts of each other, their areas may sum to more than what is visible.
    areas = np.clip(shares / shares.sum() * total * shrink, 0.03, 0.24) * height * width
    poses: list[Pose] = []
    boxes: list[Box] = []
    for shape, area in zip(shapes, areas, strict=True):
        angle = rng.uniform(0, 2 * np.pi) if flat else rng.normal(0, 0.035)
        scale = float((area / shape.area()) ** 0.5)
        pose = Pose(0.0, 0.0, scale, angle, bool(rng.random() < 0.5))
        left, top, right, bottom = pose.extent(shape)
        fit = min(0.92 * width / (right - left), 0.9 * height / (bottom - top), 1.0)
        pose = pose._replace(scale=scale * fit)
        poses.append(_best_place(rng, pose, shape, boxes, backdrop, size))
        boxes.append(poses[-1].extent(shape))
    order = rng.permutation(count) if flat else np.argsort([b[3] for b in boxes], kind="stable")
    return [place(shapes[i], poses[i], size, template=templates[i]) for i in order]


def _best_place(
    rng: Generator, pose: Pose, shape: Shape, boxes: list[Box], backdrop: Backdrop, size: Size
) -> Pose:
    """The best of some random places: mostly inside, with about the wanted overlap."""
    height, width = size
    left, top, right, bottom = pose.extent(shape)
    wanted = rng.uniform(0.15, 0.45) if rng.random() < 0.5 else 0.0
    spill = 0.1 if rng.random() < 0.15 else -0.015
    best, best_cost = pose, np.inf
    for _ in range(_CANDIDATES):
        x = rng.uniform(-left - spill * width, width - right + spill * width)
        if backdrop.horizon is None:
            y = rng.uniform(-top - spill * height, height - bottom + spill * height)
        else:
            ground = backdrop.horizon + 0.2 * (height - backdrop.horizon)
            lowest = height * (0.985 + max(spill, 0))
            y = rng.uniform(min(max(ground, bottom - top), lowest), lowest) - bottom
        box = (left + x, top + y, right + x, bottom + y)
        shares = [_overlap(box, other) for other in boxes]
        cost = abs(sum(shares) - wanted) + 2 * max([s - 0.5 for s in shares if s > 0.5], default=0)
        if cost < best_cost:
            best, best_cost = pose._replace(x=x, y=y), cost
    return best


def _overlap(first: Box, second: Box) -> float:
    """The common area of two boxes as a share of the smaller."""
    wide = min(first[2], second[2]) - max(first[0], second[0])
    high = min(first[3], second[3]) - max(first[1], second[1])
    smaller = min((b[2] - b[0]) * (b[3] - b[1]) for b in (first, second))
    return max(wide, 0.0) * max(high, 0.0) / smaller
