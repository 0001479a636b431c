"""The token grid: how tokens, pixels of a mask and padding are laid out everywhere.

Every array over tokens is flat and row-major over the grid: token `i * width + j` is row `i`,
column `j`. `grid` is `(height, width)`, Python integers or traced ones, so that images of many
sizes share one compiled program. An array may be longer than `height * width`: what follows is
padding, and no function lets it reach a result.
"""

from collections.abc import Sequence
from typing import TypeAlias

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

_Scalar: TypeAlias = int | Int[Array, ""] | Int[np.ndarray, ""] | np.integer
Grid: TypeAlias = tuple[_Scalar, _Scalar] | Int[Array, "2"] | Int[np.ndarray, "2"]


def valid_tokens(tokens: int, grid: Grid) -> Bool[Array, "tokens"]:
    """True for the tokens of the grid, False for the padding behind them."""
    return jnp.arange(tokens) < grid[0] * grid[1]


def rows_and_columns(
    tokens: int, grid: Grid
) -> tuple[Int[Array, "tokens"], Int[Array, "tokens"]]:
    """Row and column of each token of the flat layout (padding continues the count)."""
    index = jnp.arange(tokens)
    return index // grid[1], index % grid[1]


def neighbours(
    tokens: int, grid: Grid, steps: Sequence[tuple[int, int]]
) -> Int[Array, "steps tokens"]:
    """Index of the token so many rows below and columns right of each token, clamped to the grid.

    Clamping replicates the border (scipy.ndimage's mode "nearest"). One row per step.
    """
    row, column = rows_and_columns(tokens, grid)
    down, right = jnp.asarray(steps, row.dtype).T
    row = jnp.clip(row[None, :] + down[:, None], 0, grid[0] - 1)
    column = jnp.clip(column[None, :] + right[:, None], 0, grid[1] - 1)
    return row * grid[1] + column
