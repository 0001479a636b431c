"""Windows of an image at several scales, and the proposals of all of them."""

import jax.numpy as jnp
import numpy as np
import pytest

import specjax
from specjax._windows import Window, cut_window, join_proposals, windows_of
from specjax.proposals import WEIGHTS
from specjax.tokens import Tiling, to_pixels

PATCH = 4


def tilings(*sizes):
    return [Tiling.of_image(size, PATCH) for size in sizes]


@pytest.mark.parametrize(
    ("small", "large"),
    [((40, 60), (80, 120)), ((41, 63), (82, 126)), ((40, 60), (60, 90)), ((8, 90), (40, 450))],
)
def test_windows_cover_the_grid_and_overlap(small, large):
    whole, *windows = windows_of(tilings(small, large))
    assert whole == Window(Tiling.of_image(small, PATCH), (0, 0), whole.tiling.grid)
    tiling = Tiling.of_image(large, PATCH)
    covered = np.zeros(tiling.grid, int)
    for window in windows:
        (row, column), (rows, columns) = window.first, window.grid
        assert window.tiling == tiling and window.grid == whole.grid
        assert 0 <= row <= tiling.rows - rows and 0 <= column <= tiling.columns - columns
        covered[row : row + rows, column : column + columns] += 1
    assert covered.min() >= 1
    ratio = [large[axis] / small[axis] for axis in (0, 1)]
    assert len(windows) == np.prod([round(2 * side) - 1 for side in ratio])


def test_a_single_scale_has_one_window():
    assert [window.grid for window in windows_of(tilings((40, 60)))] == [(10, 15)]


def test_a_window_has_the_patches_of_a_crop():
    image = np.random.default_rng(0).integers(0, 256, (82, 126, 3), dtype=np.uint8)
    patches = specjax.cut_patches(image, patch_size=PATCH, padded=False)
    for window in windows_of([Tiling.of_image((41, 63), PATCH), patches.tiling])[1:]:
        top, left = (PATCH * first for first in window.first)
        height, width = (PATCH * side for side in window.grid)
        crop = image[top : top + height, left : left + width]
        expected = specjax.cut_patches(crop, patch_size=PATCH)
        np.testing.assert_array_equal(cut_window(patches.values, window), expected.values)


def joined(windows, **masks):
    """Joined proposals, each given by the number of its window, its box in it, and its score."""
    tokens = 256
    every = np.zeros((len(windows), 3, tokens), bool)
    scores = np.zeros((len(windows), 3), np.float32)
    for place, (number, (top, left, bottom, right), score) in enumerate(masks.values()):
        grid = np.zeros(windows[number].grid, bool)
        grid[top:bottom, left:right] = True
        every[number, place, : grid.size] = grid.ravel()
        scores[number, place] = score
    found = join_proposals(every, scores, every * np.float32(0.5), windows)
    np.testing.assert_array_equal(found.shares, 0.5 * np.asarray(found.masks))
    tiling = windows[-1].tiling
    return specjax.as_grid(np.asarray(found.masks), tiling.grid), np.asarray(found.scores)


def at_a_larger_scale(score, tokens):
    """What the score of a mask of that many of the 150 tokens of a window counts."""
    sizes = np.arange(tokens, 151)
    logs = np.log(sizes / 150)
    terms = WEIGHTS["area"] * logs + WEIGHTS["area2"] * logs**2
    terms += WEIGHTS["outline"] * np.sqrt(4 * np.sqrt(sizes) / sizes * 10)
    logit = np.log(score / (1 - score)) + 0.75 * (terms.max() - terms[0])
    return 0.4 / (1 + np.exp(-logit))


def test_small_masks_at_larger_scales_get_back_what_their_size_costs():
    windows = windows_of(tilings((40, 60), (80, 120)))
    _, scores = joined(
        windows,
        whole=(0, (2, 3, 4, 5), 0.6),
        small=(1, (0, 0, 2, 2), 0.6),
        large=(1, (0, 3, 9, 14), 0.6),
    )
    expected = [0.6, at_a_larger_scale(0.6, 4), 0.4 * 0.6]
    np.testing.assert_allclose(scores, expected, rtol=1e-5)
    assert expected[1] > 1.1 * expected[2]


def test_proposals_are_joined_on_the_grid_of_the_largest_scale():
    windows = windows_of(tilings((40, 60), (80, 120)))
    number = next(n for n, w in enumerate(windows) if n and w.first == (10, 15))
    masks, scores = joined(windows, whole=(0, (2, 3, 5, 9), 0.4), part=(number, (4, 5, 6, 8), 0.9))
    np.testing.assert_allclose(scores, [0.4, at_a_larger_scale(0.9, 6), 0], rtol=1e-5)
    expected = np.zeros((2, 20, 30), bool)
    expected[0, 4:10, 6:18] = True  # twice as large
    expected[1, 14:16, 20:23] = True  # moved by the first token of its window
    np.testing.assert_array_equal(masks[:2], expected)
    assert not masks[2].any()


def test_masks_of_the_first_scale_are_enlarged_as_label_maps_are():
    whole, *others = windows_of(tilings((41, 63), (71, 109)))
    box = (3, 4, 7, 11)
    masks, _ = joined((whole, *others), one=(0, box, 0.5))
    small = np.zeros(whole.grid, bool)
    small[box[0] : box[2], box[1] : box[3]] = True
    large = others[-1].tiling
    pixels = to_pixels(small, whole.tiling, large.image_size)
    # The pixels at the centers of the large tokens.
    centers = [np.arange(side) * PATCH + PATCH // 2 for side in large.grid]
    np.testing.assert_array_equal(masks[0], pixels[np.ix_(*centers)])


def test_what_a_window_cuts_off_is_left_out():
    windows = windows_of(tilings((40, 60), (80, 120)))
    corner, last = 1, len(windows) - 1
    assert windows[corner].first == (0, 0) and windows[last].first == (10, 15)
    _, scores = joined(
        windows,
        at_the_image_s_side=(corner, (0, 0, 3, 3), 0.5),
        cut_off_below=(corner, (6, 2, 10, 4), 0.9),
        cut_off_above=(last, (0, 6, 3, 9), 0.8),
    )
    np.testing.assert_allclose(scores, [at_a_larger_scale(0.5, 9), 0, 0], rtol=1e-5)


def test_of_two_that_overlap_the_better_one_is_kept():
    windows = windows_of(tilings((40, 60), (80, 120)))
    masks, scores = joined(
        windows,
        whole=(0, (1, 1, 4, 4), 0.2),
        nearly=(1, (2, 2, 8, 10), 0.9),  # IoU 0.75
        other=(0, (6, 6, 8, 9), 0.1),
    )
    np.testing.assert_allclose(scores, [at_a_larger_scale(0.9, 48), 0.1, 0], rtol=1e-5)
    assert masks[0, 2:8, 2:10].all() and masks[0].sum() == 48


def test_one_scale_joins_to_the_proposals_themselves():
    windows = windows_of(tilings((40, 60)))
    masks = np.random.default_rng(1).random((1, 5, 256)) > 0.7
    masks[:, :, 150:] = False
    scores = np.array([[0.9, 0.7, 0.5, 0.2, 0.0]], np.float32)
    shares = masks * np.random.default_rng(2).random(masks.shape, np.float32)
    found = join_proposals(masks, scores, shares, windows)
    np.testing.assert_array_equal(found.masks[:4], jnp.asarray(masks[0, :4]))
    np.testing.assert_array_equal(found.shares[:4], shares[0, :4])
    np.testing.assert_allclose(found.scores, scores[0])
