"""Checkpoints: files and the Hugging Face hub to a filled `ViT`.

safetensors and torch's zip files are both read without torch; see
`specjax.models.checkpoints.layouts` for the names that are understood.
"""

import dataclasses
import hashlib
import json
import math
import os
import pathlib
from collections.abc import Mapping

import numpy as np

from specjax.errors import SpecjaxError
from specjax.models.checkpoints import hub
from specjax.models.checkpoints.files import (
    SUFFIXES,
    Colours,
    read_colours,
    read_json,
    read_tensors,
)
from specjax.models.checkpoints.layouts import infer_config
from specjax.models.checkpoints.parameters import read_parameters
from specjax.models.checkpoints.skeleton import fill, leaf_shapes
from specjax.models.vit import ViT, ViTConfig
from specjax.tokens import IMAGENET_MEAN, IMAGENET_STD

_WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # in the order they are tried

# Backbones that come with the package, by the names that `load_checkpoint` takes.
BUILT_IN = {
    "specjax-mini": pathlib.Path(__file__).resolve().parents[2] / "assets" / "specjax-mini",
}


@dataclasses.dataclass(frozen=True, eq=False)
class Checkpoint:
    """A filled model and what identifies it.

    Attributes:
        config: Shape of the model.
        model: The model.
        digest: sha256 (hex) of the config and every parameter: equal for the same weights, in
            whichever file format and under whichever names they were stored.
        source: What was loaded, as it was given; "random" for random weights.
        mean: Per colour, subtracted from pixels in [0, 1].
        std: Per colour, what the difference is divided by.
        ignored: Keys of the file that the model has no use for (heads).
    """

    config: ViTConfig
    model: ViT
    digest: str
    source: str
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    ignored: tuple[str, ...] = ()


def load_checkpoint(source: str | os.PathLike, *, revision: str | None = None) -> Checkpoint:
    """Loads a ViT from a local folder, a single file, the package, or the Hugging Face hub.

    Args:
        source: A folder with `model.safetensors` or `pytorch_model.bin` (tried in that order) and
            `config.json`; a single `.safetensors`, `.bin`, `.pth` or `.pt` file; or a hub id
            `owner/name`; or a name of `BUILT_IN` ("specjax-mini", trained on drawn scenes alone:
            see its `README.md`). What exists locally wins. For a single file, a `config.json`
            beside it is used when it describes a ViT. Without one the config is inferred from the
            shapes of the tensors, assuming heads of 64 channels. Mean and deviation of the colours
            come from `preprocessor_config.json` where there is one, else from ImageNet.
        revision: Branch, tag or commit on the hub; meaningless for local files.

    Raises:
        SpecjaxError: Nothing is there, it is damaged, it is no ViT that the model computes exactly,
            or its tensors do not account for every parameter and every key.
    """
    path = pathlib.Path(os.path.expanduser(source))
    try:
        if path.is_dir():
            return _load_folder(path, str(source))
        if path.exists():
            return _load_file(path, str(source))
    except OSError as error:
        raise SpecjaxError(f"cannot read {source}: {error.strerror or error}") from error
    if source in BUILT_IN:
        return _load_folder(BUILT_IN[source], source)
    if not hub.is_hub_id(source):
        raise SpecjaxError(
            f"{source}: no such file or folder; a model on the Hugging Face hub is named"
            f" owner/name, the built-in one {', '.join(BUILT_IN)}"
        )
    config = hub.fetch(str(source), "config.json", revision)
    preprocessor = hub.fetch(str(source), "preprocessor_config.json", revision)
    weights = hub.fetch_first(str(source), _WEIGHTS, revision)
    fields = read_json(config) if config else {}
    return _load(
        weights,
        str(source),
        _huggingface_config(fields, f"{source}: config.json"),
        read_colours(read_json(preprocessor) if preprocessor else None, fields, str(source)),
    )


def random_checkpoint(config: ViTConfig, *, seed: int) -> Checkpoint:
    """A ViT with random weights, the same for the same seed on every machine.

    The scales are such that features differ from token to token; they mean nothing.
    """
    # numpy's generator, since jax's initialisers have changed between versions.
    generator = np.random.default_rng(seed)
    parameters = {}
    for name, shape in sorted(leaf_shapes(config).items()):
        values = generator.standard_normal(shape).astype(np.float32)
        if name.endswith(".kernel"):
            parameters[name] = values * np.float32(1 / math.sqrt(shape[0]))
        elif name.endswith(".scale"):
            parameters[name] = 1 + np.float32(0.1) * values
        else:
            parameters[name] = np.float32(0.1) * values
    return Checkpoint(config, fill(config, parameters), _digest(config, parameters), "random")


def _load_folder(folder: pathlib.Path, source: str) -> Checkpoint:
    weights = next((folder / name for name in _WEIGHTS if (folder / name).is_file()), None)
    if weights is None:
        raise SpecjaxError(
            f"{folder} holds neither {' nor '.join(_WEIGHTS)}: pass the weights file itself, "
            f"or fetch a model with `hf download facebook/dino-vits16 --local-dir {folder}`"
        )
    config_path = folder / "config.json"
    fields = read_json(config_path) if config_path.is_file() else {}
    config = _huggingface_config(fields, str(config_path))
    return _load(weights, source, config, _colours_beside(weights, fields))


def _load_file(path: pathlib.Path, source: str) -> Checkpoint:
    if path.suffix not in SUFFIXES or not path.is_file():
        raise SpecjaxError(
            f"{path} is no checkpoint: it must be a file ending in {', '.join(SUFFIXES)}"
        )
    config_path = path.parent / "config.json"
    fields = read_json(config_path) if config_path.is_file() else {}
    if fields.get("model_type") != "vit":  # it belongs to something else
        return _load(path, source, None, (IMAGENET_MEAN, IMAGENET_STD))
    config = _huggingface_config(fields, str(config_path))
    return _load(path, source, config, _colours_beside(path, fields))


def _load(
    path: pathlib.Path,
    source: str,
    config: ViTConfig | None,
    colours: Colours,
) -> Checkpoint:
    tensors = read_tensors(path)
    try:
        if config is None:
            config = infer_config({name: tensor.shape for name, tensor in tensors.items()})
        parameters, ignored = read_parameters(tensors, config)
    except SpecjaxError as error:
        raise SpecjaxError(f"{path}: {error}") from None
    del tensors
    digest = _digest(config, parameters)
    return Checkpoint(config, fill(config, parameters), digest, source, *colours, ignored)


def _digest(config: ViTConfig, parameters: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256(json.dumps(dataclasses.asdict(config), sort_keys=True).encode())
    for name, values in sorted(parameters.items()):
        digest.update(f"\n{name} {values.shape}\n".encode())
        digest.update(np.ascontiguousarray(values, "<f4").data)
    return digest.hexdigest()


def _huggingface_config(fields: Mapping, source: str) -> ViTConfig | None:
    """The config a `config.json` gives; None where it says nothing of the model (timm's)."""
    if "model_type" not in fields:
        return None
    return ViTConfig.from_huggingface(fields, source=source)


def _colours_beside(weights: pathlib.Path, fields: Mapping) -> Colours:
    path = weights.parent / "preprocessor_config.json"
    return read_colours(read_json(path) if path.is_file() else None, fields, str(path))
