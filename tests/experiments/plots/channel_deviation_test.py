"""Fig. 5: curves by rank, against loops in numpy and cases worked by hand."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.plots import channel_deviation
from tests.support import plots


@pytest.fixture(scope="module")
def features():
    return plots.features()


@pytest.fixture(scope="module")
def regions():
    """Three instances and background."""
    return np.random.default_rng(6).choice(4, 300, p=[0.4, 0.3, 0.2, 0.1])


def by_rank(features, truth, most=8):
    return channel_deviation.deviation_by_rank(
        plots.padded(features),
        jnp.asarray(plots.GRID),
        plots.padded(truth).astype(jnp.int32),
        config=plots.CONFIG,
        max_instances=most,
    )


def test_deviation_and_difference_by_rank(features, regions):
    kept = plots.ranked(features)[2]
    deviations = kept.std(axis=0)
    order = np.argsort(-deviations)
    expected = []
    for channel in kept.T[order]:
        means = [channel[regions == number].mean() for number in (1, 2, 3)]
        expected.append(sum(abs(a - b) for a, b in itertools.combinations(means, 2)) / 3)
    for most in (3, 8):
        found = by_rank(features, regions, most)
        np.testing.assert_allclose(found.deviation, deviations[order], rtol=1e-5)
        np.testing.assert_allclose(found.difference, expected, rtol=1e-4)


def test_one_instance_differs_from_none(features, regions):
    assert (by_rank(features, np.minimum(regions, 1)).difference == 0).all()
    assert (by_rank(features, 0 * regions).difference == 0).all()


LINES = [
    {"num_instances": 2, "deviation": [0.5, 0.25], "difference": [0.125, 0.5]},
    {"num_instances": 1, "deviation": None, "difference": None},
    {"num_instances": 3, "deviation": [0.75, 0.25], "difference": [0.375, 0.0]},
]


def test_average_by_rank():
    assert channel_deviation.average_by_rank(LINES) == [(1, 0.625, 0.25), (2, 0.25, 0.25)]
    assert channel_deviation.average_by_rank(LINES[1:2]) == []


def test_plot(tmp_path):
    paths = channel_deviation.write(tmp_path, LINES, N=1)
    assert [path.name for path in paths] == ["deviation.png", "deviation.svg", "deviation.csv"]
    assert [tuple(row.values()) for row in plots.rows_of(paths[2])] == [
        ("1", "0.625", "0.25"), ("2", "0.25", "0.25"),
    ]  # fmt: skip
    assert "N = 1" in plots.texts_of(paths[1])
    deviation, difference, mark = channel_deviation.draw([(1, 0.5, 0.2)], N=1).axes[0].get_lines()
    assert (deviation.get_ydata(), difference.get_ydata()) == ([0.5], [0.2])
    assert deviation.get_marker() != difference.get_marker() and mark.get_xdata() == [1, 1]


def test_plot_of_no_image(tmp_path):
    paths = channel_deviation.write(tmp_path, LINES[1:2], N=1)
    assert plots.rows_of(paths[2]) == []
    assert "no image with two instances" in plots.texts_of(paths[1])
