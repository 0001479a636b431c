"""The token grid: how an image is cut into patches, and how arrays over tokens are laid out.

Every array over tokens is flat and row-major over the grid: token `i * columns + j` is row `i`,
column `j`. `grid` is `(rows, columns)`, Python integers or traced ones, so that images of many
sizes share one compiled program. An array may be longer than `rows * columns`: what follows is
padding, and no function lets it reach a result.

Images are uint8 `[height, width, 3]`, RGB, range 0..255. Patches are float32
`[tokens, patch_size * patch_size * 3]`, normalised, values in the order (row in patch, column in
patch, channel).
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

# The graph of so many tokens takes 1.6 GB, and solving it several times that.
MAX_TOKENS = 20_000

_Scalar: TypeAlias = int | Int[Array, ""] | Int[np.ndarray, ""] | np.integer
Grid: TypeAlias = tuple[_Scalar, _Scalar] | Int[Array, "2"] | Int[np.ndarray, "2"]


@dataclasses.dataclass(frozen=True)
class Tiling:
    """How an image is cut into tokens; what is left at the right and the bottom has none.

    Attributes:
        rows: of the token grid.
        columns: of the token grid.
        patch_size: side of a token in pixels.
        image_size: height and width of the image that was cut, remainder included.
    """

    rows: int
    columns: int
    patch_size: int
    image_size: tuple[int, int]

    @classmethod
    def of_image(
        cls, image_size: tuple[int, int], patch_size: int, *, name: str = "the image"
    ) -> "Tiling":
        """The tiling of an image of this height and width; `name` names it in errors.

        Raises:
            SpecjaxError: the image is smaller than a patch, or has more than `MAX_TOKENS` tokens
                (`parameter` is "image_size").
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
            # Half of what would fit: nobody asked for the largest graph there is.
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
        """How many tokens there are, padding not counted."""
        return self.rows * self.columns


@dataclasses.dataclass(frozen=True, eq=False)
class Patches:
    """An image as a vision transformer reads it.

    Attributes:
        values: the normalised patches, zero rows of padding behind those of the grid.
        tiling: how they were cut.
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
    """Crop an image to whole patches, normalise it, and cut it.

    Args:
        image: its remainder at the right and the bottom is left out.
        patch_size: side of a patch in pixels.
        mean: of each channel, 0 to 1: pixels become `(image / 255 - mean) / std`.
        std: of each channel.
        padded: whether rows of zeros are added up to one of a few lengths, so that few programs
            are compiled for images of all sizes.
        name: names the image in errors.

    Raises:
        SpecjaxError: the image is smaller than a patch or has more than `MAX_TOKENS` tokens
            (`parameter` is "image_size"); or not three means and three deviations above 0.
    """
    if len(mean) != 3 or len(std) != 3 or not all(deviation > 0 for deviation in std):
        raise SpecjaxError(
            f"mean {tuple(mean)} and std {tuple(std)}: three numbers each are needed, those of "
            "std above 0"
        )
    tiling = Tiling.of_image(image.shape[:2], patch_size, name=name)
    cropped = image[: tiling.rows * patch_size, : tiling.columns * patch_size]
    values = cropped.astype(np.float32) / np.float32(255) - np.asarray(mean, np.float32)
    values = values / np.asarray(std, np.float32)
    values = values.reshape(tiling.rows, patch_size, tiling.columns, patch_size, 3)
    values = values.transpose(0, 2, 1, 3, 4).reshape(tiling.tokens, patch_size * patch_size * 3)
    return Patches(pad_tokens(values) if padded else values, tiling)


def pad_tokens(
    array: Shaped[np.ndarray, "tokens *rest"],
) -> Shaped[np.ndarray, "padded_tokens *rest"]:
    """Zero rows behind the tokens, up to one of the few lengths that programs are compiled for."""
    missing = padded_tokens(array.shape[0]) - array.shape[0]
    return np.pad(array, ((0, missing), *((0, 0),) * (array.ndim - 1)))


def to_pixels(
    token_map: Shaped[Array | np.ndarray, "rows columns"],
    tiling: Tiling,
    size: tuple[int, int],
    *,
    fill: bool = False,
) -> Shaped[np.ndarray, "height width"]:
    """A map over tokens as pixels: each takes the token that its centre lies in.

    Args:
        token_map: one value per token.
        tiling: how the image was cut.
        size: height and width wanted, such as the image's before it was resized.
        fill: what `tiling` leaves out at the right and the bottom takes the nearest token's value,
            instead of 0.
    """
    (height, width), (cut_height, cut_width) = size, tiling.image_size
    # Centre of each pixel in the image that was cut.
    rows = (2 * np.arange(height) + 1) * cut_height // (2 * height) // tiling.patch_size
    columns = (2 * np.arange(width) + 1) * cut_width // (2 * width) // tiling.patch_size
    framed = np.pad(np.asarray(token_map), ((0, 1), (0, 1)), mode="edge" if fill else "constant")
    return framed[
        np.minimum(rows, tiling.rows)[:, None], np.minimum(columns, tiling.columns)[None, :]
    ]


def as_grid(
    flat: Shaped[Array | np.ndarray, "*batch tokens"], grid: tuple[int, int]
) -> Shaped[Array | np.ndarray, "*batch rows columns"]:
    """A flat array over tokens as a map of rows and columns, padding dropped; `grid` is static."""
    rows, columns = grid
    return flat[..., : rows * columns].reshape(*flat.shape[:-1], rows, columns)


def valid_tokens(tokens: int, grid: Grid) -> Bool[Array, "tokens"]:
    """True for the tokens of the grid, False for the padding behind them."""
    return jnp.arange(tokens) < grid[0] * grid[1]


def rows_and_columns(tokens: int, grid: Grid) -> tuple[Int[Array, "tokens"], Int[Array, "tokens"]]:
    """Row and column of each token of the flat layout (padding continues the count)."""
    index = jnp.arange(tokens)
    return index // grid[1], index % grid[1]


def neighbours(
    tokens: int, grid: Grid, steps: Sequence[tuple[int, int]]
) -> Int[Array, "steps tokens"]:
    """Index of the token some rows below and columns right of each token, clamped to the grid.

    Clamping replicates the border (scipy.ndimage's mode "nearest"). One row per step.
    """
    row, column = rows_and_columns(tokens, grid)
    down, right = jnp.asarray(steps, row.dtype).T
    row = jnp.clip(row[None, :] + down[:, None], 0, grid[0] - 1)
    column = jnp.clip(column[None, :] + right[:, None], 0, grid[1] - 1)
    return row * grid[1] + column
