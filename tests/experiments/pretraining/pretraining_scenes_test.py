"""What the built-in backbone learns from drawn scenes: batches, targets, losses."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.datasets.records import passes_paper_rule
from experiments.pretraining import scene_batches
from experiments.pretraining.scene_batches import draw_batch, object_places, prepare
from experiments.pretraining.scene_objective import (
    regression_loss,
    scene_loss,
    structure_loss,
    targets,
)

TRUST = [1.0, 0.4]


def cosines(vectors):
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit @ unit.T


def test_targets_have_the_similarities_that_the_method_needs():
    places = jnp.array([[0.2, 0.2, 0.3], [0.2, 0.2, 0.3], [0.8, 0.7, 0.3], [0.0, 0.0, 0.0]])
    foreground = jnp.array([True, True, True, False])
    wanted = np.asarray(targets(places, foreground, channels=384))
    for subset in (slice(None), slice(0, 128), slice(256, 384)):
        similarity = cosines(wanted[:, subset])
        assert similarity[0, 1] == pytest.approx(1, abs=1e-5)
        assert 0.2 < similarity[0, 2] < 0.6
        assert similarity[0, 3] < -0.4 and similarity[2, 3] < -0.4


def test_loss_is_a_weighted_mean_of_squares():
    rng = np.random.default_rng(0)
    keys = rng.normal(size=(2, 5, 6)).astype(np.float32)
    places = rng.random((2, 5, 3)).astype(np.float32)
    foreground = rng.random((2, 5)) < 0.5
    wanted = [
        np.asarray(targets(jnp.asarray(places[i]), jnp.asarray(foreground[i]), channels=6))
        for i in range(2)
    ]
    total = weights = 0.0
    for i in range(2):
        for t in range(5):
            weight = TRUST[i] if foreground[i, t] else 0.7
            total += weight * np.mean((keys[i, t] - wanted[i][t]) ** 2)
            weights += weight
    instances = jnp.asarray(foreground.astype(np.int32))
    loss = regression_loss(jnp.asarray(keys), jnp.asarray(places), instances, jnp.array(TRUST))
    assert float(loss) == pytest.approx(total / weights, rel=1e-5)


def test_structure_loss_is_a_weighted_mean_over_pairs():
    rng = np.random.default_rng(0)
    keys = rng.normal(size=(2, 5, 6)).astype(np.float32)
    instances = rng.integers(0, 3, (2, 5)).astype(np.int32)
    total = weights = 0.0
    for image in range(2):
        similarity = cosines(keys[image])
        for i, one in enumerate(instances[image]):
            for j, other in enumerate(instances[image]):
                if one and other:
                    wanted, weight = (0.95 if one == other else 0.1), 2.0
                else:
                    wanted, weight = (0.8 if one == other else -0.2), 1.0
                weight *= TRUST[image] ** np.count_nonzero([one, other])
                total += weight * (similarity[i, j] - wanted) ** 2
                weights += weight
    loss = structure_loss(jnp.asarray(keys), jnp.asarray(instances), jnp.array(TRUST))
    assert float(loss) == pytest.approx(total / weights, rel=1e-5)


def test_scene_loss_leaves_the_first_block_alone():
    rng = np.random.default_rng(0)
    blocks = [jnp.asarray(rng.normal(size=(2, 4, 6)), jnp.float32) for _ in range(4)]
    instances, places = rng.integers(0, 3, (2, 4)), rng.random((2, 4, 3))
    gradients = jax.jit(jax.grad(scene_loss))(
        blocks, jnp.asarray(instances), jnp.asarray(places, jnp.float32), jnp.array(TRUST)
    )
    moved = [float(jnp.max(jnp.abs(gradient))) > 0 for gradient in gradients]
    assert moved == [False, True, True, True]


def test_places_are_centres_and_sizes():
    labels = np.zeros((4, 8), int)
    labels[1:3, 2:6] = 2
    places = object_places(labels)
    np.testing.assert_allclose(places[2], [0.5, 0.5, 0.5])
    np.testing.assert_array_equal(places[:2], 0)


def test_drawn_batches_follow_the_test_rule_and_differ():
    shape = (192, 256, 4)
    first, maps = draw_batch(0, 0, shape)
    assert first.shape == (4, 192, 256, 3)
    assert all(passes_paper_rule(labels) for labels in maps)
    again, _ = draw_batch(0, 0, shape)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, draw_batch(1, 0, shape)[0])


def test_prepared_tokens_carry_their_own_object():
    pixels = np.zeros((1, 32, 48, 3), np.uint8)
    labels = np.zeros((1, 32, 48), np.int32)
    labels[0, :, 32:] = 1
    batch = prepare(pixels, labels, np.random.default_rng(0))
    patches, instances, places = batch.arrays
    assert patches.shape == (1, 6, 768) and batch.shape == (2, 3)
    columns = np.flatnonzero(instances[0].reshape(2, 3)[0])
    assert columns.tolist() in ([2], [0])
    x = places[0, instances[0] > 0, 0]
    np.testing.assert_allclose(x, (columns[0] + 0.5) / 3, atol=1e-6)


def test_stream_begins_anywhere(monkeypatch):
    monkeypatch.setattr(scene_batches, "_BLOCK", 2)
    monkeypatch.setattr(scene_batches, "_PASSES", 2)
    futures = scene_batches.concurrent.futures
    pools = []

    def threads(*_, **__):
        pools.append(futures.ThreadPoolExecutor(1))
        return pools[-1]

    monkeypatch.setattr(futures, "ProcessPoolExecutor", threads)
    monkeypatch.setattr(
        scene_batches, "draw_batch", lambda seed, number, shape: _flat_batch(seed, number)
    )
    stream = scene_batches.SceneBatches(0, ((64, 64, 1),))
    batches = stream.batches()
    whole = [batch.arrays[0] for batch in itertools.islice(batches, 7)]
    late = [batch.arrays[0] for batch in itertools.islice(stream.batches(3), 4)]
    for one, other in zip(whole[3:], late, strict=True):
        np.testing.assert_array_equal(one, other)
    assert len({batch.tobytes() for batch in whole}) == 7
    batches.close()
    with pytest.raises(RuntimeError, match="after shutdown"):
        pools[0].submit(print)


def _flat_batch(seed, number):
    rng = np.random.default_rng((seed, number))
    return rng.integers(0, 256, (1, 64, 64, 3), np.uint8), np.ones((1, 64, 64), np.int32)
