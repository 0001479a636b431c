"""A ViT as Hugging Face stores it: `config.json` and `model.safetensors`."""

import json
import os
import pathlib

import numpy as np
from flax import nnx
from safetensors.numpy import save

from specjax.models.checkpoints.layouts import LAYOUTS
from specjax.models.config import ViTConfig
from specjax.models.vit import ViT

_ON_DISK = LAYOUTS[0]


def save_checkpoint(
    folder: str | os.PathLike,
    model: ViT,
    *,
    image_mean: tuple[float, float, float],
    image_std: tuple[float, float, float],
    dtype: type = np.float32,
) -> None:
    """Write the model so that `load_checkpoint` and `transformers.ViTModel` read it.

    Args:
        folder: made where it is missing; files of these names are replaced.
        model: the model.
        image_mean: per colour, subtracted from pixels in [0, 1].
        image_std: per colour, what the difference is divided by.
        dtype: of the stored tensors; float16 halves the file and rounds to 11 bits.
    """
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    config = model.config
    tensors = {
        name: np.ascontiguousarray(tensor, dtype) for name, tensor in file_tensors(model).items()
    }
    _replace(folder / "model.safetensors", save(tensors, metadata={"format": "pt"}))
    _replace(folder / "config.json", _json(_huggingface_fields(config, np.dtype(dtype).name)))
    colours = {"image_mean": list(image_mean), "image_std": list(image_std)}
    fields = {"image_processor_type": "ViTImageProcessor", "do_normalize": True, **colours}
    size = {"height": config.image_size, "width": config.image_size}
    _replace(folder / "preprocessor_config.json", _json({**fields, "size": size}))


def file_tensors(model: ViT) -> dict[str, np.ndarray]:
    """The parameters under Hugging Face's names and in its shapes."""
    leaves = {
        ".".join(map(str, path)): np.asarray(leaf[...])
        for path, leaf in nnx.to_flat_state(nnx.state(model))
    }
    tensors = {
        _ON_DISK.cls_token: leaves["cls_token"][None],
        _ON_DISK.position_embeddings: leaves["position_embeddings"][None],
    }
    for file_name, (module, *_) in _ON_DISK.modules:
        for block in range(model.config.num_layers) if "{}" in file_name else (0,):
            source, target = module.format(block), file_name.format(block)
            if f"{source}.kernel" in leaves:
                tensors[f"{target}.weight"] = _weight(source, leaves, model.config)
            else:
                tensors[f"{target}.weight"] = leaves[f"{source}.scale"]
            if f"{source}.bias" in leaves:
                tensors[f"{target}.bias"] = leaves[f"{source}.bias"]
    return tensors


def _weight(module: str, leaves: dict[str, np.ndarray], config: ViTConfig) -> np.ndarray:
    kernel = leaves[f"{module}.kernel"]
    if module != "patch_embedding":
        return kernel.T
    size = config.patch_size
    # [row, column, colour, outputs] to [outputs, colour, row, column].
    return kernel.reshape(size, size, 3, -1).transpose(3, 2, 0, 1)


def _huggingface_fields(config: ViTConfig, dtype: str) -> dict:
    return {
        "architectures": ["ViTModel"],
        "attention_probs_dropout_prob": 0.0,
        "dtype": dtype,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.0,
        "hidden_size": config.hidden_size,
        "image_size": config.image_size,
        "intermediate_size": config.mlp_size,
        "layer_norm_eps": config.layer_norm_eps,
        "model_type": "vit",
        "num_attention_heads": config.num_heads,
        "num_channels": 3,
        "num_hidden_layers": config.num_layers,
        "patch_size": config.patch_size,
        "qkv_bias": config.qkv_bias,
    }


def _json(fields: dict) -> bytes:
    return (json.dumps(fields, indent=2) + "\n").encode()


def _replace(path: pathlib.Path, content: bytes) -> None:
    """Write beside, then rename: a reader sees the old file or the new one."""
    temporary = path.with_name(f".writing-{os.getpid()}-{path.name}")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
