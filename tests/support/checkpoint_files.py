"""Checkpoint files of every layout, written without the library, from the leaves of a model."""

import json
import re

import numpy as np
import pytest
import safetensors.numpy
from flax import nnx

from specjax.errors import SpecjaxError
from specjax.models.checkpoints.loading import load_checkpoint
from specjax.models.config import ViTConfig
from tests.support.torch_files import write_torch_zip

TINY = ViTConfig(
    hidden_size=64, num_layers=2, num_heads=1, mlp_size=20, patch_size=4, image_size=20
)
HF_CONFIG = {
    "model_type": "vit",
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 1,
    "intermediate_size": 20,
    "patch_size": 4,
    "image_size": 20,
}
HF_NAMES = {
    "patch_embedding": "embeddings.patch_embeddings.projection",
    "cls_token": "embeddings.cls_token",
    "position_embeddings": "embeddings.position_embeddings",
    "norm": "layernorm",
    "norm1": "layernorm_before",
    "norm2": "layernorm_after",
    "query": "attention.attention.query",
    "key": "attention.attention.key",
    "value": "attention.attention.value",
    "projection": "attention.output.dense",
    "mlp_in": "intermediate.dense",
    "mlp_out": "output.dense",
    "blocks": "encoder.layer",
}
V5_NAMES = {
    **HF_NAMES,
    "query": "attention.q_proj",
    "key": "attention.k_proj",
    "value": "attention.v_proj",
    "projection": "attention.o_proj",
    "mlp_in": "mlp.fc1",
    "mlp_out": "mlp.fc2",
    "blocks": "layers",
}
TIMM_NAMES = {
    "patch_embedding": "patch_embed.proj",
    "position_embeddings": "pos_embed",
    "query": "attn.0",
    "key": "attn.1",
    "value": "attn.2",
    "projection": "attn.proj",
    "mlp_in": "mlp.fc1",
    "mlp_out": "mlp.fc2",
}


def model_leaves(model):
    flat = nnx.to_flat_state(nnx.state(model, nnx.Param))
    return {".".join(map(str, path)): np.asarray(leaf[...]) for path, leaf in flat}


def file_tensors(leaves, names, patch=4):
    """The tensors of a checkpoint file with these names, from the leaves of a model."""
    tensors = {}
    for path, leaf in leaves.items():
        *parts, last = path.split(".")
        if not parts:
            tensors[names.get(last, last)] = leaf[None]
            continue
        if last == "kernel" and parts == ["patch_embedding"]:
            leaf = leaf.reshape(patch, patch, 3, -1).transpose(3, 2, 0, 1)
        elif last == "kernel":
            leaf = leaf.T
        key = ".".join([*(names.get(part, part) for part in parts), _FILE.get(last, last)])
        tensors[key] = leaf
    return tensors


_FILE = {"kernel": "weight", "scale": "weight"}


def timm_tensors(leaves, patch=4):
    tensors = file_tensors(leaves, TIMM_NAMES, patch)
    parts = {key: tensors.pop(key) for key in list(tensors) if re.search(r"attn\.\d", key)}
    for key in parts:
        if ".attn.0." in key:
            fused = [parts[key.replace("attn.0", f"attn.{i}")] for i in range(3)]
            tensors[key.replace("attn.0", "attn.qkv")] = np.concatenate(fused)
    return tensors


def save(folder, tensors, name="model.safetensors", config=HF_CONFIG):
    folder.mkdir(exist_ok=True)
    path = folder / name
    if name.endswith(".safetensors"):
        arrays = {key: np.ascontiguousarray(array) for key, array in tensors.items()}
        safetensors.numpy.save_file(arrays, path)
    else:
        write_torch_zip(path, tensors)
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))
    return path


def refuse(source, *words, **options):
    with pytest.raises(SpecjaxError) as caught:
        load_checkpoint(source, **options)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 2000
    for word in words:
        assert str(word) in message
    return message
