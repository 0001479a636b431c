import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from specjax import affinity
from specjax.errors import SpecjaxError
from tests.support import oracles

TOKENS, CHANNELS = 24, 8
METRICS = sorted(oracles.METRICS)
# Whitening by a covariance loses more digits than the others.
TOLERANCE = dict.fromkeys(METRICS, 1e-5) | {"mahalanobis": 1e-4}
ALL = jnp.ones(TOKENS, bool)

affinity_matrix = affinity.affinity_matrix


@pytest.fixture(scope="module")
def features():
    """Tokens of length 1; four are background, one is constant, two are equal, two opposite."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(TOKENS, CHANNELS))
    x[9] = 0.5
    x[11] = x[10]
    x[13] = -x[12]
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    x[[0, 3, 17, 23]] = 0.0
    return x.astype(np.float32)


def agree(found, features, metric, tolerance=None):
    expected = oracles.affinity(features, metric)
    scale = max(expected.max(), 1e-30)
    found = np.asarray(found)
    assert found.shape == expected.shape and (found >= 0).all()
    np.testing.assert_array_equal(found, found.T)
    np.testing.assert_allclose(
        found / scale, expected / scale, rtol=0, atol=tolerance or TOLERANCE[metric]
    )


def test_the_nine_metrics_are_all_there():
    assert sorted(affinity.METRICS) == METRICS


@pytest.mark.parametrize("scale", [1, 300])
@pytest.mark.parametrize("metric", METRICS)
def test_values(features, metric, scale):
    x = features * np.float32(scale)
    agree(affinity_matrix(jnp.asarray(x), metric=metric, valid=ALL), x, metric)


@pytest.mark.parametrize("metric", ["boc", "correlation", "mahalanobis"])
def test_values_in_float64(features, metric):
    with jax.enable_x64(True):
        actual = affinity_matrix(jnp.asarray(features, jnp.float64), metric=metric)
        assert actual.dtype == jnp.float64
        agree(actual, features.astype(np.float64), metric, tolerance=1e-7)


def test_more_channels_than_one_pass():
    wide = np.random.default_rng(1).normal(size=(TOKENS, 2 * 64 + 5)).astype(np.float32)
    wide[3] = 0.0
    agree(affinity_matrix(jnp.asarray(wide), metric="boc"), wide, "boc")


@pytest.mark.parametrize("metric", METRICS)
def test_zero_rows(features, metric):
    """The table of the weights of a background token."""
    weights = np.asarray(affinity_matrix(jnp.asarray(features), metric=metric, valid=ALL))
    background, other, token = 0, 3, 5
    u = features[token].astype(np.float64)
    covariance = np.linalg.pinv(np.cov(features.astype(np.float64).T))
    to_zero = {
        "boc": (1 + np.abs(u).max()) / 2,
        "braycurtis": 0.5,
        "cosine": 0.5,
        "correlation": 0.0,
        "l1": 1 / (1 + np.abs(u).sum()),
        "l2": 1 / (1 + np.linalg.norm(u)),
        "chebyshev": 1 / (1 + np.abs(u).max()),
        "mahalanobis": 1 / (1 + np.sqrt(u @ covariance @ u)),
        "dot": 0.0,
    }[metric]
    between = {"boc": 0, "braycurtis": 0, "cosine": 0.5, "correlation": 0, "dot": 0}
    assert weights[background, other] == between.get(metric, 1)
    assert weights[background, background] == (0 if metric == "dot" else 1)
    np.testing.assert_allclose(weights[token, background], to_zero, rtol=0, atol=1e-4)


@pytest.mark.parametrize("metric", METRICS)
def test_nothing_but_zero_rows_and_one_token(features, metric):
    zeros = np.zeros_like(features)
    agree(affinity_matrix(jnp.asarray(zeros), metric=metric, valid=ALL), zeros, metric)
    zeros[0, :3] = 3.0, -4.0, 1.0
    alone = affinity_matrix(jnp.asarray(zeros), metric=metric, valid=ALL & (np.arange(TOKENS) < 1))
    expected = np.zeros((TOKENS, TOKENS))
    expected[0, 0] = 26.0 if metric == "dot" else 1.0
    np.testing.assert_array_equal(alone, expected)


def test_singular_covariance(features):
    """Equal channels, an empty channel, fewer tokens than channels: the pseudo-inverse."""
    x = np.concatenate([features, features[:, :2], 0 * features[:, :1]], axis=1)
    agree(affinity_matrix(jnp.asarray(x), metric="mahalanobis"), x, "mahalanobis")
    few = features[4:9]
    agree(affinity_matrix(jnp.asarray(few), metric="mahalanobis"), few, "mahalanobis")


@pytest.mark.parametrize("metric", METRICS)
def test_permutation_of_tokens(features, metric):
    order = np.random.default_rng(2).permutation(TOKENS)
    weights = np.asarray(affinity_matrix(jnp.asarray(features), metric=metric, valid=ALL))
    shuffled = affinity_matrix(jnp.asarray(features[order]), metric=metric, valid=ALL)
    np.testing.assert_allclose(
        shuffled, weights[np.ix_(order, order)], rtol=0, atol=TOLERANCE[metric]
    )


@pytest.mark.parametrize("metric", METRICS)
def test_batches_of_padded_images(features, metric):
    """Under jit and vmap, with NaN behind images of three lengths."""
    lengths = (TOKENS, TOKENS - 7, 1)
    batch = np.full((3, TOKENS, CHANNELS), np.nan, np.float32)
    for image, length in zip(batch, lengths, strict=True):
        image[:length] = features[:length] + 0.01
    valid = jnp.arange(TOKENS)[None, :] < jnp.asarray(lengths)[:, None]
    actual = functools.partial(affinity.affinity_matrix, metric=metric)
    weights = jax.jit(jax.vmap(lambda x, v: actual(x, valid=v)))(jnp.asarray(batch), valid)
    for found, image, length in zip(np.asarray(weights), batch, lengths, strict=True):
        assert not found[length:].any() and not found[:, length:].any()
        if length > 1:
            agree(found[:length, :length], image[:length], metric)


@pytest.mark.parametrize("metric", ["boc", "correlation", "mahalanobis"])
def test_prepared_parts_are_the_whole(features, metric):
    """Preparing all tokens and comparing some of them gives the weights of those."""
    x = jnp.asarray(features)
    whole = np.asarray(affinity_matrix(x, metric=metric, valid=ALL))
    part = np.array([2, 3, 9, 11, 20])

    @jax.jit
    def of_part(x):
        prepared = affinity.prepare_features(x, metric=metric, valid=ALL)
        return affinity.pairwise_similarity(prepared[part], metric=metric)

    actual = of_part(x)
    np.testing.assert_allclose(actual, whole[np.ix_(part, part)], rtol=0, atol=1e-6)


@pytest.mark.parametrize("metric", METRICS)
def test_gradients(features, metric):
    """Finite with zero rows, equal tokens and padding; correct where the metric is smooth."""
    x = features[:14, :4]
    valid = jnp.arange(14) < 13
    still = [0, 3, 9, 10, 11, 13]
    rng = np.random.default_rng(3)
    mix, direction = rng.normal(size=(14, 14)), rng.normal(size=x.shape)
    direction[still] = 0.0

    @jax.jit
    def score_and_gradient(x, mix):
        def score(x):
            return jnp.sum(mix * affinity.affinity_matrix(x, metric=metric, valid=valid))

        return jax.value_and_grad(score)(x)

    gradient = score_and_gradient(jnp.asarray(x), jnp.asarray(mix, jnp.float32))[1]
    assert np.isfinite(gradient).all()
    np.testing.assert_array_equal(gradient[13], 0.0)
    with jax.enable_x64(True):
        x, mix = jnp.asarray(x, jnp.float64), jnp.asarray(mix)
        step = 1e-6 * direction
        actual = jnp.sum(score_and_gradient(x, mix)[1] * direction)
        slope = score_and_gradient(x + step, mix)[0] - score_and_gradient(x - step, mix)[0]
        np.testing.assert_allclose(actual, slope / 2e-6, rtol=1e-4)


def test_unknown_metric():
    with pytest.raises(SpecjaxError, match="unknown metric 'euclid': choose one of boc"):
        affinity.affinity_matrix(jnp.ones((2, 2)), metric="euclid")
