"""Features in `.npz` files, one for each image: read, checked, written.

A file holds `features`, floating point [n, C] in row-major order without a class token, `grid`
[2], rows and columns, and optionally `patch_size`, the side of a patch in pixels.
"""

import dataclasses
import io
import pathlib
import threading
import zipfile
from collections.abc import Iterable

import jax
import numpy as np

from specjax import SpecjaxError, Tiling, pad_tokens
from specjax._batching import Batch
from specjax._folder import write_bytes

# Between these magnitudes squares and their sums stay within the range of float32.
_SMALLEST, _LARGEST = 1e-15, 1e15
# Limit on the unpacked size of a file, in bytes.
_MAX_BYTES = 2**31
# Headers of arrays are parsed as Python, which fails now and then in two threads at once (Python
# 3.11, "AST constructor recursion depth mismatch").
_ONE_AT_A_TIME = threading.Lock()


@dataclasses.dataclass(frozen=True, eq=False)
class TokenFeatures:
    """Features of one image from a file, float32 [padded tokens, C]."""

    values: np.ndarray
    tiling: Tiling


class StoredFeatures:
    """Features read from `<folder>/<id>.npz`."""

    kind = "features"
    family = ""

    def __init__(self, folder: pathlib.Path, ids: Iterable[str]):
        self._folder = folder
        self.identity = {"features_dir": str(folder.resolve())}
        self.channels = self._first_channels(ids)

    def _first_channels(self, ids: Iterable[str]) -> int:
        """C of the first readable file; all other files must have the same."""
        problem = None
        for image_id in ids:
            try:
                return self._load(image_id)[0].shape[1]
            except SpecjaxError as error:
                problem = problem or error
        raise problem or SpecjaxError(f"{self._folder}: the dataset has no images")

    def files(self, image_id: str) -> list[pathlib.Path]:
        """The file with the features of an image."""
        return [self._path(image_id)]

    def prepare(self, image_id: str, image: np.ndarray) -> TokenFeatures:
        """The stored features, after a check that their grid fits the image."""
        features, grid, patch_size = self._load(image_id)
        path, (height, width) = self._path(image_id), image.shape[:2]
        if features.shape[1] != self.channels:
            raise SpecjaxError(
                f"{path}: features have {features.shape[1]} channels, but those of the first image"
                f" have {self.channels}; use one backbone per run"
            )
        # If the file has no patch size: the largest that fits.
        largest = min(height // grid[0], width // grid[1])
        for size in range(largest, 0, -1) if patch_size is None else [patch_size]:
            if (height // size, width // size) == grid:
                tiling = Tiling.of_image((height, width), size, name=image_id)
                return TokenFeatures(pad_tokens(features), tiling)
        raise SpecjaxError(
            f"{path}: a grid of {grid[0]}x{grid[1]} does not fit the {width}x{height} image at any"
            " patch size; make features of the same image, or give the --image_size they were made"
            " with"
        )

    def extract(self, batch: Batch, inputs: jax.Array, grids: jax.Array) -> jax.Array:
        """The stored features, unchanged."""
        return inputs

    def _path(self, image_id: str) -> pathlib.Path:
        return self._folder / f"{image_id}.npz"

    def _load(self, image_id: str) -> tuple[np.ndarray, tuple[int, int], int | None]:
        """Features, grid and patch size of a file, checked."""
        path = self._path(image_id)
        try:
            with zipfile.ZipFile(path) as archive:
                if sum(entry.file_size for entry in archive.infolist()) > _MAX_BYTES:
                    raise SpecjaxError(f"unpacks to more than {_MAX_BYTES} bytes")
            with _ONE_AT_A_TIME, np.load(path, allow_pickle=False) as content:
                # A member that is not an array comes as bytes.
                features, grid = (np.asarray(content[name]) for name in ("features", "grid"))
                patch_size = int(content["patch_size"]) if "patch_size" in content else None
            return _checked(features, grid, patch_size)
        except SpecjaxError as error:
            raise SpecjaxError(f"{path}: {error}") from None
        except FileNotFoundError:
            raise SpecjaxError(f"{path}: no such file; --save=features writes them") from None
        except KeyError as error:
            needed = "'features' and 'grid' are needed"
            raise SpecjaxError(f"{path}: {error.args[0]}; {needed}") from None
        # Damaged archives and headers raise errors of many kinds, also from zlib and struct.
        except Exception as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise SpecjaxError(f"{path}: not a readable .npz file ({reason})") from None


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


def _checked(features: np.ndarray, grid: np.ndarray, patch_size: int | None):
    """The content of a file as float32 and integers; raises SpecjaxError if it is not valid."""
    if features.ndim != 2 or features.dtype.kind != "f" or min(features.shape) < 1:
        found = f"{features.dtype} {list(features.shape)}"
        raise SpecjaxError(f"'features' must be a floating point [n, C] array, not {found}")
    if grid.shape != (2,) or grid.dtype.kind not in "iu" or min(grid.tolist()) < 1:
        raise SpecjaxError("'grid' must be two positive integers")
    rows, columns = grid.tolist()
    if rows * columns != features.shape[0]:
        raise SpecjaxError(
            f"{features.shape[0]} tokens do not fill the grid of {rows}x{columns}; leave out the"
            " CLS token"
        )
    if patch_size is not None and patch_size < 1:
        raise SpecjaxError(f"patch_size {patch_size} must be positive")
    with np.errstate(over="ignore"):  # infinite values are refused below
        features = features.astype(np.float32)
    if not np.isfinite(features).all():
        raise SpecjaxError("features hold NaN or infinite values")
    largest = np.abs(features).max()
    if largest > 0 and not _SMALLEST < largest < _LARGEST:
        raise SpecjaxError(
            f"the largest feature is {largest:g}, and its square is outside the range of float32;"
            " scale the features"
        )
    return features, (rows, columns), patch_size
