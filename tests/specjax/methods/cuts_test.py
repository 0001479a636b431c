"""TokenCut and MaskCut beside naive ones: grids of any shape, padding, degenerate images."""

import jax.numpy as jnp
import numpy as np
import pytest

from specjax.methods.maskcut import maskcut
from specjax.methods.parts import box_of
from specjax.methods.tokencut import tokencut
from tests.support import method_oracles as oracles

GRIDS = ((5, 7), (8, 4), (6, 6), (1, 12), (9, 3))
PADDED = 40


def planted(grid, seed, objects=2):
    """Features of a background and of rectangles on it, all with noise."""
    rng = np.random.default_rng(seed)
    rows, columns = grid
    kinds = np.zeros(grid, int)
    for number in range(1, objects + 1):
        top, left = rng.integers(0, rows), rng.integers(0, columns)
        kinds[top : top + rng.integers(1, 5), left : left + rng.integers(2, 5)] = number
    centers = rng.normal(size=(objects + 1, 16))
    noise = rng.normal(size=(rows * columns, 16))
    return (centers[kinds.ravel()] + 0.6 * noise).astype(np.float32)


def padded(features):
    # What padding holds must not matter.
    extra = np.full((PADDED - len(features), features.shape[1]), 3.0, np.float32)
    return jnp.asarray(np.concatenate([features, extra]))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("grid", GRIDS)
def test_tokencut(grid, seed):
    features = planted(grid, seed)
    found = tokencut(padded(features), np.array(grid, np.int32), tau=0.15)
    mask, side, token, box = oracles.tokencut(features, grid, 0.15)
    n = len(features)
    np.testing.assert_array_equal(found.mask[:n], mask)
    np.testing.assert_array_equal(found.bipartition[:n], side)
    assert int(found.seed) == token and found.box.tolist() == box
    assert not found.mask[n:].any() and not found.bipartition[n:].any()
    _, values = oracles.second_pair(oracles.binary_graph(features, 0.15, 1e-5))
    np.testing.assert_allclose(found.eigenvalues, values, atol=2e-6)
    assert found.vector[found.seed] > 0


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("grid", GRIDS)
def test_maskcut(grid, seed):
    features = planted(grid, seed + 10, objects=3)
    found = maskcut(padded(features), np.array(grid, np.int32), tau=0.15, N=4)
    expected, pairs = oracles.maskcut(features, grid, 0.15, 4)
    # Where all tokens are in masks, eigenvalues are equal, and the cut is arbitrary.
    defined = np.cumprod(np.diff(pairs)[:, 0] > 1e-3) > 0
    assert defined[:3].all()
    masks = np.asarray(found.masks)
    np.testing.assert_array_equal(masks[defined, : len(features)], expected[defined])
    values = np.asarray(found.eigenvalues)
    np.testing.assert_allclose(values[defined, 1:], pairs[defined], atol=1e-5)
    assert not masks[:, len(features) :].any()
    numbers = np.cumsum(masks.any(axis=1))
    labels = (masks * numbers[:, None]).sum(axis=0)
    np.testing.assert_array_equal(found.labels, labels)
    for mask, box in zip(found.masks, found.boxes, strict=True):
        np.testing.assert_array_equal(box, box_of(mask, grid))


def test_some_rounds_find_nothing_and_some_cuts_overlap():
    """So that the cases above are not all easy."""
    rounds = [
        oracles.maskcut(planted(grid, seed + 10, objects=3), grid, 0.15, 4)[0].any(axis=1)
        for grid in GRIDS
        for seed in range(4)
    ]
    assert 0.2 < np.mean(rounds) < 0.9


def test_three_corners_are_background():
    """The larger |y| is in the frame, which holds all corners."""
    kinds = np.ones((6, 6), int)
    kinds[1:5, 1:5] = 0
    rng = np.random.default_rng(0)
    features = np.eye(4)[kinds.ravel()] + 0.05 * rng.normal(size=(36, 4))
    features = features.astype(np.float32)
    cut = maskcut(jnp.asarray(features), (6, 6), N=1)
    assert cut.masks[0].reshape(6, 6)[[0, 0, -1, -1], [0, -1, 0, -1]].sum() < 3
    np.testing.assert_array_equal(cut.masks, oracles.maskcut(features, (6, 6), 0.15, 1)[0])


def test_centering():
    features = planted((5, 7), 3) + 20.0  # all alike: no threshold cuts them
    shifted = tokencut(jnp.asarray(features), (5, 7), center=True)
    mask, *_ = oracles.tokencut(features - features.mean(axis=0), (5, 7), 0.2)
    np.testing.assert_array_equal(shifted.mask, mask)


@pytest.mark.parametrize("grid", [(1, 1), (1, 2), (3, 3)])
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_features_without_differences(grid, value):
    """Any cut will do; nothing is NaN, and masks stay in the grid."""
    features = np.zeros((12, 4), np.float32)
    features[: grid[0] * grid[1]] = value
    one = tokencut(jnp.asarray(features), np.array(grid, np.int32))
    several = maskcut(jnp.asarray(features), np.array(grid, np.int32))
    for vector in (one.vector, *several.vectors):
        assert np.isfinite(vector).all()
    assert one.mask.any() and not one.mask[grid[0] * grid[1] :].any()
    assert several.masks.sum(axis=0).max() <= 1


def test_box_of_nothing():
    assert box_of(jnp.zeros(6, bool), (2, 3)).tolist() == [0, 0, 0, 0]
