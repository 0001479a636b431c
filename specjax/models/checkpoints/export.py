"""A ViT as Hugging Face stores it: `config.json` and `model.safetensors`."""

import json
import os
import pathlib

import numpy as np
from flax import nnx
from safetensors.numpy import save

from specjax.errors import SpecjaxError
from specjax.models.checkpoints.huggingface import fields_of
from specjax.models.checkpoints.layouts import HUGGING_FACE
from specjax.models.config import FAMILIES, ViTConfig
from specjax.models.vit import ViT

# Of the names that the layout's table has for a module, those that each kind of file uses.
_ATTENTION = tuple(
    f"{{}}.attention.{name}"
    for name in ("attention.query", "attention.key", "attention.value", "output.dense")
)
_USES = {
    "vit": (
        "embeddings.patch_embeddings.projection",
        *_ATTENTION,
        *("{}.intermediate.dense", "{}.output.dense", "{}.layernorm_before", "{}.layernorm_after"),
        "layernorm",
    ),
    "dinov2": (
        "embeddings.patch_embeddings.projection",
        *_ATTENTION,
        *("{}.mlp.fc1", "{}.mlp.fc2", "{}.mlp.weights_in", "{}.mlp.weights_out"),
        *("{}.norm1", "{}.norm2", "layernorm"),
    ),
    "dinov3": (
        "embeddings.patch_embeddings",
        *(f"{{}}.attention.{name}_proj" for name in "qkvo"),
        *("{}.mlp.gate_proj", "{}.mlp.up_proj", "{}.mlp.down_proj"),
        *("{}.norm1", "{}.norm2", "norm"),
    ),
}
_BLOCKS = {"vit": "encoder.layer.", "dinov2": "encoder.layer.", "dinov3": "layer."}
_ARCHITECTURES = {
    "vit": "ViTModel",
    "vit_msn": "ViTMSNModel",
    "vit_mae": "ViTMAEModel",
    "dinov2": "Dinov2Model",
    "dinov2_with_registers": "Dinov2WithRegistersModel",
    "dinov3_vit": "DINOv3ViTModel",
}


def save_checkpoint(
    folder: str | os.PathLike,
    model: ViT,
    *,
    image_mean: tuple[float, float, float],
    image_std: tuple[float, float, float],
    dtype: type = np.float32,
) -> None:
    """Write the model so that `load_checkpoint` and `transformers` read it.

    Layer scale, which the model has in its projections, is written as ones.

    Args:
        folder: made where it is missing; files of these names are replaced.
        model: the model.
        image_mean: per colour, subtracted from pixels in [0, 1].
        image_std: per colour, what the difference is divided by.
        dtype: of the stored tensors; float16 halves the file and rounds to 11 bits.

    Raises:
        SpecjaxError: the model has no final norm, which Hugging Face's layouts need.

    Example:
        >>> import tempfile
        >>> checkpoint = specjax.load_checkpoint("specjax-mini")
        >>> colours = {"image_mean": checkpoint.mean, "image_std": checkpoint.std}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     specjax.save_checkpoint(folder, checkpoint.model, **colours)
        ...     specjax.load_checkpoint(folder).digest == checkpoint.digest
        True
    """
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    stored: dict[str, np.ndarray] = {
        name: np.ascontiguousarray(tensor, dtype) for name, tensor in file_tensors(model).items()
    }
    fields = fields_of(model.config)
    fields["architectures"] = [_ARCHITECTURES[str(fields["model_type"])]]
    fields["dtype"] = np.dtype(dtype).name
    _replace(folder / "model.safetensors", save(stored, metadata={"format": "pt"}))
    _replace(folder / "config.json", _json(fields))
    size = {"height": model.config.image_size, "width": model.config.image_size}
    colours = {"image_mean": list(image_mean), "image_std": list(image_std), "size": size}
    processor = {"image_processor_type": "ViTImageProcessor", "do_normalize": True}
    _replace(folder / "preprocessor_config.json", _json({**processor, **colours}))


def file_tensors(model: ViT) -> dict[str, np.ndarray]:
    """The parameters under Hugging Face's names and in its shapes."""
    config = model.config
    if not config.final_norm:
        raise SpecjaxError("the model has no final norm, which Hugging Face's layouts need")
    leaves = {
        ".".join(map(str, path)): np.asarray(leaf[...])
        for path, leaf in nnx.to_flat_state(nnx.state(model))
    }
    arrays = HUGGING_FACE.arrays
    tensors: dict[str, np.ndarray] = {
        arrays[name][0]: leaves[name][None] for name in arrays if name in leaves
    }
    kind = config.family if config.family.startswith("dinov") else "vit"
    kind = kind.split("_")[0]
    gated = ("{}.mlp.weights_in", "{}.mlp.weights_out")
    unused = ("{}.mlp.fc1", "{}.mlp.fc2") if config.gated_mlp else gated
    for name, modules in HUGGING_FACE.modules:
        if name not in _USES[kind] or name in unused:
            continue
        for block in range(config.num_layers) if name.startswith("{}") else (None,):
            inside = "" if block is None else f"blocks.{block}."
            paths = [inside + module for module in modules]
            target = name.replace("{}.", f"{_BLOCKS[kind]}{block}.")
            for leaf, written in (("kernel", "weight"), ("scale", "weight"), ("bias", "bias")):
                parts = [leaves[f"{path}.{leaf}"] for path in paths if f"{path}.{leaf}" in leaves]
                if len(parts) == len(paths):
                    whole = [_weight(part, modules, config) for part in parts]
                    tensors[f"{target}.{written}"] = np.concatenate(whole)
    if FAMILIES[config.family].layer_scale:
        for block in range(config.num_layers):
            for names in HUGGING_FACE.scales.values():
                ones = np.ones(config.hidden_size, np.float32)
                tensors[f"{_BLOCKS[kind]}{block}.{names[0]}"] = ones
    return tensors


def _weight(leaf: np.ndarray, modules: tuple[str, ...], config: ViTConfig) -> np.ndarray:
    if leaf.ndim < 2:
        return leaf
    if modules != ("patch_embedding",):
        return leaf.T
    size = config.patch_size
    # [row, column, colour, outputs] to [outputs, colour, row, column].
    return leaf.reshape(size, size, 3, -1).transpose(3, 2, 0, 1)


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
