"""The numbers behind the figures of similarities, against loops and cases worked by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.plots import similarity_variance_numbers as variance
from experiments.plots import toy_pixels_numbers as toy_pixels
from tests.support import oracles


def test_three_pixels_by_hand():
    """Six channels are common; 0.1 becomes 0.9 and 0.7 in b, 0.8 and 0.9 in c."""
    features = toy_pixels.pixels()
    assert (features[0] != features[1]).nonzero()[0].tolist() == list(toy_pixels.IRREGULAR)
    assert (features[0] != features[2]).nonzero()[0].tolist() == list(toy_pixels.IRREGULAR)
    # a.b = 0.34 + 0.09 + 0.07; differences 0.8 + 0.6 of sums 2.8 + 1.0 + 0.8; the largest 0.8.
    expected = {
        "dot": (0.5, 0.51, 1.69),
        "braycurtis": (4.6 / 6.0, 4.7 / 6.2, 6.1 / 6.4),
        "boc": (4.6 / 6.0 * 1.8, 4.7 / 6.2 * 1.8, 6.1 / 6.4 * 1.2),
    }
    results = toy_pixels.similarities(features)
    assert [result.metric for result in results] == list(expected)
    for result in results:
        pairs = expected[result.metric]
        np.testing.assert_allclose(result.pairs, pairs, rtol=1e-6)
        np.testing.assert_allclose(result.spread, np.std(pairs) / np.mean(pairs), rtol=1e-5)
        assert result.matrix.shape == (3, 3)
    # What the figure is for: the dot product finds the irregular pixels alike, and little else.
    dot, braycurtis, _ = (result.spread for result in results)
    assert dot > 5 * braycurtis


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
        return variance.sample_tokens(
            truth, variance.generator_of(seed, image), max_instances=8
        )[0].tolist()

    assert draw(0, "a") == draw(0, "a")
    assert len({tuple(draw(*of)) for of in ((0, "a"), (1, "a"), (0, "b"), (1, "b"))}) == 4


@pytest.mark.parametrize("metric", oracles.METRICS)
def test_sampled_variances(metric):
    """Affinities of the whole F'', in float64, cut to the tokens that were drawn."""
    rng = np.random.default_rng(5)
    truth = rng.integers(0, 4, 60)
    reduced = np.where(truth[:, None] > 0, rng.normal(0.2, 0.3, (60, 7)), 0).astype(np.float32)
    places, owners = variance.sample_tokens(
        truth, variance.generator_of(0, "x"), max_instances=8
    )
    drawn = places[owners > 0]
    whole = oracles.affinity(reduced, metric)
    expected = oracles.similarity_variances(whole[np.ix_(drawn, drawn)], owners[owners > 0])
    found = variance.sampled_variances(
        jnp.pad(jnp.asarray(reduced), ((0, 4), (0, 0))), jnp.arange(64) < 60, jnp.asarray(places),
        jnp.asarray(owners), metric=metric, max_instances=8,
    )  # fmt: skip
    assert found.defined
    np.testing.assert_allclose((found.intra, found.inter), expected, rtol=2e-4)


def test_ratio_is_of_means():
    lines = [{"intra": 0.5, "inter": 1.0}, {"intra": None, "inter": None},
             {"intra": 0.25, "inter": 0.25}]  # fmt: skip
    result = variance.ratio_over_images(lines)
    assert result == {
        "mr": 0.6, "intra": 0.375, "inter": 0.625, "images": 2, "images_left_out": 1,
    }  # fmt: skip
    assert variance.ratio_over_images([]) == {
        "mr": None, "intra": None, "inter": None, "images": 0, "images_left_out": 0,
    }  # fmt: skip
    assert variance.ratio_over_images([{"intra": 1.0, "inter": 0.0}])["mr"] is None
