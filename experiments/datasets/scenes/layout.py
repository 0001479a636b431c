"""Where the objects of a drawn scene stand, and which of their pixels are seen."""

import dataclasses
from collections.abc import Callable

import numpy as np

from experiments.datasets.scenes import creatures, shapes
from experiments.datasets.scenes.backgrounds import Setting
from experiments.datasets.scenes.shapes import Shape, Surface

_STILL_LIFE = (
    shapes.vase, shapes.vase, shapes.bottle, shapes.bottle, shapes.mug, shapes.mug, shapes.box,
    shapes.box, shapes.ball, shapes.stone,
)
_ANIMALS = (creatures.quadruped, creatures.quadruped, creatures.bird, creatures.bird,
            creatures.snail)
_PEOPLE = (creatures.person, creatures.person, creatures.person, creatures.quadruped, shapes.ball)
_OUTDOORS = (creatures.quadruped, creatures.bird, shapes.stone, shapes.ball, shapes.box)
_THEMES = (_STILL_LIFE, _STILL_LIFE, _ANIMALS, _ANIMALS, _PEOPLE, _OUTDOORS)
_FROM_ABOVE = (
    shapes.stone, shapes.ball, shapes.blob, shapes.blob, shapes.polygon, shapes.polygon,
    shapes.star, shapes.flower, shapes.leaf, shapes.leaf, creatures.fish, creatures.quadruped,
    creatures.snail, shapes.bottle, shapes.box,
)

_ATTEMPTS = 500
_CANDIDATES = 10
_MIN_VISIBLE_SHARE = 0.45  # of the object's own pixels
_MIN_VISIBLE_AREA = 0.02  # of the image


@dataclasses.dataclass(frozen=True)
class Pose:
    """Where a shape's origin lies in pixels, pixels per unit, turn in radians, mirrored or not."""

    x: float
    y: float
    scale: float
    angle: float = 0.0
    mirrored: bool = False

    def extent(self, shape: Shape) -> tuple[float, float, float, float]:
        """Left, top, right, bottom in pixels of the turned box."""
        left, bottom, right, top = shape.box
        if self.mirrored:
            left, right = -right, -left
        c, s = np.cos(self.angle), np.sin(self.angle)
        us = [c * u - s * v for u in (left, right) for v in (bottom, top)]
        vs = [s * u + c * v for u in (left, right) for v in (bottom, top)]
        return (
            self.x + self.scale * min(us), self.y - self.scale * max(vs),
            self.x + self.scale * max(us), self.y - self.scale * min(vs),
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Placed:
    """A shape in its place: everything is known but the paint.

    Attributes:
      template: objects of the same number are alike.
      rows, columns: the part of the image that the arrays cover.
      u, v: the shape's coordinates at the pixel centres.
      surface: the shape there.
      mask: bool, pixel centres inside the outline, whether hidden by others or not.
    """

    shape: Shape
    pose: Pose
    template: int
    rows: slice
    columns: slice
    u: np.ndarray
    v: np.ndarray
    surface: Surface
    mask: np.ndarray


def place(shape: Shape, pose: Pose, *, height: int, width: int, template: int = 0) -> Placed:
    """Evaluates a shape at the pixel centres of an image, inside its bounding box only."""
    left, top, right, bottom = pose.extent(shape)
    # Two more pixels, so that the soft edge and the slope at the outline are inside too.
    rows = slice(max(int(top) - 2, 0), max(min(int(bottom) + 3, height), 0))
    columns = slice(max(int(left) - 2, 0), max(min(int(right) + 3, width), 0))
    dx = np.arange(columns.start, columns.stop, dtype=np.float32)[None, :] + np.float32(
        0.5 - pose.x)
    dy = np.float32(pose.y - 0.5) - np.arange(rows.start, rows.stop, dtype=np.float32)[:, None]
    c, s = np.cos(pose.angle) / pose.scale, np.sin(pose.angle) / pose.scale
    side = -1 if pose.mirrored else 1
    u = dx * np.float32(c * side) + dy * np.float32(s * side)
    v = dy * np.float32(c) - dx * np.float32(s)
    surface = shape.surface(u, v)
    return Placed(shape, pose, template, rows, columns, u, v, surface, surface.field < 0)


def instance_map(placed: list[Placed], *, height: int, width: int) -> np.ndarray:
    """Object i of the list, which is sorted from back to front, is instance i + 1."""
    instances = np.zeros((height, width), np.int32)
    for number, thing in enumerate(placed, start=1):
        instances[thing.rows, thing.columns][thing.mask] = number
    return instances


def lay_out(
    rng: np.random.Generator,
    setting: Setting,
    *,
    height: int,
    width: int,
    num_objects: int,
    accept: Callable[[np.ndarray], bool] | None = None,
) -> tuple[list[Placed], np.ndarray]:
    """Objects from back to front and their instance map; retries until all are well seen.

    Raises:
      ValueError: 500 layouts failed.
    """
    for attempt in range(_ATTEMPTS):
        # Crowded layouts that fail again and again get smaller objects.
        shrink = 1.0 if accept else 0.97 ** max(attempt - 10, 0)
        placed = _try(rng, setting, height, width, num_objects, shrink)
        instances = instance_map(placed, height=height, width=width)
        if _well_seen(placed, instances) and (accept is None or accept(instances)):
            return placed, instances
    raise ValueError(
        f"{_ATTEMPTS} layouts of {num_objects} objects on {width}x{height} pixels failed: "
        "ask for fewer objects or a milder rule"
    )


def _well_seen(placed: list[Placed], instances: np.ndarray) -> bool:
    counts = np.bincount(instances.ravel(), minlength=len(placed) + 1)
    return all(
        seen >= _MIN_VISIBLE_AREA * instances.size
        and seen >= _MIN_VISIBLE_SHARE * np.count_nonzero(thing.mask)
        for seen, thing in zip(counts[1:], placed, strict=True)
    )


def _templates(rng: np.random.Generator, setting: Setting, count: int) -> list[tuple[int, Shape]]:
    """A shape for each object; in two scenes of five some or all objects share one."""
    if setting.horizon is None:
        makers = _FROM_ABOVE
    else:
        makers = _THEMES[rng.integers(len(_THEMES))]
    drawn = [makers[rng.integers(len(makers))](rng) for _ in range(count)]
    alike = int(rng.integers(2, count + 1)) if count > 1 and rng.random() < 0.4 else 1
    numbers = [0 if i < alike else i for i in range(count)]
    return [(number, drawn[number]) for number in numbers]


def _try(
    rng: np.random.Generator, setting: Setting, height: int, width: int, count: int, shrink: float
) -> list[Placed]:
    templates = _templates(rng, setting, count)
    low, high = (0.2, 0.4) if count < 3 else (0.21 + 0.05 * count, 0.36 + 0.05 * count)
    total = rng.uniform(min(low, 0.5), min(high, 0.65))
    shares = rng.uniform(0.55, 1.3, count) if count < 4 else rng.uniform(0.75, 1.2, count)
    # Objects hide parts of each other, so their whole areas may add up to more than they show.
    areas = np.clip(shares / shares.sum() * total * shrink, 0.03, 0.24) * height * width
    chosen: list[tuple[Pose, int, Shape]] = []
    boxes: list[tuple[float, float, float, float]] = []
    flat = setting.horizon is None
    for (number, shape), area in zip(templates, areas, strict=True):
        angle = rng.uniform(0, 2 * np.pi) if flat else rng.normal(0, 0.035)
        pose = Pose(0.0, 0.0, (area / shape.area()) ** 0.5, angle, bool(rng.random() < 0.5))
        left, top, right, bottom = pose.extent(shape)
        fit = min(0.92 * width / (right - left), 0.9 * height / (bottom - top), 1.0)
        pose = dataclasses.replace(pose, scale=pose.scale * fit)
        pose = _best_place(rng, pose, shape, boxes, setting, height, width)
        boxes.append(pose.extent(shape))
        chosen.append((pose, number, shape))
    if flat:
        order = rng.permutation(count)
    else:
        order = np.argsort([box[3] for box in boxes], kind="stable")
    return [
        place(chosen[i][2], chosen[i][0], height=height, width=width, template=chosen[i][1])
        for i in order
    ]


def _best_place(
    rng: np.random.Generator,
    pose: Pose,
    shape: Shape,
    boxes: list[tuple[float, float, float, float]],
    setting: Setting,
    height: int,
    width: int,
) -> Pose:
    """The best of some random places: mostly inside, overlapping others as much as wished."""
    left, top, right, bottom = pose.extent(shape)
    wanted = rng.uniform(0.15, 0.45) if rng.random() < 0.5 else 0.0
    spill = 0.1 if rng.random() < 0.15 else -0.015
    best, best_cost = pose, np.inf
    for _ in range(_CANDIDATES):
        x = rng.uniform(-left - spill * width, width - right + spill * width)
        if setting.horizon is None:
            y = rng.uniform(-top - spill * height, height - bottom + spill * height)
        else:
            ground = setting.horizon + 0.2 * (height - setting.horizon)
            lowest = height * (0.985 + max(spill, 0))
            base = rng.uniform(min(max(ground, bottom - top), lowest), lowest)
            y = base - bottom
        box = (left + x, top + y, right + x, bottom + y)
        shares = [_overlap(box, other) for other in boxes]
        cost = abs(sum(shares) - wanted) + 2 * max([s - 0.5 for s in shares if s > 0.5], default=0)
        if cost < best_cost:
            best, best_cost = dataclasses.replace(pose, x=x, y=y), cost
    return best


def _overlap(
    one: tuple[float, float, float, float], other: tuple[float, float, float, float]
) -> float:
    """Common area of two boxes as a share of the smaller."""
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    smaller = min((b[2] - b[0]) * (b[3] - b[1]) for b in (one, other))
    return max(wide, 0.0) * max(high, 0.0) / smaller
