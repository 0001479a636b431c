import jax
import jax.numpy as jnp
import numpy as np
import pytest

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
    for (rows, columns), ours in zip(steps, found, strict=True):
        reach = max(abs(rows), abs(columns))
        padded = np.pad(index, reach, mode="edge")
        top, left = reach + rows, reach + columns
        expected = padded[top : top + height, left : left + width].ravel()
        np.testing.assert_array_equal(ours[: height * width], expected)
    # Padding, too, points at tokens that exist.
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
