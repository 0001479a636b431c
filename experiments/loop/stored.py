"""Features in `.npz` files, one for each image: read, checked, written.

A file holds `features`, floating point [n, C] in row-major order without a class token, `grid`
[2], rows and columns, and perhaps `patch_size`, the side of a token in pixels.
"""

import dataclasses
import io
import pathlib
import zipfile
from collections.abc import Iterable

import jax
import numpy as np

from specjax import SpecjaxError, Tiling, pad_tokens
from specjax._batching import Batch
from specjax._folder import write_bytes

# Magnitudes between which squares, and their sums, stay inside the range of float32.
_SMALLEST, _LARGEST = 1e-15, 1e15
# A file may not claim more than this many bytes.
_MAX_BYTES = 2**31


@dataclasses.dataclass(frozen=True, eq=False)
class TokenFeatures:
    """Features of one image that were made elsewhere, float32 [padded tokens, C]."""

    values: np.ndarray
    tiling: Tiling


class StoredFeatures:
    """Features read from `<folder>/<id>.npz`."""

    kind = "features"

    def __init__(self, folder: pathlib.Path, ids: Iterable[str]):
        self._folder = folder
        self.identity = {"features_dir": str(folder.resolve())}
        self.channels = self._first_channels(ids)

    def _first_channels(self, ids: Iterable[str]) -> int:
        """C of the first readable file; all others must have the same."""
        problem = None
        for image_id in ids:
            try:
                return self._load(image_id)[0].shape[1]
            except SpecjaxError as error:
                problem = problem or error
        raise problem or SpecjaxError(f"{self._folder}: the dataset has no images")

    def prepare(self, image_id: str, image: np.ndarray) -> TokenFeatures:
        """The stored features, their grid checked against the image."""
        array, grid, patch_size = self._load(image_id)
        path = self._path(image_id)
        if array.shape[1] != self.channels:
            raise SpecjaxError(
                f"{path}: features have {array.shape[1]} channels, those of the first image"
                f" {self.channels}; use one backbone per run"
            )
        size = image.shape[:2]
        if patch_size is None:
            patch_size = _fitting_patch(grid, size)
        elif (size[0] // patch_size, size[1] // patch_size) != grid:
            patch_size = None
        if patch_size is None:
            raise SpecjaxError(
                f"{path}: a grid of {grid[0]}x{grid[1]} does not fit the {size[1]}x{size[0]} image"
                " at any patch size; make features of the same image, or give the --image_size"
                " they were made with"
            )
        return TokenFeatures(pad_tokens(array), Tiling.of_image(size, patch_size, name=image_id))

    def extract(self, batch: Batch, inputs: jax.Array, grids: jax.Array) -> jax.Array:
        """The batch as it is."""
        return inputs

    def _path(self, image_id: str) -> pathlib.Path:
        return self._folder / f"{image_id}.npz"

    def _load(self, image_id: str) -> tuple[np.ndarray, tuple[int, int], int | None]:
        path = self._path(image_id)
        try:
            with zipfile.ZipFile(path) as archive:
                if sum(entry.file_size for entry in archive.infolist()) > _MAX_BYTES:
                    raise SpecjaxError(f"{path}: claims more than {_MAX_BYTES} bytes")
            with np.load(path, allow_pickle=False) as content:
                features, grid = content["features"], content["grid"]
                # numpy gives the bytes of a member that is no array.
                if not (isinstance(features, np.ndarray) and isinstance(grid, np.ndarray)):
                    raise ValueError("'features' and 'grid' must be arrays")
                patch_size = int(content["patch_size"]) if "patch_size" in content else None
        except SpecjaxError:
            raise
        except FileNotFoundError:
            raise SpecjaxError(f"{path}: no such file; --save=features writes them") from None
        except KeyError as error:
            raise SpecjaxError(
                f"{path}: {error.args[0]}; needed are 'features' and 'grid'"
            ) from None
        # Damaged archives and headers raise errors of many kinds, of zlib and struct among them.
        except Exception as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise SpecjaxError(f"{path}: not a readable .npz file ({reason})") from None
        return _checked(path, features, grid, patch_size)


def save_features(path: pathlib.Path, features: np.ndarray, tiling: Tiling) -> None:
    """Write [tokens, C], padded or not, as a file that `StoredFeatures` reads."""
    content = io.BytesIO()
    np.savez(
        content,
        features=np.asarray(features[: tiling.tokens]),
        grid=np.asarray(tiling.grid, np.int32),
        patch_size=np.int32(tiling.patch_size),
    )
    write_bytes(path, content.getvalue())


def _fitting_patch(grid: tuple[int, int], size: tuple[int, int]) -> int | None:
    """The largest patch size at which an image of this size has this grid."""
    for patch_size in range(min(size[0] // grid[0], size[1] // grid[1]), 0, -1):
        if (size[0] // patch_size, size[1] // patch_size) == grid:
            return patch_size
    return None


def _checked(path, features, grid, patch_size):
    if features.ndim != 2 or features.dtype.kind != "f" or min(features.shape) < 1:
        raise SpecjaxError(
            f"{path}: 'features' must be a floating point [n, C] array, not"
            f" {features.dtype} {list(features.shape)}"
        )
    if grid.shape != (2,) or grid.dtype.kind not in "iu" or min(grid.tolist()) < 1:
        raise SpecjaxError(f"{path}: 'grid' must be two positive integers")
    rows, columns = grid.tolist()
    if rows * columns != features.shape[0]:
        raise SpecjaxError(
            f"{path}: {features.shape[0]} tokens do not fill the grid of {rows}x{columns}; leave"
            " out the CLS token"
        )
    if patch_size is not None and patch_size < 1:
        raise SpecjaxError(f"{path}: patch_size {patch_size} must be positive")
    with np.errstate(over="ignore"):  # it is refused below
        features = features.astype(np.float32)
    if not np.isfinite(features).all():
        raise SpecjaxError(f"{path}: features hold NaN or infinite values")
    largest = np.abs(features).max()
    if largest > 0 and not _SMALLEST < largest < _LARGEST:
        raise SpecjaxError(
            f"{path}: the largest feature is {largest:g}, and its square would leave the range of"
            " float32; scale the features"
        )
    return features, (rows, columns), patch_size
