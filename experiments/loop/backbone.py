"""Where features come from: a vision transformer, or files that somebody made with another one."""

import dataclasses
import functools
import io
import pathlib
import sys
import zipfile
from collections.abc import Sequence
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from experiments.datasets.records import Dataset
from experiments.loop.batches import Batch
from experiments.loop.flags import Options
from specjax import images
from specjax._batching import replicated
from specjax._folder import write_atomically
from specjax._sizes import padded_tokens
from specjax.errors import SpecjaxError
from specjax.models.checkpoints.loading import (
    BUILT_IN,
    Checkpoint,
    load_checkpoint,
    random_checkpoint,
)
from specjax.models.vit import VIT_S16
from specjax.pipeline import extract_features

_RANDOM_SEED = 0
# It was trained on scenes like the samples, and on nothing else: not a default for photographs.
_OF_SAMPLES = "specjax-mini"
# The graph of so many tokens takes 1.6 GB, and solving it several times that.
MAX_TOKENS = 20_000
# Magnitudes between which squares, and their sums, stay inside the range of float32.
_SMALLEST, _LARGEST = 1e-15, 1e15
# A features file may not claim more than this many bytes.
_MAX_FEATURE_BYTES = 2**31


@dataclasses.dataclass(frozen=True)
class Features:
    """Features of one image, or the patches that they will be made of.

    Attributes:
        source: float32 [tokens, C], padded with zero rows behind the grid; or a batch of such.
        grid: rows and columns.
        patch_size: side of a token in pixels of the image that the backbone saw.
        image_size: height and width of that image, before it was cropped to whole patches.
        row: the image's in a batch; None where `source` is of one image.
    """

    source: jax.Array | np.ndarray
    grid: tuple[int, int]
    patch_size: int
    image_size: tuple[int, int]
    row: int | None = None

    @property
    def array(self) -> jax.Array | np.ndarray:
        """[tokens, C] of this image alone."""
        if self.row is None:
            return self.source
        # Of the device that holds it: the whole array's rows would take all devices to get one.
        for shard in self.source.addressable_shards:
            first = shard.index[0].start or 0
            if first <= self.row < first + shard.data.shape[0]:
                return shard.data[self.row - first]
        raise IndexError(f"no row {self.row} on this process's devices")

    @property
    def tokens(self) -> int:
        """Length of the padded array."""
        return self.source.shape[0 if self.row is None else 1]


class Backbone(Protocol):
    """What the loop asks of a source of features.

    Attributes:
        kind: "checkpoint", "random", "features", or the name of a built-in backbone.
        identity: what tells this source from another, for the identity of a run.
        channels: C.
    """

    kind: str
    identity: dict[str, Any]
    channels: int

    def prepare(self, image_id: str, image: np.ndarray) -> Features:
        """What `extract` needs of an image, uint8 [H, W, 3]; SpecjaxError where there is nothing.

        Called ahead of time in other threads.
        """

    def extract(self, batch: Batch, prepared: Sequence[Features]) -> tuple[jax.Array, list[bool]]:
        """Features of a batch of what was prepared, and whether each image's are finite."""


def open_backbone(options: Options, dataset: Dataset) -> Backbone:
    """The source of features that the flags ask for; `auto` is resolved here."""
    if options.features_dir is not None:
        if options.checkpoint != "auto":
            raise SpecjaxError("--features_dir and --checkpoint exclude each other; give one of them")
        return StoredFeatures(options.features_dir, dataset)
    source = options.checkpoint
    if source == "auto":
        source = _OF_SAMPLES if dataset.name == "samples" else "facebook/dino-vits16"
    if source == "random":
        print(
            "note: this backbone is a ViT-S/16 with fixed random weights; scores say nothing about"
            " the method. Give --checkpoint for real ones.",
            file=sys.stderr,
        )
        return Transformer(
            random_checkpoint(VIT_S16, seed=_RANDOM_SEED),
            "random",
            options.pos_interpolation,
            options.dtype,
        )
    kind = source if source in BUILT_IN else "checkpoint"
    return Transformer(load_checkpoint(source), kind, options.pos_interpolation, options.dtype)


class Transformer:
    """Keys of the last block of a vision transformer."""

    def __init__(
        self, checkpoint: Checkpoint, kind: str, interpolation: str, dtype: str = "float32"
    ):
        self.kind = kind
        colours = [list(checkpoint.mean), list(checkpoint.std)]
        self.identity = {"checkpoint": checkpoint.digest, "colours": colours, "dtype": dtype}
        self.channels = checkpoint.config.hidden_size
        self._checkpoint = checkpoint
        self._options = {"interpolation": interpolation, "dtype": dtype}
        self._model_on_mesh = functools.cache(functools.partial(replicated, checkpoint.model))

    def prepare(self, image_id: str, image: np.ndarray) -> Features:
        """The patches of the image, cropped to whole ones."""
        patch_size = self._checkpoint.config.patch_size
        cropped = images.crop_to_patches(image, patch_size, name=image_id)
        grid = (cropped.shape[0] // patch_size, cropped.shape[1] // patch_size)
        check_tokens(grid, patch_size, image_id)
        normal = images.normalize(cropped, self._checkpoint.mean, self._checkpoint.std)
        patches = pad_tokens(images.patchify(normal, patch_size))
        return Features(patches, grid, patch_size, image.shape[:2])

    def extract(self, batch: Batch, prepared: Sequence[Features]) -> tuple[jax.Array, list[bool]]:
        """Keys of the batch's images."""
        features, finite = batch.run(
            _finite_features,
            batch.stack([one.source for one in prepared]),
            batch.stack([np.asarray(one.grid, np.int32) for one in prepared]),
            shared=(self._model_on_mesh(batch.mesh),),
            **self._options,
        )
        return features, [bool(flag) for flag in batch.fetch(finite)]


def _finite_features(model, patches, grid, **options):
    features = extract_features(model, patches, grid, **options)
    return features, jnp.all(jnp.isfinite(features))


class StoredFeatures:
    """Features read from `<folder>/<id>.npz`."""

    kind = "features"

    def __init__(self, folder: pathlib.Path, dataset: Dataset):
        self._folder = folder
        self.identity = {"features_dir": str(folder.resolve())}
        self.channels = self._first_channels(dataset)

    def _first_channels(self, dataset: Dataset) -> int:
        """C of the first readable file; all others must have the same."""
        problem = None
        for record in dataset.records():
            try:
                return self._load(record.id)[0].shape[1]
            except SpecjaxError as error:
                problem = problem or error
        raise problem or SpecjaxError(f"dataset {dataset.name} has no images")

    def prepare(self, image_id: str, image: np.ndarray) -> Features:
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
        check_tokens(grid, patch_size, image_id)
        return Features(pad_tokens(array), grid, patch_size, size)

    def extract(self, batch: Batch, prepared: Sequence[Features]) -> tuple[jax.Array, list[bool]]:
        """The batch as it is: values were checked when they were read."""
        return batch.stack([one.source for one in prepared]), [True] * len(prepared)

    def _path(self, image_id: str) -> pathlib.Path:
        return self._folder / f"{image_id}.npz"

    def _load(self, image_id: str) -> tuple[np.ndarray, tuple[int, int], int | None]:
        path = self._path(image_id)
        try:
            with zipfile.ZipFile(path) as archive:
                if sum(entry.file_size for entry in archive.infolist()) > _MAX_FEATURE_BYTES:
                    raise SpecjaxError(f"{path}: claims more than {_MAX_FEATURE_BYTES} bytes")
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
            raise SpecjaxError(f"{path}: {error.args[0]}; needed are 'features' and 'grid'") from None
        # Damaged archives and headers raise errors of many kinds, of zlib and struct among them.
        except Exception as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise SpecjaxError(f"{path}: not a readable .npz file ({reason})") from None
        return _checked(path, features, grid, patch_size)


def save_features(path: pathlib.Path, features: Features) -> None:
    """Write a file that `StoredFeatures` reads."""
    count = features.grid[0] * features.grid[1]
    content = io.BytesIO()
    np.savez(
        content,
        features=np.asarray(features.array[:count]),
        grid=np.asarray(features.grid, np.int32),
        patch_size=np.int32(features.patch_size),
    )
    write_atomically(path, lambda stream: stream.write(content.getbuffer()))


def pad_tokens(array: np.ndarray) -> np.ndarray:
    """Zero rows behind the tokens, up to one of the few lengths that get compiled."""
    missing = padded_tokens(array.shape[0]) - array.shape[0]
    return np.pad(array, ((0, missing), (0, 0)))


def check_tokens(grid: tuple[int, int], patch_size: int, name: str) -> None:
    """Raises SpecjaxError where the graph of the image would not fit in memory."""
    if grid[0] * grid[1] > MAX_TOKENS:
        # Half of what would fit: the user did not ask for the largest graph there is.
        side = min(grid) * patch_size * (MAX_TOKENS / 2 / (grid[0] * grid[1])) ** 0.5
        raise SpecjaxError(
            f"{name}: {grid[0] * grid[1]} tokens are more than {MAX_TOKENS}; resize with, for"
            f" example, --image_size={max(int(side) // 10 * 10, 10)}"
        )


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
