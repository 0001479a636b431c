"""What lies in the files of a checkpoint: tensors, configs, colour statistics."""

import json
import pathlib
from collections.abc import Mapping

import numpy as np
import safetensors

from specjax.errors import SpecjaxError
from specjax.models.checkpoints.torch_zip import Placeholder, StoredTensor, read_torch_zip
from specjax.tokens import IMAGENET_MEAN, IMAGENET_STD

TORCH_SUFFIXES = (".bin", ".pth", ".pt")
SUFFIXES = (".safetensors", *TORCH_SUFFIXES)

Colours = tuple[tuple[float, float, float], tuple[float, float, float]]

_LARGEST_FILE = 8 << 30
_LARGEST_JSON = 4 << 20
_FLOATS = ("F16", "BF16", "F32", "F64")  # safetensors' names


def read_tensors(path: pathlib.Path) -> dict[str, np.ndarray]:
    """The tensors of a safetensors or torch file, in their stored dtype.

    Raises:
        SpecjaxError: The file is damaged, too large, holds anything but tensors, or is refused.
    """
    size = path.stat().st_size
    if size > _LARGEST_FILE:
        raise SpecjaxError(f"{path} has {size} bytes, more than the {_LARGEST_FILE} that are read")
    if path.suffix in TORCH_SUFFIXES:
        return read_torch_zip(path, _state_dict)
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            kinds = {name: file.get_slice(name).get_dtype() for name in file.keys()}
            other = [f"{name} ({kind})" for name, kind in kinds.items() if kind not in _FLOATS]
            if other:
                raise SpecjaxError(f"{path}: {other[0]} is none of {', '.join(_FLOATS)}")
            return {name: file.get_tensor(name) for name in kinds}
    except safetensors.SafetensorError as error:
        raise SpecjaxError(
            f"{path} is truncated, damaged or no safetensors file ({error}): fetch it again"
        ) from error


def _state_dict(saved: object) -> dict[str, StoredTensor]:
    """The tensors of a saved object: a state dict, or a training checkpoint that holds one."""
    for wrapper in ("teacher", "state_dict", "model"):
        if isinstance(saved, dict) and isinstance(saved.get(wrapper), dict):
            saved = saved[wrapper]
    if not isinstance(saved, dict) or not saved:
        raise SpecjaxError(
            f"it holds no state dict{_named(saved)}: save one with "
            "torch.save(model.state_dict(), FILE)"
        )
    strangers = {
        key: value
        for key, value in saved.items()
        if not (isinstance(key, str) and isinstance(value, StoredTensor))
    }
    if strangers:
        key, value = next(iter(strangers.items()))
        raise SpecjaxError(
            f"{len(strangers)} entries of its state dict are no tensors, such as "
            f"{str(key)[:80]!r}{_named(value)}: save one with torch.save(model.state_dict(), FILE)"
        )
    return dict(saved)


def _named(saved: object) -> str:
    if not isinstance(saved, Placeholder):
        return ""
    return f" ({saved.name[:80]!r}: nothing was executed)"


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
    return tuple(map(float, mean)), tuple(map(float, std))


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
