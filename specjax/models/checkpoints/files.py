"""What lies in the files of a checkpoint: tensors, configs, colour statistics."""

import json
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import safetensors

from specjax.errors import SpecjaxError
from specjax.models.checkpoints.layouts import first_few, recognise
from specjax.models.checkpoints.torch_zip import Placeholder, StoredTensor, read_torch_zip
from specjax.tokens import IMAGENET_MEAN, IMAGENET_STD

# How weights files are named; what is in them decides how they are read.
SUFFIXES = (".safetensors", ".bin", ".pth", ".pt", ".ckpt", ".tar")

Colours = tuple[tuple[float, float, float], tuple[float, float, float]]
Tensors = dict[str, np.ndarray]

_LARGEST_FILE = 8 << 30
_LARGEST_JSON = 4 << 20
_MOST_TENSORS = 100_000
_DEEPEST = 6  # dictionaries within dictionaries of a training checkpoint
_FLOATS = ("F16", "BF16", "F32", "F64")  # safetensors' names


def read_backbone(paths: Sequence[pathlib.Path]) -> tuple[Tensors, list[str]]:
    """The tensors of the backbone in a file, or in the shards of one, and the keys of all others.

    Raises:
        SpecjaxError: as `read_tensors`, or there is no ViT.
    """
    if len(paths) == 1:
        return _read(paths[0], whole=False)
    tensors: Tensors = {}
    for path in paths:
        tensors.update(read_tensors(path))
    kept = _of_backbone(tensors)
    return {key: tensors[key] for key in kept}, sorted(set(tensors) - set(kept))


def read_tensors(path: pathlib.Path) -> Tensors:
    """The tensors of a safetensors or torch file, in their stored dtype.

    In a training checkpoint the keys of nested dictionaries are joined by dots.

    Raises:
        SpecjaxError: the file is damaged, too large, or of another kind.
    """
    return _read(path, whole=True)[0]


def _read(path: pathlib.Path, *, whole: bool) -> tuple[Tensors, list[str]]:
    size = path.stat().st_size
    if size > _LARGEST_FILE:
        raise SpecjaxError(f"{path} has {size} bytes, more than the {_LARGEST_FILE} that are read")
    with open(path, "rb") as file:
        start = file.read(9)
    others: list[str] = []

    def chosen(keys: Iterable[str]) -> list[str]:
        kept = list(keys) if whole else _of_backbone(keys)
        others.extend(sorted(set(keys) - set(kept)))
        return kept

    if start.startswith(b"PK\x03\x04"):

        def choose(saved: object) -> dict[str, StoredTensor]:
            tensors = _state_dict(saved)
            return {key: tensors[key] for key in chosen(tensors)}

        return read_torch_zip(path, choose), others
    if path.suffix != ".safetensors" and not start.endswith(b"{"):
        raise SpecjaxError(
            f"{path} is no checkpoint: neither a safetensors file nor one of torch.save; if it is"
            " of the format before torch 1.6, re-save it with torch.save(torch.load(FILE), NEW)"
        )
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            kinds = {name: file.get_slice(name).get_dtype() for name in chosen(file.keys())}
            other = [f"{name} ({kind})" for name, kind in kinds.items() if kind not in _FLOATS]
            if other:
                raise SpecjaxError(f"{path}: {other[0]} is none of {', '.join(_FLOATS)}")
            return {name: file.get_tensor(name) for name in kinds}, others
    except safetensors.SafetensorError as error:
        raise SpecjaxError(
            f"{path} is truncated, damaged or no safetensors file ({error}): fetch it again"
        ) from error
    except SpecjaxError as error:
        prefix = "" if str(error).startswith(str(path)) else f"{path}: "
        raise SpecjaxError(f"{prefix}{error}") from None


def _of_backbone(keys: Iterable[str]) -> list[str]:
    keys = list(keys)
    prefix = recognise(keys).prefix
    return [key for key in keys if key.startswith(prefix)]


def _state_dict(saved: object) -> dict[str, StoredTensor]:
    """Every tensor of a saved object, by its path through dictionaries."""
    if not isinstance(saved, dict) or not saved:
        raise SpecjaxError(
            f"it holds no state dict{_named(saved)}: save one with "
            "torch.save(model.state_dict(), FILE)"
        )
    tensors = {}
    for count, (key, tensor) in enumerate(_walk(saved, "", 0)):
        if count >= _MOST_TENSORS:
            raise SpecjaxError(f"it holds more than {_MOST_TENSORS} tensors; refused")
        tensors[key] = tensor
    if not tensors:
        keys = [str(key)[:80] for key in saved]
        raise SpecjaxError(
            f"there are no tensors in its dictionary ({first_few(keys)}): save some with "
            "torch.save(model.state_dict(), FILE)"
        )
    return tensors


def _walk(saved: Mapping, prefix: str, depth: int) -> Iterator[tuple[str, StoredTensor]]:
    if depth > _DEEPEST:
        raise SpecjaxError(f"it nests dictionaries more than {_DEEPEST} deep; refused")
    for key, value in saved.items():
        if isinstance(key, str) and isinstance(value, StoredTensor):
            yield prefix + key, value
        elif isinstance(key, str) and isinstance(value, dict):
            yield from _walk(value, f"{prefix}{key}.", depth + 1)


def _named(saved: object) -> str:
    if not isinstance(saved, Placeholder):
        return ""
    return f" ({saved.name[:80]!r}: nothing was executed)"


def shards_of(index: pathlib.Path) -> list[str]:
    """The names of the files that an index of a sharded model lists.

    Raises:
        SpecjaxError: it is no such index, or names files outside of its folder.
    """
    places = read_json(index).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise SpecjaxError(f"{index} has no weight_map: fetch it again")
    names = set(places.values())
    for name in names:
        plain = isinstance(name, str) and pathlib.PurePath(name).name == name
        if not plain or name in ("", ".", "..") or "\\" in name:
            raise SpecjaxError(f"{index} names {name!r:.80}, which is no file beside it")
    return sorted(names)


def read_colours(preprocessor: Mapping | None, fields: Mapping, source: str) -> Colours:
    """Mean and deviation of the colours: of the preprocessor, else of timm's config, else ImageNet.

    Raises:
        SpecjaxError: They are not three finite numbers each, the deviations positive.
    """
    if preprocessor is not None:
        if preprocessor.get("do_normalize") is False:
            return (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
        mean, std = preprocessor.get("image_mean"), preprocessor.get("image_std")
    else:
        timm = fields.get("pretrained_cfg")
        timm = timm if isinstance(timm, dict) else {}
        mean, std = timm.get("mean"), timm.get("std")
    mean, std = (IMAGENET_MEAN if mean is None else mean, IMAGENET_STD if std is None else std)
    for name, values in (("mean", mean), ("std", std)):
        if not (
            isinstance(values, list | tuple)
            and len(values) == 3
            and all(isinstance(x, int | float) and -1e6 < x < 1e6 for x in values)
            and (name == "mean" or min(values) > 0)
        ):
            raise SpecjaxError(
                f"{source}: the colour {name} is {values!r:.80}, not three usable numbers"
            )
    red, green, blue = zip(map(float, mean), map(float, std), strict=True)
    return (red[0], green[0], blue[0]), (red[1], green[1], blue[1])


def read_json(path: pathlib.Path) -> dict:
    """The object a small JSON file holds.

    Raises:
        SpecjaxError: It holds none.
    """
    try:
        with open(path, "rb") as file:
            text = file.read(_LARGEST_JSON + 1)
        fields = json.loads(text) if len(text) <= _LARGEST_JSON else None
    except (ValueError, RecursionError) as error:
        raise SpecjaxError(f"{path} is not valid JSON ({error}): fetch it again") from error
    if not isinstance(fields, dict):
        raise SpecjaxError(f"{path} is not a config: it must be one JSON object")
    return fields
