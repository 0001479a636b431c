"""Tables of names, and configs inferred from shapes."""

import dataclasses

import pytest

from specjax.errors import SpecjaxError
from specjax.models.checkpoints.layouts import infer_config
from specjax.models.config import ViTConfig
from tests.support.checkpoint_files import HF_NAMES, V5_NAMES, file_tensors, timm_tensors


def test_layouts_are_written_as_their_libraries_write_them(leaves):
    # Names of published files: the tables of the tests cannot be wrong as those of the library are.
    hf, v5, timm = (
        file_tensors(leaves, HF_NAMES),
        file_tensors(leaves, V5_NAMES),
        timm_tensors(leaves),
    )
    assert hf["encoder.layer.1.attention.attention.query.weight"].shape == (64, 64)
    assert hf["encoder.layer.0.intermediate.dense.weight"].shape == (20, 64)
    assert hf["embeddings.patch_embeddings.projection.weight"].shape == (64, 3, 4, 4)
    assert v5["layers.1.attention.o_proj.bias"].shape == (64,)
    assert timm["blocks.0.attn.qkv.weight"].shape == (192, 64)
    assert timm["pos_embed"].shape == (1, 26, 64)
    assert {"cls_token", "norm.weight", "patch_embed.proj.bias", "blocks.1.norm2.bias"} < set(timm)


def test_inferred_shapes_of_a_published_model():
    config = ViTConfig(384, 12, 6, 1536, 8, 224, 1e-6)
    shapes = {
        "cls_token": (1, 1, 384),
        "pos_embed": (1, 785, 384),
        "patch_embed.proj.weight": (384, 3, 8, 8),
        **{f"blocks.{i}.mlp.fc1.weight": (1536, 384) for i in range(12)},
        "blocks.0.attn.qkv.bias": (1152,),
    }
    assert infer_config(shapes) == config
    del shapes["blocks.0.attn.qkv.bias"]
    assert infer_config(shapes) == dataclasses.replace(config, qkv_bias=False)
    for key, shape in (
        ("pos_embed", (1, 787, 384)),
        ("pos_embed", (785, 384)),
        ("patch_embed.proj.weight", (48, 3, 8, 8)),
        ("patch_embed.proj.weight", (384, 192)),
    ):
        with pytest.raises(SpecjaxError, match=r"config\.json"):
            infer_config({**shapes, key: shape})
    with pytest.raises(SpecjaxError, match="num_layers"):
        infer_config({**shapes, "blocks.9999.norm1.weight": (384,)})
