import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.preprocessing

from specjax import channels
from specjax.config import REFERENCE
from tests.support import oracles

TOKENS, PADDED = 60, 75

entropy = channels.channel_entropy
histogram = jax.jit(channels.channel_histogram)


@pytest.fixture(scope="module")
def features():
    """Channels of every kind: normal, skewed, constant, quantised, two-valued, huge, tiny."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(TOKENS, 12)).astype(np.float32)
    x[:, 3] = np.exp(3 * x[:, 3])
    x[:, 4] = -1.7
    x[:, 5] = 0.0
    # Values exactly on the edges of bins, and next to them.
    x[:, 6] = rng.integers(0, 31, TOKENS) / np.float32(30)
    x[:, 7] = rng.integers(-7, 8, TOKENS) * np.float32(0.1)
    x[:, 8] = rng.random(TOKENS) < 0.5
    x[:, 9] *= 1e6
    x[:, 10] *= 1e-6
    x[:, 11] = 1000 + 1e-2 * x[:, 11]
    return x


def padded(features, value=np.nan):
    """The features with padding, and which tokens exist."""
    rows = np.full((PADDED - len(features), features.shape[1]), value, features.dtype)
    return jnp.asarray(np.concatenate([features, rows])), jnp.arange(PADDED) < len(features)


@pytest.mark.parametrize("bins", [30, 7, 1])
@pytest.mark.parametrize("compiled", [False, True])
def test_histogram_is_numpys(features, bins, compiled):
    actual = functools.partial(channels.channel_histogram, bins=bins)
    counts = (jax.jit(actual) if compiled else actual)(jnp.asarray(features))
    np.testing.assert_array_equal(counts, oracles.histogram(features, bins))


def test_histogram_of_many_quantised_channels():
    rng = np.random.default_rng(1)
    levels = rng.integers(2, 61, 400)
    scale = np.exp(rng.normal(size=400)).astype(np.float32)
    x = (rng.integers(0, levels, (TOKENS, 400)) * scale + rng.normal(size=400)).astype(np.float32)
    counts = histogram(jnp.asarray(x))
    np.testing.assert_array_equal(counts, oracles.histogram(x))


def test_histogram_in_float64(features):
    with jax.enable_x64(True):
        wide = np.asarray(features, np.float64) * np.pi
        np.testing.assert_array_equal(histogram(jnp.asarray(wide)), oracles.histogram(wide))


def test_entropy(features):
    actual = np.asarray(entropy(jnp.asarray(features)))
    np.testing.assert_allclose(actual, oracles.entropy(features), rtol=1e-5, atol=1e-6)
    assert actual[4] == actual[5] == 0.0
    assert (actual >= 0).all() and (actual <= np.log2(30)).all()
    np.testing.assert_allclose(actual[8], oracles.entropy(features)[8], rtol=1e-6)


def test_entropies_of_the_reference_protocol(features):
    x = jnp.asarray(features)
    actual = entropy(x, rule=REFERENCE.foreground_entropy)
    expected = oracles.released_entropy(features, empty=5.0)
    np.testing.assert_allclose(actual, expected, rtol=1e-5)
    assert (expected == 5.0).any()
    full = np.repeat(np.arange(30), 2).astype(np.float32)[:, None]
    actual = entropy(jnp.asarray(full), rule=REFERENCE.foreground_entropy)
    np.testing.assert_allclose(actual, oracles.released_entropy(full, empty=5.0), rtol=1e-5)
    assert actual[0] < 5.0
    actual = entropy(x, rule=REFERENCE.instance_entropy)
    np.testing.assert_allclose(
        actual, oracles.released_entropy(features, smoothing=1e-6), rtol=1e-5
    )


def test_reference_selects_the_papers_channels_in_the_instance_stage(features):
    x = jnp.asarray(features)
    actual = channels.noise_channel_reduction(x, keep=7, rule=REFERENCE.instance_entropy)
    np.testing.assert_array_equal(actual, channels.noise_channel_reduction(x, keep=7))


def test_deviation(features):
    actual = channels.channel_deviation(jnp.asarray(features))
    expected = np.std(features.astype(np.float64), axis=0)
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)
    with jax.enable_x64(True):
        actual = channels.channel_deviation(jnp.asarray(features, jnp.float64))
        np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-12)


def test_normalisation(features):
    x = features[:, :4].copy()
    x[[0, 7]] = 0.0
    actual = channels.normalize_tokens(jnp.asarray(x))
    np.testing.assert_allclose(actual, sklearn.preprocessing.normalize(x), rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(actual[7], np.zeros(4))


@pytest.mark.parametrize("keep", [1, 5, 12])
def test_selection(features, keep):
    x = jnp.asarray(features)
    order = np.argsort(np.asarray(entropy(x)), kind="stable")
    np.testing.assert_array_equal(channels.noise_channel_reduction(x, keep=keep), order[:keep])
    order = np.argsort(-np.std(features, axis=0), kind="stable")
    np.testing.assert_array_equal(channels.deviation_channel_reduction(x, keep=keep), order[:keep])


def test_equal_entropies_keep_their_order():
    x = jnp.tile(jnp.asarray(np.random.default_rng(2).normal(size=(20, 1)), jnp.float32), (1, 6))
    np.testing.assert_array_equal(channels.noise_channel_reduction(x, keep=4), np.arange(4))


def test_one_token():
    x = jnp.asarray([[3.0, -1.0, 0.0]])
    np.testing.assert_array_equal(histogram(x), oracles.histogram(np.asarray(x)))
    np.testing.assert_array_equal(entropy(x), np.zeros(3))
    np.testing.assert_array_equal(channels.channel_deviation(x), np.zeros(3))
    np.testing.assert_array_equal(channels.noise_channel_reduction(x, keep=2), [0, 1])


def test_entropy_ignores_the_order_of_tokens(features):
    shuffled = np.random.default_rng(3).permutation(features)
    np.testing.assert_array_equal(entropy(jnp.asarray(shuffled)), entropy(jnp.asarray(features)))


@jax.jit
def all_operations(x, valid=None):
    return (
        channels.channel_histogram(x, valid=valid),
        channels.channel_entropy(x, valid=valid),
        channels.channel_entropy(x, rule=REFERENCE.foreground_entropy, valid=valid),
        channels.channel_deviation(x, valid=valid),
        channels.noise_channel_reduction(x, keep=5, valid=valid),
        channels.deviation_channel_reduction(x, keep=5, valid=valid),
    )


@pytest.mark.parametrize("value", [0.0, 1e9, np.nan])
def test_padding_changes_nothing(features, value):
    x, valid = padded(features, value)
    together = zip(all_operations(x, valid), all_operations(jnp.asarray(features)), strict=True)
    for found, expected in together:
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


def test_under_jit_and_vmap(features):
    """A batch of images with different numbers of tokens."""
    images = [features, features[:31] * 2 + 1, features[:1]]
    batch, valid = (jnp.stack(part) for part in zip(*map(padded, images), strict=True))
    together = jax.jit(jax.vmap(all_operations))(batch, valid)
    unit = jax.jit(jax.vmap(channels.normalize_tokens))(batch)
    for i, image in enumerate(images):
        alone = all_operations(jnp.asarray(image))
        for found, expected in zip(together, alone, strict=True):
            np.testing.assert_allclose(found[i], expected, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(
            unit[i, : len(image)], channels.normalize_tokens(jnp.asarray(image)), rtol=1e-6
        )


def test_gradients_are_finite(features):
    x, valid = padded(features, 0.0)

    def scores(x):
        deviation = jnp.sum(channels.channel_deviation(x, valid=valid))
        first = channels.normalize_tokens(x)[:, 0]
        entropies = channels.channel_entropy(x, valid=valid)
        return jnp.stack([deviation + jnp.sum(first), jnp.sum(entropies)])

    for part, gradient in enumerate(jax.jit(jax.jacrev(scores))(x)):
        assert np.isfinite(gradient).all()
        # Entropy is piecewise constant; deviation and direction are not.
        assert bool(jnp.any(gradient != 0)) == (part == 0)
        np.testing.assert_array_equal(gradient[TOKENS:, 1:], 0.0)
