import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from specjax import evaluation
from tests.support import oracles

TOKENS, MOST, COUNT = 50, 6, 60

instance_scores = evaluation.instance_scores


@pytest.fixture(scope="module")
def cases():
    """(labels, truth, counted): 0 to 6 instances against 0 to 6 predictions, with void."""
    rng = np.random.default_rng(0)
    result = []
    for index in range(COUNT):
        predicted, true = index % 7, int(rng.integers(0, 7))
        counted = rng.random(TOKENS) < (1.0 if index % 3 == 0 else 0.8)
        truth = rng.integers(0, true + 1, TOKENS)
        labels = rng.integers(0, predicted + 1, TOKENS)
        # Half of the predictions follow the truth, with other numbers.
        if index % 2:
            order = rng.permutation(MOST) + 1
            labels = np.where(rng.random(TOKENS) < 0.7, np.r_[0, order][truth], labels)
        # Counted instances are numbered 1, 2, ..., as when a dataset is read.
        seen = np.unique(truth[counted & (truth > 0)])
        truth = np.where(np.isin(truth, seen), np.searchsorted(seen, truth) + 1, 0)
        result.append((labels, truth, counted))
    # Nothing is counted; nothing is predicted; all is exact.
    nothing, everything = np.zeros(TOKENS, bool), np.ones(TOKENS, bool)
    labels, truth, _ = result[-1]
    result += [(labels, 0 * truth, nothing), (0 * labels, truth, everything)]
    return [*result, (truth, truth, everything)]


def stacked(cases):
    labels, truth, counted = (np.stack(part) for part in zip(*cases, strict=True))
    return jnp.asarray(labels, jnp.int32), jnp.asarray(truth, jnp.int32), jnp.asarray(counted)


def test_f_score(cases):
    labels, truth, counted = stacked(cases)
    batch = jax.jit(jax.vmap(lambda p, t, c: evaluation.f_score(p, t, counted=c)))
    found = batch(labels > 0, truth > 0, counted)
    for score, (mine, true, use) in zip(found, cases, strict=True):
        expected = oracles.f_score(mine[use] > 0, true[use] > 0) if use.any() else 0.0
        np.testing.assert_allclose(score, expected, rtol=1e-6)
    assert found[-1] == 1.0


def test_ious(cases):
    labels, truth, counted = stacked(cases)
    call = functools.partial(evaluation.iou_matrix, max_instances=MOST)
    found = jax.jit(jax.vmap(lambda p, t, c: call(p, t, counted=c)))(labels, truth, counted)
    for matrix, (mine, true, use) in zip(np.asarray(found), cases, strict=True):
        for g in range(MOST):
            for k in range(MOST):
                a, b = (true == g + 1) & use, (mine == k + 1) & use
                expected = (a & b).sum() / max((a | b).sum(), 1)
                np.testing.assert_allclose(matrix[g, k], expected, rtol=1e-6)


def test_instance_scores(cases):
    """Rectangular assignments of every size; void counts neither way."""
    labels, truth, counted = stacked(cases)
    call = functools.partial(evaluation.instance_scores, max_instances=MOST)
    found = jax.jit(jax.vmap(lambda p, t, c: call(p, t, counted=c)))(labels, truth, counted)
    for i, (mine, true, use) in enumerate(cases):
        expected = oracles.matched_ious(mine[use], true[use])
        actual = np.asarray(found.ious[i])
        # The largest sum is unique, but the matching may not be.
        np.testing.assert_allclose(actual.sum(), expected.sum(), rtol=1e-5)
        np.testing.assert_array_equal(actual[len(expected) :], 0.0)
        mean = expected.mean() if len(expected) else 0.0
        np.testing.assert_allclose(found.mean[i], mean, rtol=1e-5)
    assert found.mean[-1] == 1.0


def score(labels, truth, counted):
    """One image of any length, the rest not counted."""
    arrays = [np.resize(np.asarray(x), TOKENS) for x in (labels, truth, counted)]
    arrays[2][len(labels) :] = False
    labels, truth, counted = (x[0] for x in stacked([arrays]))
    return instance_scores(labels, truth, counted=counted, max_instances=MOST)


def test_void_is_neither_prediction_nor_truth():
    labels, truth = [1, 1, 1, 2, 2, 0], [1, 1, 0, 0, 2, 2]
    counted = [True, True, False, False, True, True]
    scores = score(labels, truth, counted)
    np.testing.assert_allclose(scores.ious[:3], [1.0, 0.5, 0.0])
    np.testing.assert_allclose(scores.mean, 0.75)
    masks = (jnp.asarray(x) > 0 for x in (labels, truth))
    actual = evaluation.f_score(*masks, counted=jnp.asarray(counted))
    np.testing.assert_allclose(actual, 6 / 7, rtol=1e-6)


def test_greedy_matching_would_be_worse():
    """The best matching need not contain the best pair."""
    truth = [1] * 10 + [2] * 6
    labels = [1] * 6 + [2] * 4 + [1] * 5 + [0]
    scores = score(labels, truth, [True] * 16)
    np.testing.assert_allclose(scores.ious[:3], [4 / 10, 5 / 12, 0], rtol=1e-6)


variance_ratio = evaluation.similarity_variance_ratio


def similarities_of(tokens, seed, scale=1.0):
    weights = np.random.default_rng(seed).uniform(0, scale, (tokens, tokens))
    return ((weights + weights.T) / 2).astype(np.float32)


def test_variances_by_hand():
    """Two instances of three tokens, and a token of none."""
    instances = [1, 1, 1, 2, 2, 2, 0]
    weights = np.full((7, 7), 50.0)
    np.fill_diagonal(weights, 99.0)
    # Within: 1, 2, 3 (variance 2/3) and 4, 4, 7 (variance 2); between: five 1s and four 4s.
    within = {(0, 1): 1, (0, 2): 2, (1, 2): 3, (3, 4): 4, (3, 5): 4, (4, 5): 7}
    between = {(i, j): 4 if i == 2 or (i, j) == (1, 5) else 1 for i in range(3) for j in (3, 4, 5)}
    for (i, j), value in {**within, **between}.items():
        weights[i, j] = weights[j, i] = value
    found = variance_ratio(
        jnp.asarray(weights, jnp.float32), jnp.asarray(instances), max_instances=4
    )
    np.testing.assert_allclose(found.intra, 4 / 3, rtol=1e-6)
    np.testing.assert_allclose(found.inter, 9 * 20 / 81, rtol=1e-6)
    np.testing.assert_allclose(found.ratio, 0.6, rtol=1e-6)
    assert found.defined


def test_variances_against_loops():
    """All sizes of instances, tokens outside them, under vmap; and what leaves mR unchanged."""
    tokens, most = 14, 5
    rng = np.random.default_rng(1)
    weights = np.stack([similarities_of(tokens, i, 10.0 ** (i % 5 - 2)) for i in range(40)])
    instances = np.stack([rng.integers(0, 1 + i % (most + 1), tokens) for i in range(40)])
    call = functools.partial(evaluation.similarity_variance_ratio, max_instances=most)
    found = jax.jit(jax.vmap(call))(jnp.asarray(weights), jnp.asarray(instances))
    undefined = 0
    for i in range(40):
        expected = oracles.similarity_variances(weights[i].astype(np.float64), instances[i])
        assert bool(found.defined[i]) == (expected is not None)
        if expected is None:
            undefined += 1
            assert found.ratio[i] == 0
            continue
        np.testing.assert_allclose(found.intra[i], expected[0], rtol=1e-5)
        np.testing.assert_allclose(found.inter[i], expected[1], rtol=1e-5)
        np.testing.assert_allclose(found.ratio[i], expected[0] / expected[1], rtol=1e-5)
        # Another order, padding, other numbers, another scale.
        order = rng.permutation(tokens)
        padded = np.pad(weights[i][np.ix_(order, order)] * 8, ((0, 3), (0, 3)), constant_values=7)
        renamed = np.pad((instances[i][order] * 2) % 11, (0, 3))
        again = variance_ratio(jnp.asarray(padded), jnp.asarray(renamed), max_instances=12)
        np.testing.assert_allclose(again.ratio, found.ratio[i], rtol=1e-4)
    assert 5 < undefined < 30


@pytest.mark.parametrize(
    "instances", [[0, 0, 0, 0], [1, 1, 1, 1], [1, 1, 2, 2], [1, 2, 3, 4], [1, 2, 0, 0]]
)
def test_too_few_pairs_have_no_variance(instances):
    weights = jnp.asarray(similarities_of(4, 0))
    found = variance_ratio(weights, jnp.asarray(instances), max_instances=4)
    assert not found.defined and found.ratio == 0 and np.isfinite(found).all()


def test_equal_similarities_between_instances():
    instances = jnp.asarray([1, 1, 1, 2, 2])
    found = variance_ratio(jnp.ones((5, 5)), instances, max_instances=2)
    assert found.defined and found == (0, 0, 0, True)
