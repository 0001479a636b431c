"""The instance graph against a dense solution, by scipy, of the graph of all tokens."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from specjax import instances
from specjax.spectral import smallest_eigenpairs
from tests.support import oracles

GRID = (5, 7)
TOKENS, CHANNELS = 35, 8
METRICS = sorted(oracles.METRICS)
# For eigenvalues of graphs whose weights have errors of 1e-4.
TOLERANCE = dict.fromkeys(METRICS, 1e-5) | {"mahalanobis": 1e-4}

graph_of = instances.instance_graph


@functools.partial(jax.jit, static_argnames=("solver",))
def segments_of(graph, nodes, mask, grid, *, solver):
    """Eigensegments, and the eigenvalues."""
    count = instances.SEGMENTS + 1
    pairs = smallest_eigenpairs(graph, count=count, solver=solver, valid=nodes)
    return instances.eigensegments(pairs, mask, grid), pairs.values


def mask_of(kind):
    mask = np.zeros(GRID, bool)
    mask[1:4, 1:6] = True
    if kind == "full":
        mask[:] = True
    elif kind == "one background token":
        mask[:] = True
        mask[2, 3] = False
    elif kind in ("three tokens", "one token", "empty"):
        mask[:] = False
        mask[2, 2 : {"three tokens": 5, "one token": 3, "empty": 2}[kind]] = True
    return mask.ravel()


MASKS = ["usual", "full", "one background token", "three tokens", "one token", "empty"]


def features_of(mask):
    """F'' of three kinds of tokens: unit length, background rows zero."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3, CHANNELS))[rng.integers(0, 3, TOKENS)] + 0.5
    x += 0.4 * rng.normal(size=(TOKENS, CHANNELS))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return np.where(mask[:, None], x, 0.0).astype(np.float32)


def full_graph(features, metric):
    weights = oracles.affinity(features, metric)
    return weights / max(weights.max(), 1e-30)


def expected_pairs(weights, mask):
    """The five smallest pairs of the full graph that say something about the foreground.

    Where nothing joins foreground and background, those of the foreground's own graph.
    """
    if not weights.any():
        # A node without an edge, like the background by the dot product of zero rows.
        return np.array([0.0, 2, 2, 2, 2]), np.zeros((1, TOKENS))
    if mask.any() and not weights[mask][:, ~mask].any():
        values, some = oracles.eigenpairs(weights[np.ix_(mask, mask)], 5)
        vectors = np.zeros((len(some), TOKENS))
        vectors[:, mask] = some
    else:
        values, vectors = oracles.eigenpairs_constant_on(~mask, weights, 5)
    missing = 5 - len(values)
    return np.pad(values, (0, missing), constant_values=2.0), vectors


@pytest.mark.parametrize("solver", ["eigh", "krylov"])
@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize("metric", METRICS)
def test_eigensegments_are_the_full_graphs(metric, kind, solver):
    mask = mask_of(kind)
    features = features_of(mask)
    graph = graph_of(jnp.asarray(features), jnp.asarray(mask), jnp.asarray(GRID), metric=metric)
    found, eigenvalues = segments_of(*graph, jnp.asarray(mask), jnp.asarray(GRID), solver=solver)
    weights = full_graph(features, metric)
    values, vectors = expected_pairs(weights, mask)
    np.testing.assert_allclose(eigenvalues, values, rtol=0, atol=TOLERANCE[metric])
    maps = np.asarray(found, np.float64)
    assert maps.shape == (4, TOKENS) and np.isfinite(maps).all()
    known = len(vectors) - 1
    assert not maps[max(known, 0) :].any()
    if known < 1:
        return
    maps, vectors = maps[:known], vectors[1:]
    # Constant on the background, of norm 1 over the full graph, and solutions of it.
    if not mask.all():
        assert np.ptp(maps[:, ~mask], axis=1).max() == 0
    errors, norms = oracles.residuals(weights, eigenvalues[1 : known + 1], maps)
    np.testing.assert_allclose(norms, 1.0, atol=1e-4)
    np.testing.assert_array_less(errors, 5 * TOLERANCE[metric] * np.sqrt(weights.sum(1).max()))
    for value, actual, reference in zip(values[1:], maps, vectors, strict=False):
        np.testing.assert_array_equal(actual, oracles.orient(actual, break_ties=True))
        if np.sort(np.abs(values - value))[1] > 0.01:
            overlap = actual @ oracles.laplacian_and_degrees(weights)[1] @ reference
            assert abs(overlap) > 1 - 1e-4


@pytest.mark.parametrize("metric", METRICS)
def test_the_spectrum_is_the_full_one_less_the_backgrounds_own(metric):
    """The dropped eigenvalue is 1 - (w_self - w_other) / d_bg, n_bg - 1 times."""
    mask = mask_of("usual")
    features = features_of(mask)
    grid = jnp.asarray(GRID)
    graph, nodes = graph_of(jnp.asarray(features), jnp.asarray(mask), grid, metric=metric)
    kept = np.asarray(graph, np.float64)[np.ix_(nodes, nodes)]
    actual = oracles.eigenpairs(kept, len(kept))[0]
    weights = full_graph(features, metric)
    background = weights[np.ix_(~mask, ~mask)]
    degree = max(weights[~mask].sum(1).max(), 1e-12)
    dropped = 1 - (background[0, 0] - background[0, 1]) / degree
    lost = TOKENS - len(kept)
    everything = np.sort(np.concatenate([actual, np.full(lost, dropped)]))
    expected = scipy.linalg.eigvalsh(*oracles.laplacian_and_degrees(weights))
    np.testing.assert_allclose(everything, expected, rtol=0, atol=TOLERANCE[metric])


def test_capacity_and_padding_change_nothing():
    mask = mask_of("usual")
    features = features_of(mask)
    wide, wide_values = segments_of(
        *graph_of(jnp.asarray(features), jnp.asarray(mask), jnp.asarray(GRID), metric="boc"),
        jnp.asarray(mask),
        jnp.asarray(GRID),
        solver="eigh",
    )
    # Padding that is foreground in the mask and NaN in the features.
    padded = jnp.asarray(np.pad(features, ((0, 13), (0, 0)), constant_values=np.nan))
    claimed = jnp.asarray(np.pad(mask, (0, 13), constant_values=True))
    for capacity in (int(mask.sum()), 1000):
        graph, nodes = graph_of(padded, claimed, jnp.asarray(GRID), metric="boc", capacity=capacity)
        assert graph.shape[0] == min(capacity, len(claimed)) + 1
        found, values = segments_of(graph, nodes, claimed, jnp.asarray(GRID), solver="eigh")
        np.testing.assert_allclose(values, wide_values, rtol=0, atol=1e-6)
        np.testing.assert_allclose(found[:, :TOKENS], wide, rtol=0, atol=1e-5)
        assert not np.asarray(found)[:, TOKENS:].any()


@pytest.mark.parametrize("solver", ["eigh", "krylov"])
def test_a_batch_equals_a_loop(solver):
    masks = np.stack([mask_of(kind) for kind in ("usual", "full", "empty")])
    features = jnp.asarray(np.stack([features_of(mask) for mask in masks]))

    def one(features, mask):
        return segments_of(
            *instances.instance_graph(features, mask, GRID), mask, GRID, solver=solver
        )

    together = jax.jit(jax.vmap(one))(features, jnp.asarray(masks))
    for i, mask in enumerate(masks):
        mask, grid = jnp.asarray(mask), jnp.asarray(GRID)
        graph = graph_of(features[i], mask, grid, metric="boc")
        maps, values = segments_of(*graph, mask, grid, solver=solver)
        np.testing.assert_allclose(together[1][i], values, atol=1e-6)
        np.testing.assert_allclose(together[0][i], maps, rtol=0, atol=1e-4)


def test_foreground_features():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(TOKENS, CHANNELS)).astype(np.float32) * np.arange(1, CHANNELS + 1)
    mask = mask_of("usual")
    call = jax.jit(functools.partial(instances.foreground_features, keep=3))
    x = x.astype(np.float32)
    found = call(jnp.asarray(x), jnp.asarray(mask))
    # The deviation is over all tokens, not only those of the foreground.
    best = np.argsort(-x.std(0))[:3]
    np.testing.assert_array_equal(found, np.where(mask[:, None], x[:, best], 0.0))


def three_blobs():
    """Four maps that separate three parts of a mask, with a speck that the median removes."""
    truth = np.zeros((12, 12), int)
    truth[1:11, 1:4], truth[1:11, 5:8], truth[1:11, 9:11] = 1, 2, 3
    maps = np.random.default_rng(2).normal(size=(4, 4))[:, truth]
    maps[:, 6, 6] = maps[:, 6, 2]
    return truth, maps.reshape(4, -1).astype(np.float32)


def test_clusters():
    """A batch of images, each with its own mask and number of instances."""
    truth, maps = three_blobs()
    few = np.zeros(144, bool)
    few[[0, 40, 143]] = True
    masks = [truth.ravel() > 0, few, np.zeros(144, bool), np.ones(144, bool)]
    counts = [3, 6, 3, 1]
    call = functools.partial(instances.cluster_eigensegments, max_instances=6)
    keys = jax.random.split(jax.random.key(0), 4)
    together = jax.jit(jax.vmap(call, in_axes=(None, 0, None, 0, 0)))(
        jnp.asarray(maps),
        jnp.asarray(np.stack(masks)),
        jnp.asarray([12, 12]),
        jnp.asarray(counts),
        keys,
    )
    for labels, mask, count in zip(np.asarray(together), masks, counts, strict=True):
        np.testing.assert_array_equal(labels > 0, mask)
        first = [np.flatnonzero(labels == k)[0] for k in range(1, labels.max() + 1)]
        assert len(first) <= min(count, mask.sum()) and first == sorted(first)
    # At the edges of a part the median mixes values, so only its inside is certain.
    inside = np.zeros((12, 12), bool)
    inside[3:9, 5:8] = True
    found = np.asarray(together[0])
    assert found.max() == 3 and len(set(found[inside.ravel()])) == 1
