"""A tiny vision transformer with random weights, in a folder as Hugging Face lays it out."""

from specjax.models.checkpoints.loading import random_checkpoint
from specjax.models.config import ViTConfig
from tests.support.checkpoint_files import HF_NAMES, file_tensors, model_leaves, save

TINY = ViTConfig(
    hidden_size=48, num_layers=2, num_heads=3, mlp_size=96, patch_size=16, image_size=64
)
_CONFIG = {
    "model_type": "vit",
    "hidden_size": TINY.hidden_size,
    "num_hidden_layers": TINY.num_layers,
    "num_attention_heads": TINY.num_heads,
    "intermediate_size": TINY.mlp_size,
    "patch_size": TINY.patch_size,
    "image_size": TINY.image_size,
}


def write_checkpoint(folder, seed=0):
    """Writes `config.json` and `model.safetensors` into `folder`; returns its path as text."""
    leaves = model_leaves(random_checkpoint(TINY, seed=seed).model)
    save(folder, file_tensors(leaves, HF_NAMES, patch=TINY.patch_size), config=_CONFIG)
    return str(folder)
