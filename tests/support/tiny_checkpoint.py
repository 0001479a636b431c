"""A tiny vision transformer with random weights, in a folder as Hugging Face lays it out."""

import dataclasses

from specjax.models.checkpoints.loading import random_checkpoint
from specjax.models.vit import ViTConfig
from tests.specjax.models.checkpoints.loading_test import HF_NAMES, file_tensors, model_leaves, save

TINY = ViTConfig(
    hidden_size=48, num_layers=2, num_heads=3, mlp_size=96, patch_size=16, image_size=64
)


def write_checkpoint(folder, seed=0):
    """Writes `config.json` and `model.safetensors` into `folder`; returns its path as text."""
    leaves = model_leaves(random_checkpoint(TINY, seed=seed).model)
    fields = dataclasses.asdict(TINY)
    config = {
        "model_type": "vit",
        "hidden_size": fields["hidden_size"],
        "num_hidden_layers": fields["num_layers"],
        "num_attention_heads": fields["num_heads"],
        "intermediate_size": fields["mlp_size"],
        "patch_size": fields["patch_size"],
        "image_size": fields["image_size"],
    }
    save(folder, file_tensors(leaves, HF_NAMES, patch=TINY.patch_size), config=config)
    return str(folder)
