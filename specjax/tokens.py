"""The token grid: how an image is cut into patches, and how arrays over tokens are laid out.

Every array over tokens is flat and row-major over the grid: token `i * columns + j` is in row `i`
and column `j`. `grid` is `(rows, columns)`; it may be traced, so that images of many sizes share
one compiled program. An array may be longer than `rows * columns`: the rest is padding, which
changes no result.

Images are uint8 `[height, width, 3]`, RGB, range 0..255. Patches are float32
`[tokens, patch_size * patch_size * 3]`, normalised, with values in the order (row in patch, column
in patch, colour).
"""

import dataclasses
from collections.abc import Sequence
from typing import TypeAlias

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float32, Int, Shaped, UInt8

from specjax._sizes import padded_tokens
from specjax.errors import SpecjaxError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

# The graph of this many tokens takes 1.6 GB, and solving it several times as much.
MAX_TOKENS = 20_000

_Scalar: TypeAlias = int | Int[Array, ""] | Int[np.ndarray, ""] | np.integer
Grid: TypeAlias = tuple[_Scalar, _Scalar] | Int[Array, "2"] | Int[np.ndarray, "2"]


@dataclasses.dataclass(frozen=True)
class Tiling:
    """How an image is cut into tokens; pixels right of or below the last whole patch have none.

    Attributes:
        rows: of the token grid.
        columns: of the token grid.
        patch_size: side of a patch in pixels.
        image_size: height and width in pixels of the image that was cut, remainder included.

    Example:
        >>> tiling = specjax.Tiling.of_image((50, 70), 16)
        >>> tiling.grid, tiling.tokens, tiling.image_size
        ((3, 4), 12, (50, 70))
    """

    rows: int
    columns: int
    patch_size: int
    image_size: tuple[int, int]

    @classmethod
    def of_image(
        cls, image_size: tuple[int, int], patch_size: int, *, name: str = "the image"
    ) -> "Tiling":
        """Cut an image of a given size.

        Args:
            image_size: height and width in pixels.
            patch_size: side of a patch in pixels.
            name: names the image in error messages.

        Returns:
            As many whole patches as fit.

        Raises:
            SpecjaxError: the image is smaller than a patch, or has more than 20,000 tokens
                (`MAX_TOKENS`); the error's `parameter` is "image_size".

        Example:
            >>> specjax.Tiling.of_image((50, 70), 16).grid
            (3, 4)
        """
        height, width = image_size
        rows, columns = height // patch_size, width // patch_size
        if rows < 1 or columns < 1:
            raise SpecjaxError(
                f"{name} is {width} x {height} pixels, smaller than one patch of "
                f"{patch_size} x {patch_size}: leave it out or enlarge it",
                parameter="image_size",
            )
        if rows * columns > MAX_TOKENS:
            # The side advised gives half as many tokens as would fit.
            side = min(rows, columns) * patch_size * (MAX_TOKENS / 2 / (rows * columns)) ** 0.5
            raise SpecjaxError(
                f"{name}: {rows * columns} tokens are more than {MAX_TOKENS}; resize it, for "
                f"example to a short side of {max(int(side) // 10 * 10, 10)} pixels",
                parameter="image_size",
            )
        return cls(rows, columns, patch_size, (height, width))

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.rows, self.columns

    @property
    def tokens(self) -> int:
        """The number of tokens, padding not counted."""
        return self.rows * self.columns


@dataclasses.dataclass(frozen=True, eq=False)
class Patches:
    """An image as a vision transformer reads it: the result of `cut_patches`.

    Attributes:
        values: the normalised patches, row-major over the grid; rows of zeros after them are
            padding.
        tiling: how the image was cut.

    Example:
        >>> patches = specjax.cut_patches(np.zeros((32, 48, 3), np.uint8), patch_size=16)
        >>> patches.values.shape, patches.tiling.grid
        ((256, 768), (2, 3))
    """

    values: Float32[np.ndarray, "tokens patch_values"]
    tiling: Tiling


def cut_patches(
    image: UInt8[np.ndarray, "height width 3"],
    *,
    patch_size: int,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
    padded: bool = True,
    name: str = "the image",
) -> Patches:
    """Crop an image to whole patches, normalise its colours, and cut it.

    Args:
        image: pixels; those right of and below the last whole patch are left out.
        patch_size: side of a patch in pixels.
        mean: of each colour channel, in [0, 1]: pixels become `(image / 255 - mean) / std`.
        std: standard deviation of each colour channel, above 0.
        padded: whether to add rows of zeros up to one of a few lengths, so that images of all sizes
            share few compiled programs (`pad_tokens`).
        name: names the image in error messages.

    Returns:
        The patches, each flattened in the order (row, column, colour), and their tiling.

    Raises:
        SpecjaxError: the image is smaller than a patch or has more than 20,000 tokens (the error's
            `parameter` is "image_size"); `mean` or `std` does not have three values, or one of
            `std` is not above 0.

    Example:
        >>> image = np.full((20, 33, 3), 255, np.uint8)
        >>> patches = specjax.cut_patches(image, patch_size=16, padded=False)
        >>> patches.values.shape, patches.tiling.grid
        ((2, 768), (1, 2))
    """
    if len(mean) != 3 or len(std) != 3 or not all(deviation > 0 for deviation in std):
        raise SpecjaxError(
            f"mean {tuple(mean)} and std {tuple(std)}: three numbers each are needed, those of "
            "std above 0"
        )
    tiling = Tiling.of_image(image.shape[:2], patch_size, name=name)
    cropped = image[: tiling.rows * patch_size, : tiling.columns * patch_size]
    values: np.ndarray = cropped.astype(np.float32) / np.float32(255)
    values = (values - np.asarray(mean, np.float32)) / np.asarray(std, np.float32)
    values = values.reshape(tiling.rows, patch_size, tiling.columns, patch_size, 3)
    values = values.transpose(0, 2, 1, 3, 4).reshape(tiling.tokens, patch_size * patch_size * 3)
    return Patches(pad_tokens(values) if padded else values, tiling)


def pad_tokens(
    array: Shaped[np.ndarray, "tokens *rest"],
) -> Shaped[np.ndarray, "padded_tokens *rest"]:
    """Add rows of zeros up to one of a few lengths, so that images share compiled programs.

    Args:
        array: one row per token.

    Returns:
        The array with a multiple of 256 rows up to 2,048, and less than a sixteenth more rows
        beyond.

    Example:
        >>> specjax.pad_tokens(np.ones((300, 2), np.float32)).shape
        (512, 2)
    """
    missing = padded_tokens(array.shape[0]) - array.shape[0]
    return np.pad(array, ((0, missing), *((0, 0),) * (array.ndim - 1)))


def to_pixels(
    token_map: Shaped[Array | np.ndarray, "rows columns"],
    tiling: Tiling,
    size: tuple[int, int],
    *,
    fill: bool = False,
) -> Shaped[np.ndarray, "height width"]:
    """Enlarge a map over tokens to pixels: each pixel takes the token that its centre lies in.

    Args:
        token_map: one value per token, such as labels (`as_grid`).
        tiling: how the image was cut.
        size: height and width of the result, such as those of the image before it was resized.
        fill: pixels right of or below the last token take the value of the nearest one instead of
            0.

    Returns:
        The map, with the dtype of `token_map`.

    Example:
        >>> tiling = specjax.Tiling.of_image((2, 5), 2)
        >>> print(specjax.to_pixels(np.array([[1, 2]]), tiling, (2, 5)))
        [[1 1 2 2 0]
         [1 1 2 2 0]]
    """
    (height, width), (cut_height, cut_width) = size, tiling.image_size
    # The token below the centre of each pixel.
    rows = (2 * np.arange(height) + 1) * cut_height // (2 * height) // tiling.patch_size
    columns = (2 * np.arange(width) + 1) * cut_width // (2 * width) // tiling.patch_size
    framed = np.pad(np.asarray(token_map), ((0, 1), (0, 1)), mode="edge" if fill else "constant")
    return framed[
        np.minimum(rows, tiling.rows)[:, None], np.minimum(columns, tiling.columns)[None, :]
    ]


def as_grid(
    flat: Shaped[Array | np.ndarray, "*batch tokens"], grid: tuple[int, int]
) -> Shaped[Array | np.ndarray, "*batch rows columns"]:
    """Reshape a flat array over tokens to rows and columns; padding is dropped.

    Args:
        flat: any leading axes, tokens last.
        grid: rows and columns; static.

    Returns:
        The map, with the same leading axes.

    Example:
        >>> print(specjax.as_grid(np.arange(8), (2, 3)))
        [[0 1 2]
         [3 4 5]]
    """
    rows, columns = grid
    return flat[..., : rows * columns].reshape(*flat.shape[:-1], rows, columns)


def valid_tokens(tokens: int, grid: Grid) -> Bool[Array, "tokens"]:
    """Tell the tokens of the grid from the padding after them.

    Args:
        tokens: length of the padded array; static.
        grid: rows and columns; may be traced.

    Returns:
        True for the tokens of the grid, False for padding.

    Example:
        >>> print(specjax.valid_tokens(5, (1, 3)))
        [ True  True  True False False]
    """
    return jnp.arange(tokens) < grid[0] * grid[1]


def rows_and_columns(tokens: int, grid: Grid) -> tuple[Int[Array, "tokens"], Int[Array, "tokens"]]:
    """Row and column of each token of a flat array; padding continues the count."""
    index = jnp.arange(tokens)
    return index // grid[1], index % grid[1]


def neighbours(
    tokens: int, grid: Grid, steps: Sequence[tuple[int, int]]
) -> Int[Array, "steps tokens"]:
    """For each step (rows down, columns right), the index of the token that it leads to.

    Steps stop at the border of the grid, which replicates it (mode "nearest" of scipy.ndimage).
    """
    row, column = rows_and_columns(tokens, grid)
    down, right = jnp.asarray(steps, row.dtype).T
    row = jnp.clip(row[None, :] + down[:, None], 0, grid[0] - 1)
    column = jnp.clip(column[None, :] + right[:, None], 0, grid[1] - 1)
    return row * grid[1] + column
