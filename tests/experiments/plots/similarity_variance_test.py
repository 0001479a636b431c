"""Fig. 13: variances against loops, draws, and bars."""

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.plots import similarity_variance as variance
from tests.support import oracles, plots


def test_tokens_are_drawn_from_their_instances():
    truth = np.repeat([0, 1, 2, 0, 3], [7, 25, 4, 2, 10])
    draws = []
    for seed in range(200):
        generator = variance.generator_of(seed, "image")
        places, owners = variance.sample_tokens(truth, generator, max_instances=8)
        assert places.shape == owners.shape == (80,)
        assert np.bincount(owners, minlength=4)[1:4].tolist() == [10, 4, 10]
        drawn = places[owners > 0]
        assert len(set(drawn.tolist())) == 24
        np.testing.assert_array_equal(truth[drawn], owners[owners > 0])
        draws.append(drawn)
    # Every token of the large instance has the same chance, 10 in 25.
    counts = np.bincount(np.concatenate(draws), minlength=len(truth))[7:32]
    assert counts.min() > 40 and counts.max() < 120


def test_a_draw_depends_on_seed_and_image_alone():
    truth = np.repeat([1, 2], 50)

    def draw(seed, image):
        generator = variance.generator_of(seed, image)
        return variance.sample_tokens(truth, generator, max_instances=8)[0].tolist()

    assert draw(0, "a") == draw(0, "a")
    assert len({tuple(draw(*of)) for of in ((0, "a"), (1, "a"), (0, "b"), (1, "b"))}) == 4


@pytest.mark.parametrize("metric", oracles.METRICS)
def test_sampled_variances(metric):
    """Affinities of the whole F'', in float64, cut to the tokens that were drawn."""
    rng = np.random.default_rng(5)
    truth = rng.integers(0, 4, 60)
    reduced = np.where(truth[:, None] > 0, rng.normal(0.2, 0.3, (60, 7)), 0).astype(np.float32)
    places, owners = variance.sample_tokens(truth, variance.generator_of(0, "x"), max_instances=8)
    drawn = places[owners > 0]
    whole = oracles.affinity(reduced, metric)
    expected = oracles.similarity_variances(whole[np.ix_(drawn, drawn)], owners[owners > 0])
    found = variance.sampled_variances(
        plots.padded(reduced, 64),
        jnp.arange(64) < 60,
        jnp.asarray(places),
        jnp.asarray(owners),
        metric=metric,
        max_instances=8,
    )
    assert found.defined
    np.testing.assert_allclose((found.intra, found.inter), expected, rtol=2e-4)


def test_ratio_is_of_means():
    lines = [
        {"intra": 0.5, "inter": 1.0},
        {"intra": None, "inter": None},
        {"intra": 0.25, "inter": 0.25},
    ]
    keys = ("mr", "intra", "inter", "images", "images_left_out")
    assert variance.ratio_over_images(lines) == dict(
        zip(keys, (0.6, 0.375, 0.625, 2, 1), strict=True)
    )
    assert variance.ratio_over_images([]) == dict(zip(keys, (None, None, None, 0, 0), strict=True))
    assert variance.ratio_over_images([{"intra": 1.0, "inter": 0.0}])["mr"] is None


def test_plot(tmp_path):
    counts = {"intra": 0.5, "inter": 0.5, "images": 4, "images_left_out": 0}
    results = [{"metric": "boc", "mr": 0.75, **counts}, {"metric": "l2", "mr": None, **counts}]
    paths = variance.write(tmp_path, results)
    assert [path.name for path in paths] == ["variance.png", "variance.svg", "variance.csv"]
    assert [row["mr"] for row in plots.rows_of(paths[2])] == ["0.75", ""]
    texts = plots.texts_of(paths[1])
    assert {"boc", "l2", "0.750", "not defined"} <= {*texts}
    assert any("4 images" in text for text in texts)
    assert len(variance.write(tmp_path / "undefined", results[1:])) == 3
