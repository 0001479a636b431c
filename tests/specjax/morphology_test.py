import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage

from specjax import morphology
from tests.support import oracles

TOKENS, COUNT = 120, 1000

large_regions = jax.jit(morphology.drop_small_regions, static_argnames=("fraction", "area"))


def flat(maps, fill):
    """2-D maps as a batch of flat rows, each padded with `fill`."""
    rows = [np.pad(m.ravel(), (0, TOKENS - m.size), constant_values=fill) for m in maps]
    return jnp.asarray(np.stack(rows))


@pytest.fixture(scope="module")
def masks():
    return oracles.random_masks(COUNT, TOKENS, seed=0)


@pytest.fixture(scope="module")
def values(masks):
    """Float maps on the masks' grids: with equal values, and without."""
    rng = np.random.default_rng(1)
    maps = [rng.normal(size=mask.shape).astype(np.float32) for mask in masks]
    return [np.round(m) if index % 3 == 0 else m for index, m in enumerate(maps)]


@pytest.fixture(scope="module")
def actual(masks, values):
    """Every operation, compiled, on all masks at once. Padding is True, or NaN."""

    def everything(mask, values, grid):
        eight = morphology.connected_components(mask, grid, connectivity=8)
        filled = morphology.fill_holes(mask, grid)
        filled_regions = morphology.connected_components(filled, grid, connectivity=8)
        return {
            "four": morphology.connected_components(mask, grid, connectivity=4),
            "eight": eight,
            "filled": filled,
            "tokens": morphology.region_areas(mask & (eight >= 0), eight, grid, area="tokens"),
            "contour": morphology.region_areas(filled, filled_regions, grid, area="contour"),
            "large tokens": morphology.drop_small_regions(mask, grid),
            "large contour": morphology.drop_small_regions(filled, grid, area="contour"),
            "large half": morphology.drop_small_regions(mask, grid, fraction=0.5),
            "mask 3": morphology.median_filter_mask(mask, grid, size=3),
            "mask 5": morphology.median_filter_mask(mask, grid, size=5),
            "median 1": morphology.median_filter(values, grid, size=1),
            "median 3": morphology.median_filter(values, grid, size=3),
            "median 5": morphology.median_filter(values, grid, size=5),
        }

    grids = jnp.asarray([mask.shape for mask in masks])
    together = jax.jit(jax.vmap(everything))(flat(masks, True), flat(values, np.nan), grids)
    return jax.tree.map(np.asarray, together)


def compare(found, expected, outside):
    """Each row against its 2-D map, and `outside` in the padding."""
    for row, wanted in zip(found, expected, strict=True):
        np.testing.assert_array_equal(row[: wanted.size].reshape(wanted.shape), wanted)
        assert (row[wanted.size :] == outside).all()


@pytest.mark.parametrize("size", [1, 3, 5])
def test_median_of_maps(actual, values, size):
    expected = [scipy.ndimage.median_filter(m, size, mode="nearest") for m in values]
    compare(actual[f"median {size}"], expected, 0)


@pytest.mark.parametrize("size", [3, 5])
def test_median_of_masks(actual, masks, size):
    compare(actual[f"mask {size}"], [oracles.median_mask(m, size) for m in masks], False)


@pytest.mark.parametrize("name,connectivity", [("four", 4), ("eight", 8)])
def test_components(actual, masks, name, connectivity):
    expected = [oracles.first_token_labels(m, connectivity) for m in masks]
    compare(actual[name], expected, -1)


def test_holes(actual, masks):
    expected = [scipy.ndimage.binary_fill_holes(m) for m in masks]
    assert sum((e != m).any() for e, m in zip(expected, masks, strict=True)) > 100
    compare(actual["filled"], expected, False)


@pytest.mark.parametrize("area", ["tokens", "contour"])
def test_areas(actual, masks, area):
    shapes = masks if area == "tokens" else [scipy.ndimage.binary_fill_holes(m) for m in masks]
    for row, mask in zip(actual[area], shapes, strict=True):
        expected = np.zeros(TOKENS)
        for region, size in oracles.region_areas(mask, area):
            expected[np.flatnonzero(region)[0]] = size
        np.testing.assert_array_equal(row, expected)


def test_small_regions(actual, masks):
    filled = [scipy.ndimage.binary_fill_holes(m) for m in masks]
    compare(actual["large tokens"], [oracles.drop_small_regions(m, "tokens") for m in masks], False)
    compare(
        actual["large half"], [oracles.drop_small_regions(m, "tokens", 0.5) for m in masks], False
    )
    expected = [oracles.drop_small_regions(m, "contour") for m in filled]
    compare(actual["large contour"], expected, False)
    # The two rules give different results, so both are tested.
    by_tokens = [oracles.drop_small_regions(m, "tokens") for m in filled]
    assert any((c != t).any() for c, t in zip(expected, by_tokens, strict=True))


def test_a_tenth_is_not_smaller_than_a_tenth():
    mask = np.zeros((6, 20), bool)
    mask[:3, :10] = mask[4, :3] = mask[4, 10:12] = True
    kept = large_regions(flat([mask], False)[0], jnp.asarray([6, 20]), area="tokens")
    expected = mask.copy()
    expected[4, 10:12] = False
    np.testing.assert_array_equal(np.asarray(kept).reshape(6, 20), expected)


def test_thin_regions_have_no_contour_area_and_stay():
    mask = np.zeros((8, 15), bool)
    mask[1, 2:9] = mask[3, 1] = mask[5:8, 12] = True
    assert all(size == 0 for _, size in oracles.region_areas(mask, "contour"))
    kept = large_regions(flat([mask], False)[0], jnp.asarray([8, 15]), area="contour")
    np.testing.assert_array_equal(np.asarray(kept).reshape(8, 15), mask)


def test_a_long_winding_region_is_one():
    mask = np.zeros((11, 10), bool)
    mask[::2] = True
    mask[1::4, -1] = mask[3::4, 0] = True
    labels = morphology.connected_components(flat([mask], False)[0], (11, 10), connectivity=4)
    assert set(np.asarray(labels)[:110][mask.ravel()]) == {0}


def test_a_single_image_without_padding(actual, masks):
    """Plain integers as the grid, and an array of exactly its size."""
    mask = masks[47]

    @jax.jit
    def both(flat):
        return (
            morphology.drop_small_regions(flat, mask.shape),
            morphology.fill_holes(flat, mask.shape),
        )

    large, filled = both(jnp.asarray(mask.ravel()))
    np.testing.assert_array_equal(large, actual["large tokens"][47, : mask.size])
    np.testing.assert_array_equal(filled, actual["filled"][47, : mask.size])
