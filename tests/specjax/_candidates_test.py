import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
import sklearn.cluster

from specjax import _candidates
from specjax.clustering import kmeans
from specjax.tokens import valid_tokens
from tests.support import oracles

GRID, TOKENS = (7, 9), 80
COUNT = GRID[0] * GRID[1]

grow = jax.jit(_candidates.merge_neighbours, static_argnames=("rounds", "by_variance"))
largest_regions = jax.jit(_candidates.largest_regions, static_argnames=("count", "least"))


@pytest.fixture(scope="module")
def features():
    rng = np.random.default_rng(0)
    smooth = scipy.ndimage.gaussian_filter(rng.normal(size=(*GRID, 12)), (1, 1, 0))
    return np.pad(smooth.reshape(COUNT, 12), ((0, TOKENS - COUNT), (0, 0)), constant_values=9)


def test_centered(features):
    valid = valid_tokens(TOKENS, GRID)
    found = np.asarray(jax.jit(_candidates.centered)(jnp.asarray(features, jnp.float32), valid))
    less = features[:COUNT] - features[:COUNT].mean(axis=0)
    expected = less / np.linalg.norm(less, axis=1, keepdims=True)
    np.testing.assert_allclose(found[:COUNT], expected, atol=1e-6)
    assert not found[COUNT:].any()


@pytest.mark.parametrize("value", [0.0, 0.1, 1e4])
def test_constant_features_have_no_direction(value):
    features = np.full((TOKENS, 5), value, np.float32)
    found = jax.jit(_candidates.centered)(features, valid_tokens(TOKENS, GRID))
    assert not np.asarray(found).any()


def test_variation_and_power(features):
    given, valid = jnp.asarray(features, jnp.float32), valid_tokens(TOKENS, GRID)
    varies = COUNT * features[:COUNT].var(axis=0).sum()
    assert float(_candidates.variation(given, valid)) == pytest.approx(varies, rel=1e-5)
    power = np.square(features[:COUNT]).sum()
    assert float(_candidates.power(given, valid)) == pytest.approx(power, rel=1e-5)


def test_principal(features):
    X = features[:COUNT].astype(np.float32)
    principal = jax.jit(_candidates.principal, static_argnames="count")
    found = np.asarray(principal(X, count=4))
    left, values, _ = np.linalg.svd(X.astype(np.float64), full_matrices=False)
    best = (left[:, :4] * values[:4]) @ (left[:, :4] * values[:4]).T
    error = np.linalg.norm(found @ found.T - X @ X.T)
    assert found.shape == (COUNT, 4)
    assert error <= 1.05 * np.linalg.norm(best - X @ X.T)


def test_connected_parts():
    rng = np.random.default_rng(0)
    labels = rng.integers(-1, 3, (20, *GRID))
    flat = np.pad(labels.reshape(20, COUNT), ((0, 0), (0, TOKENS - COUNT)), constant_values=-1)
    found = np.asarray(jax.jit(_candidates.connected_parts)(jnp.asarray(flat), jnp.array(GRID)))
    for map_, row in zip(labels, found, strict=True):
        expected = np.full(GRID, -1)
        for cluster in range(3):
            region = oracles.first_token_labels(map_ == cluster, 8)
            expected = np.where(map_ == cluster, region, expected)
        np.testing.assert_array_equal(row[:COUNT].reshape(GRID), expected)
        assert (row[COUNT:] == -1).all()


def merged_regions(merges):
    labels, merged = np.asarray(merges.labels), np.asarray(merges.merged)
    rounds, roots = np.nonzero(merged)
    return {tuple(np.flatnonzero(labels[r] == c)) for r, c in zip(rounds, roots, strict=True)}


def naive_tree(features, by_variance):
    """Merges of all pairs of neighbours that are each other's best, one dictionary at a time."""
    regions = {index: [index] for index in range(COUNT)}
    where = {index: divmod(index, GRID[1]) for index in range(COUNT)}
    found = set()

    def touch(a, b):
        return any(
            max(abs(where[i][0] - where[j][0]), abs(where[i][1] - where[j][1])) == 1
            for i in regions[a]
            for j in regions[b]
        )

    def likeness(a, b):
        one, other = features[regions[a]], features[regions[b]]
        if by_variance:
            gap = one.mean(axis=0) - other.mean(axis=0)
            return -(gap @ gap) * len(one) * len(other) / (len(one) + len(other))
        return (one @ other.T).mean()

    while len(regions) > 1:
        best = {}
        for a in regions:
            near = [b for b in regions if b != a and touch(a, b)]
            best[a] = max(near, key=lambda b: likeness(a, b))
        for a, b in best.items():
            if best[b] == a and a < b:
                regions[a] += regions.pop(b)
                found.add(tuple(sorted(regions[a])))
    return found


@pytest.mark.parametrize("by_variance", [False, True])
def test_merge_neighbours(features, by_variance):
    merges = grow(features.astype(np.float32), GRID, rounds=30, by_variance=by_variance)
    assert merged_regions(merges) == naive_tree(features, by_variance)
    assert (np.asarray(merges.labels)[-1, :COUNT] == 0).all()
    assert (np.asarray(merges.labels)[:, COUNT:] == -1).all()


def test_merges_are_those_of_ward_in_scikit_learn(features):
    merges = grow(features.astype(np.float32), GRID, rounds=30, by_variance=True)
    rows, columns = np.divmod(np.arange(COUNT), GRID[1])
    gap = np.maximum(abs(rows[:, None] - rows), abs(columns[:, None] - columns))
    tree = sklearn.cluster.AgglomerativeClustering(
        1, linkage="ward", connectivity=gap == 1, compute_full_tree=True
    ).fit(features[:COUNT])
    nodes = [(index,) for index in range(COUNT)]
    for a, b in tree.children_:
        nodes.append(tuple(sorted(nodes[a] + nodes[b])))
    shared = merged_regions(merges) & set(nodes[COUNT:])
    assert len(shared) > 0.8 * (COUNT - 1)


def test_merges_of_equal_features_end():
    merges = grow(jnp.zeros((TOKENS, 3)), GRID, rounds=5)
    assert np.asarray(merges.merged).any(axis=1).all()


def test_largest_regions():
    labels = jnp.array([[0, 0, 2, 2, 2, -1], [0, 0, 0, 0, 4, -1]])
    masks, of_map = largest_regions(labels, None, count=5, least=2)
    assert of_map.tolist() == [1, 0, 0, -1, -1]
    assert masks.astype(int).tolist() == [
        [1, 1, 1, 1, 0, 0],
        [0, 0, 1, 1, 1, 0],
        [1, 1, 0, 0, 0, 0],
        [0] * 6,
        [0] * 6,
    ]
    counted = jnp.array([[True, False, False, False, False, False]] * 2)
    _, of_map = largest_regions(labels, counted, count=3, least=3)
    assert of_map.tolist() == [1, -1, -1]


def test_partitions(features):
    valid = valid_tokens(TOKENS, GRID)
    vectors = jnp.asarray(features.T[:4], jnp.float32)
    partitions = jax.jit(_candidates.partitions, static_argnames="most")
    found = np.asarray(partitions(vectors, valid, most=4))
    assert found.shape == (3, TOKENS)
    assert [row[:COUNT].max() for row in found] == [1, 2, 3]
    key = jax.random.key(0, impl="threefry2x32")
    three = kmeans(vectors.T, 3, key, max_clusters=4, mask=valid, restarts=2, max_iterations=50)
    np.testing.assert_array_equal(found[1], three.labels)


def test_largest_between():
    grid, tokens = (5, 7), 40
    values = np.random.default_rng(0).random(tokens).astype(np.float32)
    largest = jax.jit(_candidates.largest_between, static_argnames="steps")
    found = np.asarray(largest(values, grid, steps=6))
    for one, other in np.random.default_rng(1).integers(0, 35, (200, 2)):
        places = []
        for step in range(6):
            share = (2 * step + 1) / 12
            points = [
                a * (1 - share) + b * share
                for a, b in zip(np.divmod(one, 7), np.divmod(other, 7), strict=True)
            ]
            places.append([int(np.floor(point + 0.5 + 1e-9)) for point in points])
        expected = max(values[row * 7 + column] for row, column in places)
        assert found[one, other] == found[other, one] == expected
