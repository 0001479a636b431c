"""The numbers behind the figures of channels, against loops and cases worked by hand."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.plots import channel_deviation_numbers as channel_deviation
from experiments.plots import channel_oracle_numbers as channel_oracle
from experiments.plots import channel_order_numbers as channel_order
from specjax.clustering import kmeans
from specjax.config import Config
from specjax.pipeline import reduce_for_instances
from specjax.protocol import REFERENCE
from tests.support import oracles

GRID, CHANNELS = (5, 6), 32
CONFIG = Config(M=9, N=4, bins=8)


@pytest.fixture(scope="module")
def image():
    """(features, foreground, truth, counted) on a grid of 30 tokens; no padding."""
    rng = np.random.default_rng(3)
    tokens = GRID[0] * GRID[1]
    truth = rng.integers(0, 4, tokens)
    # Channels that know the instances to various degrees.
    knowledge = rng.uniform(0, 3, CHANNELS)
    features = truth[:, None] * knowledge + rng.normal(0, 1, (tokens, CHANNELS))
    foreground = (truth > 0) ^ (rng.random(tokens) < 0.15)
    counted = rng.random(tokens) < 0.9
    foreground[-1] = counted[-1] = True
    return features.astype(np.float32), foreground, truth, counted


def padded(array, tokens=40):
    """With rows behind the grid."""
    return jnp.asarray(np.pad(array, [(0, tokens - len(array))] + [(0, 0)] * (array.ndim - 1)))


one_by_one = jax.jit(kmeans, static_argnames="max_clusters")


def mious(image, clusters=3, capacity=32, most=8, tokens=40):
    features, foreground, truth, counted = (padded(array, tokens) for array in image)
    found = channel_oracle.channel_mious(
        features, foreground, truth.astype(jnp.int32), counted, clusters, jax.random.key(0),
        max_instances=most, capacity=capacity,
    )  # fmt: skip
    return np.asarray(found)


@pytest.mark.parametrize("clusters", [1, 2, 3, 4])
def test_each_channel_splits_the_foreground(image, clusters):
    """A channel at a time, over all tokens, and scored by scipy's assignment."""
    features, foreground, truth, counted = image
    expected = []
    for channel in features.T:
        alone = one_by_one(
            jnp.asarray(channel)[:, None], clusters, jax.random.key(0), max_clusters=4,
            mask=jnp.asarray(foreground),
        )  # fmt: skip
        labels = np.asarray(alone.labels) + 1
        expected.append(oracles.matched_ious(labels[counted], truth[counted]).mean())
    np.testing.assert_allclose(mious(image, clusters), expected, rtol=1e-5)
    assert len(set(expected)) > 10 or clusters == 1


def test_a_channel_that_knows_the_instances():
    """Twelve tokens, 1-1-1-1-2-2-2-2 and four of background, one of which is taken for foreground.

    The first channel splits what it is given exactly: 4/5 and 1. The second is constant, so that
    all is one cluster: 4/9 and nothing. The third tells one token of the second instance.
    """
    truth = np.repeat([1, 2, 0], 4)
    features = np.zeros((12, 3), np.float32)
    features[:, 0] = np.where(truth == 2, 5.0, 1.0)
    features[4, 2] = 1.0
    foreground = np.arange(12) < 9
    found = mious((features, foreground, truth, np.ones(12, bool)), clusters=2)
    np.testing.assert_allclose(found, [0.9, 2 / 9, (4 / 8 + 1 / 4) / 2], rtol=1e-6)


def test_capacity_and_bounds_change_nothing(image):
    expected = mious(image)
    for options in ({"capacity": int(image[1].sum()), "most": 4}, {"tokens": 30}):
        np.testing.assert_allclose(mious(image, **options), expected, rtol=1e-6)


def test_no_foreground_scores_nothing(image):
    features, foreground, truth, counted = image
    assert (mious((features, 0 * foreground > 0, truth, counted)) == 0).all()


def line(count, best, method):
    return {"num_instances": count, "best_channel_miou": best, "method_miou": method}


def test_strata():
    lines = [line(2, 0.5, 0.4), line(4, 0.25, 0.75), line(2, 0.7, 0.5), line(9, 0.1, 0.2),
             line(5, 0.3, 0.2), line(1, None, None), line(0, None, None)]  # fmt: skip
    rows = channel_oracle.by_number_of_instances(lines)
    assert [tuple(row.values()) for row in rows] == [
        ("2", 2, pytest.approx(0.6), pytest.approx(0.45)),
        ("3", 0, None, None),
        ("4", 1, 0.25, 0.75),
        ("5+", 2, pytest.approx(0.2), pytest.approx(0.2)),
    ]
    assert list(rows[0]) == ["instances", "images", "best_channel_miou", "method_miou"]


@pytest.fixture(scope="module")
def large():
    """Features on a grid of 300 tokens: enough for no two entropies to be equal."""
    rng = np.random.default_rng(4)
    return (rng.normal(0, 1, (300, CHANNELS)) * rng.uniform(0.5, 2, CHANNELS)).astype(np.float32)


LARGE = (15, 20)


def ranked(features):
    """NCR and DCR in numpy: entropy, channels by entropy, normalised features of the first M."""
    entropy = oracles.entropy(features, CONFIG.bins)
    order = np.argsort(entropy, kind="stable")
    kept = features[:, order[: CONFIG.M]].astype(np.float64)
    kept /= np.linalg.norm(kept, axis=1, keepdims=True)
    return entropy, order, kept


def test_order_of_channels(large):
    entropy, order, kept = ranked(large)
    deviations = kept.std(axis=0)
    selected = np.argsort(-deviations)[: CONFIG.N]
    found = channel_order.channel_order(
        padded(large, 320), jnp.asarray(LARGE), config=CONFIG
    )
    np.testing.assert_allclose(found.entropy, entropy, rtol=1e-5)
    np.testing.assert_array_equal(found.by_entropy, order)
    np.testing.assert_array_equal(found.selected, order[selected])
    np.testing.assert_allclose(found.deviation, deviations[selected], rtol=1e-5)


@pytest.mark.parametrize("config", [CONFIG, dataclasses.replace(CONFIG, protocol=REFERENCE)])
def test_selected_channels_are_the_method_s(image, config):
    features, foreground = map(padded, image[:2])
    found = channel_order.channel_order(features, jnp.asarray(GRID), config=config)
    method = reduce_for_instances(features, foreground, jnp.asarray(GRID), config=config)
    kept = features[:, found.by_entropy[: config.M]]
    places = [found.by_entropy.tolist().index(channel) for channel in found.selected.tolist()]
    norm = jnp.maximum(jnp.linalg.norm(kept, axis=1, keepdims=True), 1e-9)
    expected = jnp.where(foreground[:, None], (kept / norm)[:, jnp.asarray(places)], 0.0)
    np.testing.assert_allclose(method, expected, atol=1e-6)


def by_rank(features, truth, most=8):
    return channel_deviation.deviation_by_rank(
        padded(features, 320), jnp.asarray(LARGE), padded(truth, 320).astype(jnp.int32),
        config=CONFIG, max_instances=most,
    )  # fmt: skip


@pytest.fixture(scope="module")
def regions():
    """Three instances and background."""
    return np.random.default_rng(6).choice(4, 300, p=[0.4, 0.3, 0.2, 0.1])


def test_deviation_and_difference_by_rank(large, regions):
    kept = ranked(large)[2]
    deviations = kept.std(axis=0)
    order = np.argsort(-deviations)
    expected = []
    for channel in kept.T[order]:
        apart = [abs(channel[regions == a].mean() - channel[regions == b].mean())
                 for a, b in itertools.combinations((1, 2, 3), 2)]  # fmt: skip
        expected.append(sum(apart) / 3)
    for most in (3, 8):
        found = by_rank(large, regions, most)
        np.testing.assert_allclose(found.deviation, deviations[order], rtol=1e-5)
        np.testing.assert_allclose(found.difference, expected, rtol=1e-4)


def test_one_instance_differs_from_none(large, regions):
    assert (by_rank(large, np.minimum(regions, 1)).difference == 0).all()
    assert (by_rank(large, 0 * regions).difference == 0).all()


def test_average_by_rank():
    lines = [
        {"num_instances": 2, "deviation": [0.5, 0.25], "difference": [0.125, 0.5]},
        {"num_instances": 1, "deviation": None, "difference": None},
        {"num_instances": 3, "deviation": [0.75, 0.25], "difference": [0.375, 0.0]},
    ]
    assert channel_deviation.average_by_rank(lines) == [
        {"rank": 1, "deviation": 0.625, "difference": 0.25},
        {"rank": 2, "deviation": 0.25, "difference": 0.25},
    ]
    assert channel_deviation.average_by_rank(lines[1:2]) == []
