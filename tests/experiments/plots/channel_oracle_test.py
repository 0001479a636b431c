"""Fig. 2: each channel's own mIoU against loops and cases worked by hand, strata, and bars."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.plots import channel_oracle
from specjax import kmeans
from tests.support import oracles, plots

TOKENS = 30


@pytest.fixture(scope="module")
def image():
    """(features, foreground, truth, counted); channels separate the instances more or less."""
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 4, TOKENS)
    knowledge = rng.uniform(0, 3, plots.CHANNELS)
    features = truth[:, None] * knowledge + rng.normal(0, 1, (TOKENS, plots.CHANNELS))
    foreground = (truth > 0) ^ (rng.random(TOKENS) < 0.15)
    counted = rng.random(TOKENS) < 0.9
    foreground[-1] = counted[-1] = True
    return features.astype(np.float32), foreground, truth, counted


one_by_one = jax.jit(kmeans, static_argnames="max_clusters")


def mious(image, clusters=3, capacity=32, most=8, tokens=40):
    features, foreground, truth, counted = (plots.padded(array, tokens) for array in image)
    found = channel_oracle.channel_mious(
        features,
        foreground,
        truth.astype(jnp.int32),
        counted,
        clusters,
        jax.random.key(0),
        max_instances=most,
        capacity=capacity,
    )
    return np.asarray(found)


@pytest.mark.parametrize("clusters", [1, 2, 3, 4])
def test_each_channel_splits_the_foreground(image, clusters):
    """A channel at a time, over all tokens, and scored by scipy's assignment."""
    features, foreground, truth, counted = image
    expected = []
    for channel in features.T:
        alone = one_by_one(
            jnp.asarray(channel)[:, None],
            clusters,
            jax.random.key(0),
            max_clusters=4,
            mask=jnp.asarray(foreground),
        )
        labels = np.asarray(alone.labels) + 1
        expected.append(oracles.matched_ious(labels[counted], truth[counted]).mean())
    np.testing.assert_allclose(mious(image, clusters), expected, rtol=1e-5)
    assert len(set(expected)) > 10 or clusters == 1


def test_a_channel_that_separates_the_instances():
    """Twelve tokens, 1-1-1-1-2-2-2-2 and four of background, one of which is taken for foreground.

    The first channel splits what it is given exactly: 4/5 and 1. The second is constant, so that
    all is one cluster: 4/9 and nothing. The third tells one token of the second instance.
    """
    truth = np.repeat([1, 2, 0], 4)
    features = np.zeros((12, plots.CHANNELS), np.float32)
    features[:, 0] = np.where(truth == 2, 5.0, 1.0)
    features[4, 2] = 1.0
    foreground = np.arange(12) < 9
    found = mious((features, foreground, truth, np.ones(12, bool)), clusters=2)
    np.testing.assert_allclose(found[:3], [0.9, 2 / 9, (4 / 8 + 1 / 4) / 2], rtol=1e-6)


def test_capacity_and_bounds_change_nothing(image):
    expected = mious(image)
    least = mious(image, capacity=int(image[1].sum()), most=4, tokens=TOKENS)
    np.testing.assert_allclose(least, expected, rtol=1e-6)


def test_no_foreground_scores_nothing(image):
    features, foreground, truth, counted = image
    assert (mious((features, 0 * foreground > 0, truth, counted)) == 0).all()


def line(count, best, method):
    return {"num_instances": count, "best_channel_miou": best, "method_miou": method}


LINES = [line(2, 0.5, 0.25), line(4, 1.0, 0.125), line(2, 0.75, 0.5), line(9, 0.0, 0.5),
         line(5, 0.0, 1.0), line(1, None, None), line(0, None, None)]  # fmt: skip


def test_strata():
    rows = channel_oracle.by_number_of_instances(LINES)
    assert [tuple(row.values()) for row in rows] == [
        ("2", 2, 0.625, 0.375), ("3", 0, None, None), ("4", 1, 1.0, 0.125), ("5+", 2, 0.0, 0.75),
    ]  # fmt: skip
    assert tuple(rows[0]) == channel_oracle.HEADER


def test_plot(tmp_path):
    paths = channel_oracle.write(tmp_path, LINES)
    assert [path.name for path in paths] == ["oracle.png", "oracle.svg", "oracle.csv"]
    methods = [row["method_miou"] for row in plots.rows_of(paths[2])]
    assert methods == ["0.375", "", "0.125", "0.75"]
    texts = plots.texts_of(paths[1])
    assert {"62.5", "37.5", "100.0", "12.5", "0.0", "75.0", "mIoU (%)"} <= set(texts)
    counts = [text for text in texts if text.endswith(("image)", "images)"))]
    assert counts == ["(2 images)", "(no images)", "(1 image)", "(2 images)"]


def test_plot_of_no_image(tmp_path):
    assert len(channel_oracle.write(tmp_path, [])) == 3
