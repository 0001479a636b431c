"""Where the files of a checkpoint are: a folder, a single file, a cache of the hub, or the hub."""

import os
import pathlib
from collections.abc import Callable
from typing import NamedTuple

from specjax.errors import SpecjaxError
from specjax.models.checkpoints import hub
from specjax.models.checkpoints.files import shards_of

# In the order they are tried; of an index, the files that it lists are read.
_WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
_CONFIG, _PREPROCESSOR = "config.json", "preprocessor_config.json"
_INDEX = ".index.json"

# Backbones that come with the package, by the names that `load_checkpoint` takes.
BUILT_IN = {
    "specjax-mini": pathlib.Path(__file__).resolve().parents[2] / "assets" / "specjax-mini",
}


class Place(NamedTuple):
    """The files of a checkpoint, all of them on this machine.

    Attributes:
        weights: one file, or the shards of one model.
        config: its `config.json`, where there is one.
        preprocessor: its `preprocessor_config.json`, where there is one.
        is_file: whether a single file was asked for, whose neighbours may belong to another model.
    """

    weights: tuple[pathlib.Path, ...]
    config: pathlib.Path | None
    preprocessor: pathlib.Path | None
    is_file: bool = False


def find(source: str | os.PathLike, revision: str | None) -> Place:
    """The files of a source; what exists locally wins, then the package, then the hub.

    Raises:
        SpecjaxError: nothing is there.
    """
    path = pathlib.Path(os.path.expanduser(source))
    if path.is_dir():
        return _in_folder(_snapshot(path, revision))
    if path.exists():
        if path.name.endswith(_INDEX):
            return _in_folder(path.parent, weights=path.name)
        return Place((path,), *_beside(path.parent), is_file=True)
    if source in BUILT_IN:
        return _in_folder(BUILT_IN[str(source)])
    if not hub.is_hub_id(source):
        raise SpecjaxError(
            f"{source}: no such file or folder; a model on the Hugging Face hub is named"
            f" owner/name, the built-in one {', '.join(BUILT_IN)}"
        )
    name = str(source)
    config, preprocessor = (hub.fetch(name, file, revision) for file in (_CONFIG, _PREPROCESSOR))
    first = hub.fetch_first(name, _WEIGHTS, revision)

    def shard(file: str) -> pathlib.Path:
        path = hub.fetch(name, file, revision)
        if path is None:
            raise SpecjaxError(
                f"{name} on the Hugging Face hub lacks {file}, which its index lists"
            )
        return path

    return Place(_shards(first, shard), config, preprocessor)


def _in_folder(folder: pathlib.Path, weights: str | None = None) -> Place:
    names = _WEIGHTS if weights is None else (weights,)
    first = next((folder / name for name in names if (folder / name).is_file()), None)
    if first is None:
        raise SpecjaxError(
            f"{folder} holds neither {' nor '.join(_WEIGHTS)}: pass the weights file itself, "
            f"or fetch a model with `hf download facebook/dinov2-small --local-dir {folder}`"
        )
    return Place(_shards(first, lambda name: first.parent / name), *_beside(folder))


def _shards(first: pathlib.Path, place_of: Callable[[str], pathlib.Path]) -> tuple:
    """The file itself, or the files that it lists."""
    if not first.name.endswith(_INDEX):
        return (first,)
    paths = tuple(place_of(name) for name in shards_of(first))
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        raise SpecjaxError(f"{first} lists {missing[0]}, which is not there: fetch it again")
    return paths


def _beside(folder: pathlib.Path) -> tuple[pathlib.Path | None, pathlib.Path | None]:
    config, preprocessor = folder / _CONFIG, folder / _PREPROCESSOR
    return (
        config if config.is_file() else None,
        preprocessor if preprocessor.is_file() else None,
    )


def _snapshot(folder: pathlib.Path, revision: str | None) -> pathlib.Path:
    """The folder of files where this is the hub's cache of a repository; else the folder itself."""
    snapshots = folder / "snapshots"
    if not (folder.name.startswith("models--") and snapshots.is_dir()):
        return folder
    reference = folder / "refs" / (revision or "main")
    commit = reference.read_text().strip() if reference.is_file() else revision or ""
    held = sorted(path.name for path in snapshots.iterdir())
    if commit in held:
        return snapshots / commit
    if revision is None and len(held) == 1:
        return snapshots / held[0]
    raise SpecjaxError(
        f"{folder} holds the snapshots {', '.join(held) or 'of no revision'}: name one of its"
        " folders under snapshots/"
    )
