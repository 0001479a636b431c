"""Checkpoints: files and the Hugging Face hub to a filled `ViT`.

safetensors and torch's zip files are both read without torch; see
`specjax.models.checkpoints.layouts` for the names that are understood.
"""

import dataclasses
import hashlib
import json
import math
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from specjax.errors import SpecjaxError
from specjax.models.checkpoints.files import read_backbone, read_colours, read_json
from specjax.models.checkpoints.huggingface import MODEL_TYPES, config_of, heads_of
from specjax.models.checkpoints.inference import infer_config
from specjax.models.checkpoints.parameters import read_parameters
from specjax.models.checkpoints.places import Place, find
from specjax.models.checkpoints.skeleton import fill, leaf_shapes
from specjax.models.config import ViTConfig
from specjax.models.vit import ViT
from specjax.tokens import IMAGENET_MEAN, IMAGENET_STD

# Fields of a config that were there from the first; of the others, defaults leave the digest alone.
_DIGESTED = (
    *("hidden_size", "num_layers", "num_heads", "mlp_size", "patch_size", "image_size"),
    *("layer_norm_eps", "qkv_bias"),
)


@dataclasses.dataclass(frozen=True, eq=False)
class Checkpoint:
    """A filled model and what identifies it.

    Attributes:
        config: shape of the model.
        model: the model.
        digest: sha256 (hex) of the config and every parameter: equal for the same weights, in
            whichever file format and under whichever names they were stored.
        source: what was loaded, as it was given; "random" for random weights.
        mean: per colour, subtracted from pixels in [0, 1].
        std: per colour, what the difference is divided by.
        ignored: keys of the file that the model has no use for (heads, a student).

    Example:
        >>> specjax.load_checkpoint("specjax-mini").digest[:8]
        'a814423c'
    """

    config: ViTConfig
    model: ViT
    digest: str
    source: str
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    ignored: tuple[str, ...] = ()


def load_checkpoint(source: str | os.PathLike, *, revision: str | None = None) -> Checkpoint:
    """Load a vision transformer from a folder, a file, the package, or the Hugging Face hub.

    DINO, DINOv2 (with and without registers), DINOv3, iBOT, MSN, MAE, MoCo v3 and plain ViTs are
    read, under the names of Hugging Face, timm or their original code, out of training checkpoints
    too (the teacher's or momentum encoder's weights). Nothing in a file is executed.

    Args:
        source: what exists locally, else a name of the package or a hub id:

            - a folder with `config.json` and `model.safetensors` or `pytorch_model.bin`, whole or
              in shards, or the hub's cache of a repository (`models--owner--name`);
            - a safetensors file, or one of torch.save (1.6 or later). A `config.json` beside it is
              used where it describes a known model. Without one, the shape is inferred from the
              tensors, and the number of heads from the width, for known widths;
            - "specjax-mini", which comes with the package;
            - a hub id, `owner/name`. Gated models need `HF_TOKEN` in the environment.

            Mean and deviation of the colours come from `preprocessor_config.json` where there is
            one, else from ImageNet.
        revision: branch, tag or commit on the hub; meaningless for other local files.

    Returns:
        The model and what identifies it.

    Raises:
        SpecjaxError: nothing is there, it is damaged, it is no ViT that the model computes exactly,
            nothing says how many heads it has, or its tensors do not account for every parameter
            and every key.

    Example:
        >>> checkpoint = specjax.load_checkpoint("specjax-mini")
        >>> checkpoint.config.num_layers, checkpoint.config.patch_size
        (6, 16)
    """
    try:
        return _load(find(source, revision), str(source))
    except OSError as error:
        raise SpecjaxError(f"cannot read {source}: {error.strerror or error}") from error


def random_checkpoint(config: ViTConfig, *, seed: int) -> Checkpoint:
    """A ViT with random weights, the same for the same seed on every machine.

    The scales are such that features differ from token to token; they mean nothing.

    Args:
        config: shape of the model.
        seed: any integer from 0.

    Returns:
        The model, with ImageNet's colours.

    Example:
        >>> config = specjax.ViTConfig(
        ...     hidden_size=8, num_layers=1, num_heads=2, mlp_size=16, patch_size=2, image_size=8
        ... )
        >>> specjax.random_checkpoint(config, seed=0).source
        'random'
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


def _load(place: Place, source: str) -> Checkpoint:
    fields = read_json(place.config) if place.config else {}
    name = str(place.config)
    is_described = "model_type" in fields
    if place.is_file and is_described and fields["model_type"] not in MODEL_TYPES:
        # A folder is a whole; beside a file, a config of something else is no config.
        fields, is_described = {}, False
    preprocessor = place.preprocessor if is_described or not place.is_file else None
    colours = read_colours(
        read_json(preprocessor) if preprocessor else None, fields, str(preprocessor or name)
    )
    config = config_of(fields, source=name) if is_described else None
    tensors, others = read_backbone(place.weights)
    try:
        if config is None:
            config = infer_config(tensors, num_heads=heads_of(fields))
        parameters, ignored = read_parameters(tensors, config)
    except SpecjaxError as error:
        raise SpecjaxError(f"{place.weights[0]}: {error}") from None
    del tensors
    with ThreadPoolExecutor(1) as pool:  # either takes a quarter of a second for a ViT-S
        digest = pool.submit(_digest, config, parameters)
        model = fill(config, parameters)
    return Checkpoint(
        config, model, digest.result(), source, *colours, tuple(sorted((*ignored, *others)))
    )


def _digest(config: ViTConfig, parameters: Mapping[str, np.ndarray]) -> str:
    fields = {
        field.name: getattr(config, field.name)
        for field in dataclasses.fields(config)
        if field.name in _DIGESTED or getattr(config, field.name) != field.default
    }
    digest = hashlib.sha256(json.dumps(fields, sort_keys=True).encode())
    for name, values in sorted(parameters.items()):
        digest.update(f"\n{name} {values.shape}\n".encode())
        digest.update(np.ascontiguousarray(values, "<f4").data)
    return digest.hexdigest()
