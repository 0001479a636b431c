import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from specjax import foreground
from specjax.channels import normalize_tokens
from tests.support import oracles

TOKENS = 120
VARIANTS = [(5, "tokens"), (3, "contour"), (3, "tokens"), (5, "contour")]


@pytest.fixture(scope="module")
def masks():
    return oracles.random_masks(1000, TOKENS, seed=2)


def flat(mask, fill=True):
    return np.pad(mask.ravel(), (0, TOKENS - mask.size), constant_values=fill)


@pytest.fixture(scope="module")
def actual(masks):
    """Inversion and both protocols' post-processing, compiled, on all masks at once."""

    def everything(mask, grid):
        inverted = foreground.invert_if_background(mask, grid)
        return inverted, [
            foreground.postprocess(mask, grid, median_size=size, area=area)
            for size, area in VARIANTS
        ]

    batch = jnp.asarray(np.stack([flat(mask) for mask in masks]))
    grids = jnp.asarray([mask.shape for mask in masks])
    return jax.tree.map(np.asarray, jax.jit(jax.vmap(everything))(batch, grids))


def test_inversion(actual, masks):
    inverted = 0
    for found, mask in zip(actual[0], masks, strict=True):
        expected = oracles.invert_if_background(mask)
        inverted += (expected != mask).any()
        np.testing.assert_array_equal(found, flat(expected, False))
    assert 100 < inverted < 900


def test_inversion_needs_two_strips_over_nine_tenths():
    """Exactly 90 % is not more than 90 %."""
    mask = np.zeros((10, 12), bool)
    mask[:5] = mask[-5:] = True
    mask[0, :6] = mask[9, 6:] = False
    for change, expected in ((None, mask), ((0, 5), ~mask)):
        case = mask.copy()
        if change:
            case[0, 5] = case[9, 6] = True
            expected = ~case
        found = jax.jit(foreground.invert_if_background)(case.ravel(), case.shape)
        np.testing.assert_array_equal(np.asarray(found).reshape(case.shape), expected)


@pytest.mark.parametrize("variant", range(len(VARIANTS)))
def test_postprocessing(actual, masks, variant):
    size, area = VARIANTS[variant]
    for found, mask in zip(actual[1][variant], masks, strict=True):
        expected = oracles.postprocess(mask, median_size=size, area=area)
        np.testing.assert_array_equal(found, flat(expected, False))


def test_defaults_are_the_papers(actual, masks):
    found = foreground.postprocess(jnp.asarray(flat(masks[5])), jnp.asarray(masks[5].shape))
    np.testing.assert_array_equal(found, actual[1][0][5])


# ---------------------------------------------------------------- bipartition


GRID = (8, 9)
SIZE, PADDED = 72, 80


def scene(seed=0, object_rows=slice(2, 6), object_columns=slice(3, 8)):
    """Two kinds of tokens with noise, and which of them are the object."""
    rng = np.random.default_rng(seed)
    truth = np.zeros(GRID, bool)
    truth[object_rows, object_columns] = True
    kinds = rng.normal(size=(2, 10)) + 1.0
    features = kinds[truth.ravel().astype(int)] + 0.3 * rng.normal(size=(SIZE, 10))
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    return features.astype(np.float32), truth


def padded(features):
    rows = np.full((PADDED - len(features), features.shape[1]), np.nan, np.float32)
    return jnp.asarray(np.concatenate([features, rows]))


@pytest.fixture(scope="module", params=["eigh", "krylov"])
def solver(request):
    return request.param


@pytest.fixture(scope="module")
def bipartition(solver):
    """Compiled over batches of three padded images."""
    call = functools.partial(foreground.bipartition, solver=solver)
    compiled = jax.jit(jax.vmap(call, in_axes=(0, None)))
    return lambda images, grid: compiled(
        jnp.stack([padded(images[i % len(images)]) for i in range(3)]), jnp.asarray(grid)
    )


def test_graph():
    features, _ = scene()
    valid = jnp.arange(PADDED) < SIZE
    graph = jax.jit(foreground.foreground_graph)
    weights = np.asarray(graph(padded(features), valid=valid))
    expected = oracles.affinity(features, "dot")
    np.testing.assert_allclose(weights[:SIZE, :SIZE], expected / expected.max(), atol=1e-6)
    assert not weights[SIZE:].any() and not weights[:, SIZE:].any()
    nothing = graph(jnp.zeros((3, 2)))
    np.testing.assert_array_equal(nothing, np.zeros((3, 3)))


def test_bipartition(bipartition):
    scenes = [scene(seed) for seed in range(3)]
    result = bipartition([features for features, _ in scenes], GRID)
    for i, (features, truth) in enumerate(scenes):
        weights = oracles.affinity(features, "dot")
        weights /= weights.max()
        values, vectors = oracles.eigenpairs(weights, 2)
        np.testing.assert_allclose(result.eigenvalues[i], values, atol=1e-5)
        fiedler = oracles.orient(vectors[1], break_ties=True)
        np.testing.assert_allclose(result.fiedler[i, :SIZE], fiedler, atol=1e-4)
        np.testing.assert_array_equal(result.mask[i], np.pad(fiedler > 0, (0, PADDED - SIZE)))
        assert not np.asarray(result.fiedler)[i, SIZE:].any()
        # The object is found, and is the smaller part.
        assert (np.asarray(result.mask)[i, :SIZE] == truth.ravel()).mean() > 0.95


def test_sizes_without_a_bipartition(bipartition):
    """Only equal or zero tokens: the same result every time, and no NaN."""
    cases = [np.zeros((SIZE, 10), np.float32), np.full((SIZE, 10), 0.3, np.float32), scene()[0]]
    for grid in (GRID, (1, 1), (1, 2), (1, 72), (72, 1)):
        first, second = (bipartition(cases, grid) for _ in range(2))
        assert all(np.isfinite(part).all() for part in first)
        np.testing.assert_array_equal(first.mask, second.mask)
        assert not np.asarray(first.mask)[:, grid[0] * grid[1] :].any()
        if grid == (1, 1):
            assert not np.asarray(first.mask).any()
            np.testing.assert_array_equal(first.eigenvalues, np.tile([0, 2], (3, 1)))


def test_parts_without_a_tie_are_told_apart(bipartition):
    """Two eigenvalues of 0: the second vector is the one that separates the parts."""
    truth = scene()[1]
    features = np.zeros((SIZE, 10), np.float32)
    features[np.arange(SIZE), truth.ravel().astype(int)] = 1.0
    result = bipartition([features], GRID)
    np.testing.assert_allclose(result.eigenvalues[0], np.zeros(2), atol=1e-6)
    np.testing.assert_array_equal(result.mask[0, :SIZE], truth.ravel())


def test_padding_changes_nothing(bipartition, solver):
    features, _ = scene(5)
    short = foreground.bipartition(jnp.asarray(features), jnp.asarray(GRID), solver=solver)
    long = jax.tree.map(lambda part: part[0], bipartition([features], GRID))
    np.testing.assert_array_equal(long.mask[:SIZE], short.mask)
    np.testing.assert_allclose(long.fiedler[:SIZE], short.fiedler, rtol=0, atol=1e-5)
    np.testing.assert_allclose(long.eigenvalues, short.eigenvalues, rtol=0, atol=1e-6)


def test_gradient_is_finite():
    features = normalize_tokens(jnp.asarray(scene(6)[0]))

    def score(features):
        return jnp.sum(foreground.bipartition(features, GRID, solver="eigh").fiedler ** 2)

    gradient = jax.jit(jax.grad(score))(features)
    assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0


def test_tokens_without_features_are_no_foreground():
    grid = jnp.array([4, 6])
    bipartition = foreground.bipartition
    for solver in ("eigh", "krylov", "auto"):
        nothing = bipartition(jnp.zeros((200, 5)), grid, solver=solver)
        assert not np.asarray(nothing.mask).any()
        assert np.isfinite(nothing.eigenvalues).all()
        half = jnp.zeros((200, 5)).at[:12].set(jax.random.normal(jax.random.key(0), (12, 5)))
        assert not np.asarray(bipartition(half, grid, solver=solver).mask)[12:].any()
