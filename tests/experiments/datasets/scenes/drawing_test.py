import itertools

import numpy as np
import pytest
import scipy.ndimage

from experiments.datasets.scenes import creatures, layout, shapes, things
from experiments.datasets.scenes.backgrounds import Backdrop, studio
from experiments.datasets.scenes.drawing import (
    SAMPLES_STREAM,
    TRAIN_STREAM,
    VALIDATION_STREAM,
    draw_scene,
    paint_scene,
)
from experiments.datasets.scenes.layout import Pose, instance_map, lay_out, place

CREATURES = (
    creatures.quadruped,
    creatures.bird,
    creatures.fish,
    creatures.person,
    creatures.snail,
)
MAKERS = tuple(dict.fromkeys((*things.STILL_LIFE, *things.FLAT, *CREATURES)))


def _generator(seed):
    return np.random.Generator(np.random.PCG64(seed))


@pytest.mark.parametrize("seed", [3, (TRAIN_STREAM, 5)])
def test_same_seed_gives_the_same_scene(seed):
    one, two = (draw_scene(seed, height=96, width=133) for _ in range(2))
    np.testing.assert_array_equal(one.image, two.image)
    np.testing.assert_array_equal(one.instances, two.instances)
    other = draw_scene(4, height=96, width=133)
    assert (one.image != other.image).mean() > 0.5


def test_arrays_and_numbers_of_objects():
    counts = []
    for seed in range(30):
        scene = draw_scene(seed, height=96, width=80)
        assert scene.image.shape == (96, 80, 3) and scene.image.dtype == np.uint8
        assert scene.instances.shape == (96, 80) and scene.instances.dtype == np.int32
        areas = np.bincount(scene.instances.ravel())
        assert (areas[1:] >= 0.02 * 96 * 80).all()
        assert scene.image.std() > 8
        counts.append(len(areas) - 1)
    assert set(counts) == {2, 3, 4, 5}


@pytest.mark.parametrize("num_objects", [1, 3, 8])
def test_number_of_objects_as_asked(num_objects):
    scene = draw_scene(0, height=120, width=200, num_objects=num_objects)
    assert np.unique(scene.instances).tolist() == list(range(num_objects + 1))


@pytest.mark.parametrize(("height", "width"), [(64, 192), (192, 64), (64, 64)])
def test_extreme_sizes_hold_objects(height, width):
    for seed in range(10):
        assert draw_scene(seed, height=height, width=width).instances.max() >= 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"height": 63, "width": 100}, "100x63"),
        ({"height": 100, "width": 5000}, "5000x100"),
        ({"height": 100, "width": 301}, "3 times"),
        ({"height": 100, "width": 100, "num_objects": 0}, "0 objects"),
        ({"height": 100, "width": 100, "num_objects": 9}, "9 objects"),
        ({"height": 64, "width": 64, "num_objects": 1, "accept": lambda _: False}, "20 layouts"),
    ],
)
def test_what_cannot_be_drawn_is_refused(arguments, message, monkeypatch):
    monkeypatch.setattr(layout, "_ATTEMPTS", 20)
    with pytest.raises(ValueError, match=message):
        draw_scene(0, **arguments)


def test_accept_is_satisfied_and_changes_nothing_if_the_first_layout_satisfies_it():
    free = draw_scene(1, height=80, width=80)
    same = draw_scene(1, height=80, width=80, accept=lambda _: True)
    np.testing.assert_array_equal(free.image, same.image)
    left = draw_scene(1, height=80, width=80, accept=lambda m: bool((m[:, :8] > 0).any()))
    assert (left.instances[:, :8] > 0).any()


def test_streams_are_disjoint():
    streams = (SAMPLES_STREAM, TRAIN_STREAM, VALIDATION_STREAM)
    firsts = [draw_scene((stream, 0), height=64, width=64).image for stream in streams]
    for one, two in itertools.combinations(firsts, 2):
        assert (one != two).mean() > 0.5


@pytest.mark.parametrize("power", [2.0, 4.0])
@pytest.mark.parametrize("mirrored", [False, True])
def test_mask_of_a_turned_superellipse_is_exact_at_pixel_centres(power, mirrored):
    a, b, angle, scale, x, y = 1.0, 0.6, 0.5, 37.3, 61.7, 48.2
    thing = place(shapes.ellipse(a, b, power), Pose(x, y, scale, angle, mirrored), (100, 120))
    instances = instance_map([thing], (100, 120))
    expected = np.zeros((100, 120), np.int32)
    margin = np.zeros((100, 120))
    side = -1 if mirrored else 1
    for row in range(100):
        for column in range(120):
            dx, dy = (column + 0.5 - x) / scale, -(row + 0.5 - y) / scale
            u = side * (dx * np.cos(angle) + dy * np.sin(angle))
            v = dy * np.cos(angle) - dx * np.sin(angle)
            value = abs(u / a) ** power + abs(v / b) ** power
            expected[row, column], margin[row, column] = value < 1, abs(value - 1)
    clear = margin > 1e-4  # float32 decides the rest
    assert clear.mean() > 0.99
    np.testing.assert_array_equal(instances[clear], expected[clear])


def test_mirrored_shapes_are_mirrored():
    shape = things.mug(_generator(0))
    maps = [
        instance_map([place(shape, Pose(50, 40, 25, 0.0, mirrored), (80, 100))], (80, 100))
        for mirrored in (False, True)
    ]
    np.testing.assert_array_equal(maps[0], maps[1][:, ::-1])
    assert (maps[0] != maps[1]).any()


def test_front_objects_hide_those_behind_and_keep_their_order():
    disc = shapes.ellipse(1, 1)
    placed = [place(disc, Pose(x, 40, 25), (80, 100)) for x in (40, 60)]
    instances = instance_map(placed, (80, 100))
    y, x = np.mgrid[:80, :100] + 0.5
    first, second = np.hypot(x - 40, y - 40) < 25, np.hypot(x - 60, y - 40) < 25
    assert (first & second).any()
    np.testing.assert_array_equal(instances, np.where(second, 2, np.where(first, 1, 0)))


@pytest.mark.parametrize("maker", MAKERS, ids=lambda maker: maker.__name__)
def test_shapes_lie_in_their_boxes_in_one_piece(maker):
    for seed in range(5):
        shape = maker(_generator(seed))
        left, bottom, right, top = shape.box
        wide, high = right - left, top - bottom
        u, v = np.meshgrid(
            np.linspace(left - wide / 2, right + wide / 2, 301, dtype=np.float32),
            np.linspace(bottom - high / 2, top + high / 2, 301, dtype=np.float32),
        )
        found = shape.surface(u, v)
        inside = found.field < 0
        slack = 0.01 * max(wide, high)
        in_box = (u > left - slack) & (u < right + slack) & (v > bottom - slack) & (v < top + slack)
        assert not (inside & ~in_box).any()
        assert found.height.shape == found.field.shape == u.shape
        pieces, number = scipy.ndimage.label(inside, np.ones((3, 3)))
        areas = np.bincount(pieces.ravel())[1:]
        assert number >= 1 and areas.max() > 0.99 * areas.sum()
        assert np.isfinite(found.height[inside]).all() and np.isfinite(found.field).all()
        cell = wide * high * 4 / 300**2
        assert shape.area() == pytest.approx(inside.sum() * cell, rel=0.2)


def test_paint_stays_on_the_objects():
    # Shadows leave a black canvas black, so what is bright is an object's paint.
    backdrop = Backdrop(studio, 40.0)
    for seed in range(6):
        rng = _generator(seed)
        placed, instances = lay_out(rng, backdrop, (120, 160), 3)
        canvas = np.zeros((3, 120, 160), np.float32)
        image = paint_scene(rng, canvas, placed, backdrop.horizon)
        near = scipy.ndimage.binary_dilation(instances > 0, np.ones((3, 3)), iterations=2)
        brightness = image.max(-1)
        assert np.median(brightness[~near]) < 20 and brightness[~near].max() < 60
        for number in (1, 2, 3):
            assert np.percentile(brightness[instances == number], 90) > 30


def test_some_scenes_hold_objects_of_the_same_shape():
    repeated = 0
    for seed in range(30):
        placed, _ = lay_out(_generator(seed), Backdrop(studio, 30.0), (80, 100), 3)
        groups = {thing.template: thing.shape for thing in placed}
        assert all(thing.shape is groups[thing.template] for thing in placed)
        repeated += len(groups) < 3
    assert 5 <= repeated <= 25


def test_brightness_does_not_give_the_objects_away():
    brighter = []
    for seed in range(60):
        scene = draw_scene((VALIDATION_STREAM, seed), height=64, width=80)
        grey = scene.image.mean(-1)
        brighter.append(grey[scene.instances > 0].mean() > grey[scene.instances == 0].mean())
    assert 0.25 < np.mean(brighter) < 0.75
