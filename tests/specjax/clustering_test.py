import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from specjax.clustering import kmeans
from tests.support import oracles

TOKENS, DIMS, MOST = 96, 4, 6

cluster = jax.jit(functools.partial(kmeans, max_clusters=MOST))


def points_of(kind):
    rng = np.random.default_rng(0)
    if kind == "groups":
        centres = 4 * rng.normal(size=(5, DIMS))
        points = centres[rng.integers(0, 5, TOKENS)] + 0.3 * rng.normal(size=(TOKENS, DIMS))
    elif kind == "uniform":
        points = rng.random((TOKENS, DIMS))
    elif kind == "skewed":
        points = np.exp(2 * rng.normal(size=(TOKENS, DIMS)))
    else:
        points = rng.integers(0, 3, (TOKENS, DIMS))
    return points.astype(np.float32)


@pytest.fixture(scope="module")
def mask():
    return np.random.default_rng(1).random(TOKENS) < 0.8


def run(points, mask, clusters, seed=0):
    clusters = jnp.asarray(clusters)
    return cluster(jnp.asarray(points), clusters, jax.random.key(seed), mask=jnp.asarray(mask))


@pytest.mark.parametrize("kind,clusters", [("groups", 5), ("groups", 3), ("uniform", 2)])
def test_inertia_is_scikit_learns(mask, kind, clusters):
    points = points_of(kind)
    for seed in range(3):
        result = run(points, mask, clusters, seed)
        reference = oracles.kmeans_inertia(points[mask], clusters, seed)
        np.testing.assert_allclose(result.inertia, reference, rtol=0.01)


@pytest.mark.parametrize("kind", ["groups", "uniform", "skewed", "repeated"])
def test_inertia_where_there_are_many_local_minima(mask, kind):
    """Single runs, also of scikit-learn, differ by more than 1 % here: compare means over seeds."""
    points, seeds = points_of(kind), range(12)
    results = [run(points, mask, MOST, seed) for seed in seeds]
    reference = [oracles.kmeans_inertia(points[mask], MOST, seed) for seed in seeds]
    assert np.mean([result.inertia for result in results]) <= 1.01 * np.mean(reference)
    for result in results:
        # The inertia is the labels' own, and labels are of the masked points only.
        labels = np.asarray(result.labels)
        np.testing.assert_array_equal(labels == -1, ~mask)
        own = oracles.inertia_of(points[mask], labels[mask])
        np.testing.assert_allclose(result.inertia, own, rtol=1e-4)
        assert 1 <= result.iterations <= 300


def test_labels_are_numbered_by_first_appearance(mask):
    for seed in range(3):
        labels = np.asarray(run(points_of("uniform"), mask, 5, seed).labels)[mask]
        _, first = np.unique(labels, return_index=True)
        assert set(labels) == set(range(5)) and (np.diff(first) > 0).all()


def test_well_separated_groups_are_found(mask):
    rng = np.random.default_rng(2)
    truth = rng.integers(0, 4, TOKENS)
    points = (10 * np.eye(4)[truth] + rng.random((TOKENS, DIMS))).astype(np.float32)
    labels = np.asarray(run(points, mask, 4).labels)[mask]
    assert len(set(zip(labels, truth[mask], strict=True))) == 4


def test_deterministic_by_key(mask):
    points = points_of("uniform")
    first, second, other = (run(points, mask, 6, seed) for seed in (7, 7, 8))
    np.testing.assert_array_equal(first.labels, second.labels)
    assert first.inertia == second.inertia
    assert (np.asarray(first.labels) != np.asarray(other.labels)).any()


def test_the_bound_on_clusters_changes_nothing(mask):
    larger = jax.jit(functools.partial(kmeans, max_clusters=2 * MOST))
    for kind in ("uniform", "skewed", "repeated"):
        points = points_of(kind)
        for clusters in (2, 5):
            key = jax.random.key(3)
            wide = larger(jnp.asarray(points), jnp.asarray(clusters), key, mask=jnp.asarray(mask))
            narrow = run(points, mask, clusters, 3)
            np.testing.assert_array_equal(wide.labels, narrow.labels)
            np.testing.assert_allclose(wide.inertia, narrow.inertia, rtol=1e-5)


def test_points_outside_the_mask_change_nothing(mask):
    points = points_of("skewed")
    for value in (0.0, 1e30, np.nan, np.inf):
        changed = np.where(mask[:, None], points, np.float32(value))
        result, plain = run(changed, mask, 4), run(points, mask, 4)
        np.testing.assert_array_equal(result.labels, plain.labels)
        assert result.inertia == plain.inertia


def test_padding_changes_nothing():
    points, length = points_of("groups"), 70
    mask = np.arange(TOKENS) < length
    for clusters in (3, 5):
        short = cluster(jnp.asarray(points[:length]), jnp.asarray(clusters), jax.random.key(0))
        long = run(points, mask, clusters)
        np.testing.assert_array_equal(long.labels[:length], short.labels)
        np.testing.assert_allclose(long.inertia, short.inertia, rtol=1e-5)


@pytest.mark.parametrize("scale", [1e-15, 1e15])
def test_scale_changes_nothing(mask, scale):
    points = points_of("uniform")
    result, plain = run(points * np.float32(scale), mask, 4), run(points, mask, 4)
    np.testing.assert_array_equal(result.labels, plain.labels)


@pytest.mark.parametrize("members", [0, 1, 2, 4])
def test_fewer_points_than_clusters(members):
    """Each point is its own cluster."""
    points = points_of("uniform")
    mask = np.zeros(TOKENS, bool)
    where = [5, 17, 40, 90][:members]
    mask[where] = True
    result = run(points, mask, MOST)
    labels = np.asarray(result.labels)
    np.testing.assert_array_equal(labels[where], np.arange(members))
    assert (labels[~mask] == -1).all()
    assert result.inertia == 0


def test_equal_points_and_odd_counts(mask):
    equal = np.full((TOKENS, DIMS), 0.7, np.float32)
    for points in (equal, 0 * equal):
        result = run(points, mask, 3)
        assert result.inertia == 0
        np.testing.assert_array_equal(result.labels, np.where(mask, 0, -1))
    points = points_of("uniform")
    found = run(points, mask, 1)
    np.testing.assert_array_equal(found.labels, np.where(mask, 0, -1))
    for asked, used in ((0, 1), (-3, 1), (99, MOST)):
        result = run(points, mask, asked)
        np.testing.assert_array_equal(result.labels, run(points, mask, used).labels)


def test_a_batch_equals_a_loop(mask):
    """Under jit and vmap, the number of clusters traced."""
    batch = np.stack([points_of(kind) for kind in ("groups", "uniform", "skewed")])
    counts = jnp.asarray([3, 6, 1])
    keys = jax.random.split(jax.random.key(0), 3)
    together = jax.jit(jax.vmap(lambda *args: cluster(*args, mask=jnp.asarray(mask))))(
        jnp.asarray(batch), counts, keys
    )
    for i in range(3):
        alone = cluster(jnp.asarray(batch[i]), counts[i], keys[i], mask=jnp.asarray(mask))
        np.testing.assert_array_equal(together.labels[i], alone.labels)
        np.testing.assert_allclose(together.inertia[i], alone.inertia, rtol=1e-5)


def test_float64(mask):
    points = points_of("groups").astype(np.float64)
    with jax.enable_x64(True):
        result = run(points, mask, 5)
        assert result.inertia.dtype == jnp.float64
        own = oracles.inertia_of(points[mask], np.asarray(result.labels)[mask])
        np.testing.assert_allclose(result.inertia, own, rtol=1e-12)
