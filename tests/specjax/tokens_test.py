import jax
import jax.numpy as jnp
import numpy as np
import pytest

from specjax import SpecjaxError, Tiling, as_grid, cut_patches, pad_tokens, to_pixels
from specjax import tokens as grids

GRIDS = [(3, 4), (1, 5), (5, 1), (1, 1), (2, 6)]
TOKENS = 12


@pytest.mark.parametrize("grid", GRIDS)
def test_layout_is_row_major(grid):
    height, width = grid
    np.testing.assert_array_equal(
        grids.valid_tokens(TOKENS, grid), np.arange(TOKENS) < height * width
    )
    row, column = grids.rows_and_columns(TOKENS, grid)
    expected = np.indices(grid).reshape(2, -1)
    np.testing.assert_array_equal(np.stack([row, column])[:, : height * width], expected)


@pytest.mark.parametrize("grid", GRIDS)
def test_neighbours_replicate_the_border(grid):
    height, width = grid
    index = np.arange(height * width).reshape(grid)
    steps = ((0, 0), (-2, 1), (1, -3), (2, 2), (0, 9))
    found = np.asarray(grids.neighbours(TOKENS, grid, steps))
    assert found.shape == (len(steps), TOKENS)
    for (rows, columns), actual in zip(steps, found, strict=True):
        reach = max(abs(rows), abs(columns))
        padded = np.pad(index, reach, mode="edge")
        top, left = reach + rows, reach + columns
        expected = padded[top : top + height, left : left + width].ravel()
        np.testing.assert_array_equal(actual[: height * width], expected)
    # Padding also points at tokens that exist.
    assert (found >= 0).all() and (found < height * width).all()


def test_traced_grids_of_a_batch():
    batch = jnp.asarray(GRIDS)

    def all_of(grid):
        row, column = grids.rows_and_columns(TOKENS, grid)
        below = grids.neighbours(TOKENS, grid, ((1, 0), (0, -1)))
        return grids.valid_tokens(TOKENS, grid), row, column, below

    together = jax.jit(jax.vmap(all_of))(batch)
    for i, grid in enumerate(GRIDS):
        for found, expected in zip(together, all_of(grid), strict=True):
            np.testing.assert_array_equal(found[i], expected)


def test_as_grid():
    maps = np.arange(24).reshape(2, 12)
    expected = maps[:, :10].reshape(2, 2, 5)
    np.testing.assert_array_equal(as_grid(jnp.asarray(maps), (2, 5)), expected)
    assert isinstance(as_grid(maps, (2, 5)), np.ndarray)
    np.testing.assert_array_equal(as_grid(maps, (2, 5)), expected)
    np.testing.assert_array_equal(as_grid(maps[0], (2, 5)), expected[0])


# ---------------------------------------------------------------- cutting, and back


@pytest.fixture
def photograph():
    return np.random.default_rng(3).integers(0, 256, (20, 30, 3)).astype(np.uint8)


IDENTITY = {"mean": (0.0, 0.0, 0.0), "std": (1 / 255,) * 3}


def test_patches_are_laid_out_as_documented():
    height, width, size = 6, 9, 3
    image = np.arange(height * width * 3, dtype=np.uint8).reshape(height, width, 3)
    patches = cut_patches(image, patch_size=size, padded=False, **IDENTITY)
    assert patches.tiling == Tiling(2, 3, 3, (6, 9))
    assert patches.values.shape == (6, 27) and patches.values.dtype == np.float32
    for token in range(6):
        top, left = token // 3 * size, token % 3 * size
        values = [
            image[top + row, left + column, channel]
            for row in range(size)
            for column in range(size)
            for channel in range(3)
        ]
        np.testing.assert_allclose(patches.values[token], values, rtol=1e-6)


def test_the_crop_is_at_the_right_and_the_bottom(photograph):
    for size, kept in ((8, photograph[:16, :24]), (10, photograph)):
        patches = cut_patches(photograph, patch_size=size, padded=False)
        whole = cut_patches(kept, patch_size=size, padded=False)
        np.testing.assert_array_equal(patches.values, whole.values)
        tiling = patches.tiling
        assert tiling.image_size == (20, 30)
        assert tiling.grid == (20 // size, 30 // size) and tiling.tokens == len(whole.values)
    with pytest.raises(SpecjaxError, match=r"x\.jpg is 30 x 20 pixels, smaller than one") as error:
        cut_patches(photograph, patch_size=24, name="x.jpg")
    assert error.value.parameter == "image_size"


def test_patches_are_normalised():
    image = np.array([[[0, 128, 255]]], np.uint8)
    values = cut_patches(image, patch_size=1).values
    expected = [(0 - 0.485) / 0.229, (128 / 255 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    np.testing.assert_allclose(values[0], expected, rtol=1e-5)
    for wrong in ({"std": (1.0, 0.0, 1.0)}, {"mean": (0.5,)}):
        with pytest.raises(SpecjaxError, match="std"):
            cut_patches(image, patch_size=1, **wrong)


def test_padding_is_zero_rows(photograph):
    bare, padded = (
        cut_patches(photograph, patch_size=5, padded=padded).values for padded in (False, True)
    )
    assert bare.shape == (24, 75) and padded.shape == (256, 75)
    np.testing.assert_array_equal(padded[:24], bare)
    assert not padded[24:].any()
    assert pad_tokens(np.ones(300, bool)).sum() == 300
    assert pad_tokens(np.ones((2049, 2, 3), np.int32)).shape == (2176, 2, 3)


def test_images_of_too_many_tokens_are_refused():
    """An error before the image is cut; the short side that it proposes is accepted."""
    image = np.zeros((1500, 2000, 3), np.uint8)
    with pytest.raises(SpecjaxError) as error:
        cut_patches(image, patch_size=4, name="x.jpg")
    message = str(error.value)
    assert message.startswith("x.jpg: 187500 tokens are more than 20000; resize it")
    assert error.value.parameter == "image_size" and "--" not in message
    side = int(message.split("short side of ")[1].split()[0])
    assert 5_000 < Tiling.of_image((side, side * 4 // 3), 4).tokens <= 10_000


@pytest.mark.parametrize("resized", [(20, 30), (41, 60), (13, 20)])
def test_pixels_take_the_token_that_their_centre_lies_in(resized):
    tiling = Tiling.of_image(resized, 6)
    numbers = 1 + np.arange(tiling.tokens).reshape(tiling.grid)
    found = to_pixels(numbers, tiling, (20, 30))
    for row in range(20):
        for column in range(30):
            i = int((row + 0.5) * resized[0] / 20 // 6)
            j = int((column + 0.5) * resized[1] / 30 // 6)
            inside = i < tiling.rows and j < tiling.columns
            assert found[row, column] == (numbers[i, j] if inside else 0)
    mask = to_pixels(numbers > 0, tiling, (20, 30))
    assert mask.dtype == bool
    np.testing.assert_array_equal(mask, found > 0)


@pytest.mark.parametrize("resized", [(20, 30), (41, 60), (13, 20)])
def test_the_remainder_may_take_the_nearest_token(resized):
    tiling = Tiling.of_image(resized, 6)
    numbers = 1 + np.arange(tiling.tokens).reshape(tiling.grid)
    bare, filled = (to_pixels(numbers, tiling, (20, 30), fill=fill) for fill in (False, True))
    inside = bare > 0
    assert not inside.all()
    height, width = inside.any(axis=1).sum(), inside.any(axis=0).sum()
    corner = ((0, 20 - height), (0, 30 - width))
    np.testing.assert_array_equal(filled, np.pad(bare[:height, :width], corner, mode="edge"))
    mask = to_pixels(numbers > 1, tiling, (20, 30), fill=True)
    assert mask.dtype == bool
    np.testing.assert_array_equal(mask, filled > 1)
