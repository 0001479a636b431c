"""Batches on one device and on several: the result of an image is the same as without them."""

import dataclasses
import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from specjax import Config, pipeline
from specjax import _batching as batching
from specjax.errors import SpecjaxError
from tests.support.devices import environment
from tests.support.run_binary import ROOT

CONFIG = Config(M=12, N=6, metric="braycurtis")
TOKENS = 320
SHAPES = [(12, 20), (16, 16), (20, 16), (9, 30), (17, 18)]


def scene(shape, seed):
    """Noisy features of three objects on a grid, padded."""
    rng = np.random.default_rng(seed)
    truth = np.zeros(shape, int)
    third = shape[1] // 3
    for number in range(3):
        truth[2 : shape[0] // 2, number * third : number * third + third - 2] = number + 1
    kinds = rng.normal(size=(4, 24)) + 2.0 * (np.arange(4) > 0)[:, None]
    features = 1.0 + kinds[truth.ravel()] + 0.3 * rng.normal(size=(truth.size, 24))
    return np.pad(features, ((0, TOKENS - truth.size), (0, 0))).astype(np.float32)


def whole(scale, features, grid, count):
    """Both stages; `scale` stands for what all images share."""
    features = features * scale
    split = pipeline.segment_foreground(features, grid, config=CONFIG)
    reduced = pipeline.reduce_features(features, split.mask, grid, config=CONFIG)
    pairs = pipeline.instance_eigenpairs(reduced, split.mask, grid, config=CONFIG)
    found = pipeline.label_instances(
        pairs, split.mask, grid, count, jax.random.key(0), config=CONFIG, max_instances=8
    )
    return split, found


def images(numbers):
    features = np.stack([scene(SHAPES[n], n) for n in numbers])
    return features, np.array([SHAPES[n] for n in numbers], np.int32), np.int32(numbers) % 3 + 2


def batched(numbers, slots, *, vectorize=False, mesh=None):
    """Results of some of the images, in a batch of `slots` slots per device."""
    mesh = mesh or batching.image_mesh()
    rows, counts = batching.slots_of(len(numbers), devices=mesh.size, slots=slots)
    arrays = []
    for array in images(numbers):
        stacked = np.zeros((mesh.size * slots, *array.shape[1:]), array.dtype)
        stacked[rows] = array
        arrays.append(batching.shared_out(mesh, stacked))
    lifted = batching.over_images(whole, mesh=mesh, vectorize=vectorize, shared=1)
    found = jax.device_get(lifted(batching.shared_out(mesh, counts), jnp.float32(1), *arrays))
    return [jax.tree.map(lambda leaf, row=row: leaf[row], found) for row in rows]


@pytest.fixture(scope="module")
def alone():
    """Each image by itself."""
    arrays = images(range(len(SHAPES)))
    one = jax.jit(whole)
    return [jax.device_get(one(jnp.float32(1), *(a[n] for a in arrays))) for n in range(5)]


@pytest.mark.parametrize("vectorize", [False, True])
def test_a_batch_gives_what_each_image_gives(alone, vectorize):
    order = [3, 1, 0, 4, 2]
    for number, found in zip(order, batched(order, 6, vectorize=vectorize), strict=True):
        split, instances = found
        np.testing.assert_array_equal(split.mask, alone[number][0].mask)
        np.testing.assert_array_equal(instances.labels, alone[number][1].labels)
        np.testing.assert_allclose(
            instances.eigenvalues, alone[number][1].eigenvalues, rtol=0, atol=2e-6
        )
    assert {int(one[1].labels.max()) for one in alone} >= {2, 3, 4}


def test_a_loop_gives_the_same_bits_whatever_is_beside_an_image():
    first, second = batched([0, 1, 2], 6), batched([2, 0], 6)
    for found, expected in ((second[0], first[2]), (second[1], first[0])):
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            np.testing.assert_array_equal(a, b)


def test_images_are_dealt_out_in_turn():
    rows, counts = batching.slots_of(5, devices=2, slots=3)
    assert rows == [0, 3, 1, 4, 2] and counts.tolist() == [3, 2]
    rows, counts = batching.slots_of(1, devices=3, slots=2)
    assert rows == [0] and counts.tolist() == [1, 0, 0] and counts.dtype == np.int32
    with pytest.raises(SpecjaxError, match="7 images do not fit 2 devices of 3 slots"):
        batching.slots_of(7, devices=2, slots=3)


def test_rows_that_do_not_share_out():
    lifted = batching.over_images(lambda x, y: x + y, mesh=batching.image_mesh())
    with pytest.raises(SpecjaxError, match=r"\[2, 3\] rows"):
        lifted(jnp.ones(1, jnp.int32), jnp.zeros((2, 1)), jnp.zeros((3, 1)))


def results_on_this_process_s_devices():
    """Labels and masks, as JSON can hold them."""
    return [
        [np.asarray(found[0].mask).tolist(), np.asarray(found[1].labels).tolist()]
        for found in batched([4, 3, 2, 1, 0], 2)
    ]


def test_several_devices_give_the_same(alone):
    code = (
        "import json, jax; from tests.specjax import _batching_test as t;"
        "print(json.dumps([jax.local_device_count(), t.results_on_this_process_s_devices()]))"
    )
    out = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, **environment(3)},
        stdout=subprocess.PIPE,
        check=True,
        timeout=120,
    ).stdout
    count, found = json.loads(out)
    assert count == 3
    for (mask, labels), expected in zip(found, reversed(alone), strict=True):
        assert mask == expected[0].mask.tolist()
        assert labels == expected[1].labels.tolist()


# ---------------------------------------------------------------- lanes


def test_programs_are_forgotten_where_they_are_many(monkeypatch):
    function = jax.jit(lambda x: x + 1)
    function(1.0)
    maps = 10
    monkeypatch.setattr(batching, "memory_maps", lambda: maps)
    programs = batching.Programs()
    programs.make_room_for("a")
    assert function._cache_size() == 1
    maps = 10**6
    programs.make_room_for("a")  # known: nothing new is compiled
    assert function._cache_size() == 1
    for number in range(3):  # maps are not counted for each program
        programs.make_room_for(number)
        assert function._cache_size() == 1
    programs.make_room_for("b")
    assert function._cache_size() == 0
    # Where dropping programs frees few maps, it is not tried again at once.
    function(1.0)
    for number in range(100):
        programs.make_room_for(number)
    assert function._cache_size() == 1


def test_large_images_are_fewer():
    lanes = batching.open_lanes(16)
    assert [lanes.room_for(tokens) for tokens in (256, 4096, 8192, 20480)] == [16, 16, 8, 3]
    assert batching.open_lanes(1).room_for(2**18) == 1
    # Where all images are computed at once, so are their graphs.
    at_once = dataclasses.replace(lanes, vectorize=True)
    assert [at_once.room_for(tokens) for tokens in (256, 3712, 8192, 20480)] == [16, 12, 2, 1]
    for each in (lanes, at_once):
        assert each.graphs_for(256) > 9 and each.graphs_for(20480) == 1


def test_few_images_take_few_slots_where_empty_ones_cost():
    lanes = batching.open_lanes(16)
    assert batching.Batch(lanes, 3, 256).slots == 16
    at_once = dataclasses.replace(lanes, vectorize=True)
    assert [batching.Batch(at_once, n, 256).slots for n in (1, 2, 3, 9, 16)] == [1, 2, 4, 16, 16]


def test_a_batch_stacks_runs_and_fetches():
    batch = batching.Batch(batching.open_lanes(4), 3, 256)
    arrays = [np.full((2, 3), n, np.float32) for n in range(3)]

    def scaled(factor, array, *, power):
        return factor * array**power, jnp.sum(array)

    found = batch.fetch(batch.run(scaled, batch.stack(arrays), shared=(jnp.float32(10),), power=2))
    for array, (powers, total) in zip(arrays, found, strict=True):
        np.testing.assert_array_equal(powers, 10 * array**2)
        assert total == array.sum()
