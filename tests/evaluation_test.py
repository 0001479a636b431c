import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from specjax import evaluation
from tests import oracles

TOKENS, MOST, COUNT = 50, 6, 60

instance_scores = jax.jit(evaluation.instance_scores, static_argnames="max_instances")


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
        # Half of the predictions follow the truth, under other numbers.
        if index % 2:
            order = rng.permutation(MOST) + 1
            labels = np.where(rng.random(TOKENS) < 0.7, np.r_[0, order][truth], labels)
        # Numbers stay 1, 2, ... among what counts, as where a data set's are read.
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
        ours = np.asarray(found.ious[i])
        # The optimum's sum is unique, the assignment need not be.
        np.testing.assert_allclose(ours.sum(), expected.sum(), rtol=1e-5)
        np.testing.assert_array_equal(ours[len(expected) :], 0.0)
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
    ours = evaluation.f_score(*masks, counted=jnp.asarray(counted))
    np.testing.assert_allclose(ours, 6 / 7, rtol=1e-6)


def test_greedy_matching_would_be_worse():
    """The optimum gives up the best pair for a better sum."""
    truth = [1] * 10 + [2] * 6
    labels = [1] * 6 + [2] * 4 + [1] * 5 + [0]
    scores = score(labels, truth, [True] * 16)
    np.testing.assert_allclose(scores.ious[:3], [4 / 10, 5 / 12, 0], rtol=1e-6)
