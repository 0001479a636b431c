"""Tables of names, and configs inferred from tensors."""

import dataclasses

import numpy as np
import pytest

from specjax.errors import SpecjaxError
from specjax.models.checkpoints.inference import infer_config
from specjax.models.checkpoints.layouts import recognise
from specjax.models.config import ViTConfig
from specjax.models.positions import sine_cosine_positions
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


def published(channels=384, patch=8, cells=785, layers=12, ratio=4, **extra):
    """Tensors without values of a timm or original file; `extra` are more of them, by shape."""
    shapes = {
        "cls_token": (1, 1, channels),
        "pos_embed": (1, cells, channels),
        "patch_embed.proj.weight": (channels, 3, patch, patch),
        "norm.weight": (channels,),
        **{f"blocks.{i}.norm1.weight": (channels,) for i in range(layers)},
        **{f"blocks.{i}.mlp.fc1.weight": (ratio * channels, channels) for i in range(layers)},
        **{f"blocks.{i}.mlp.fc2.weight": (channels, ratio * channels) for i in range(layers)},
        "blocks.0.attn.qkv.bias": (3 * channels,),
        **extra,
    }
    return {key: np.broadcast_to(np.float32(0.5), shape) for key, shape in shapes.items() if shape}


def test_inferred_shapes_of_a_published_model():
    config = ViTConfig(384, 12, 6, 1536, 8, 224, 1e-6)
    assert infer_config(published()) == config
    without = published(**{"blocks.0.attn.qkv.bias": None})
    assert infer_config(without) == dataclasses.replace(config, qkv_bias=False)
    for change, words in (
        ({"pos_embed": (1, 790, 384)}, "position embeddings"),
        ({"pos_embed": (785, 384)}, "position embeddings"),
        ({"patch_embed.proj.weight": (48, 3, 8, 8)}, r"config\.json"),
        ({"patch_embed.proj.weight": (384, 192)}, "patch projection"),
    ):
        with pytest.raises(SpecjaxError, match=words):
            infer_config(published(**change))
    with pytest.raises(SpecjaxError, match="num_layers"):
        infer_config(published(**{"blocks.9999.norm1.weight": (384,)}))


@pytest.mark.parametrize(
    ("channels", "heads"),
    [(192, 3), (384, 6), (768, 12), (1024, 16), (1152, 16), (1280, 16), (1408, 16), (1664, 16)],
)
def test_heads_of_known_widths(channels, heads):
    """ViT-H has 16 heads of 80 channels, SO400M 16 of 72: not all have heads of 64."""
    assert infer_config(published(channels, patch=16, cells=197)).num_heads == heads


@pytest.mark.parametrize("channels", [48, 512, 640, 1536, 2048])
def test_unknown_widths_are_refused_and_asked_for(channels):
    with pytest.raises(SpecjaxError, match="num_attention_heads"):
        infer_config(published(channels))
    assert infer_config(published(channels), num_heads=8).num_heads == 8


SCALE = {"blocks.0.ls1.gamma": (384,)}


@pytest.mark.parametrize(
    ("tensors", "expected"),
    [
        (published(patch=14, cells=1370, **SCALE), {"family": "dinov2"}),
        (
            published(patch=14, cells=1369, reg_token=(1, 4, 384), **SCALE),
            {"family": "dinov2_with_registers", "num_registers": 4, "image_size": 518},
        ),
        (
            published(
                patch=16,
                pos_embed=None,
                storage_tokens=(1, 4, 384),
                **{"blocks.0.attn.qkv.bias_mask": (1152,), **SCALE},
            ),
            {"family": "dinov3_vit", "key_bias": False, "rope_theta": 100.0, "num_heads": 6},
        ),
        (
            published(
                1280,
                patch=16,
                pos_embed=None,
                reg_token=(1, 4, 1280),
                **{"blocks.0.attn.qkv.bias": None, "blocks.0.attn.q_bias": (1280,)},
                **{"blocks.0.mlp.fc1_g.weight": (5120, 1280)},
                **{"blocks.0.mlp.fc1_x.weight": (5120, 1280)},
            ),
            {"family": "dinov3_vit", "key_bias": False, "gated_mlp": True, "num_heads": 20},
        ),
        (published(decoder_pos_embed=(1, 785, 512)), {"family": "vit_mae"}),
        (published(dist_token=(1, 1, 384), pos_embed=(1, 786, 384)), {"num_registers": 1}),
    ],
    ids=["dinov2", "registers", "dinov3", "timm's dinov3 H+", "mae", "distilled"],
)
def test_families_show_in_their_tensors(tensors, expected):
    config = infer_config(tensors)
    assert {name: getattr(config, name) for name in expected} == expected


def test_moco_v3_has_more_heads_than_others_of_its_width():
    assert infer_config(published(patch=16, cells=197)).num_heads == 6
    prefixed = {
        f"module.momentum_encoder.{k}": v for k, v in published(patch=16, cells=197).items()
    }
    assert infer_config(prefixed).num_heads == 12
    # Without the prefix its fixed position embeddings tell it, which no other model has.
    fixed = sine_cosine_positions(14, 384, columns_first=False)
    tensors = published(patch=16, cells=197)
    tensors["pos_embed"] = np.concatenate([np.zeros((1, 384), np.float32), fixed])[None]
    found = infer_config(tensors)
    assert (found.family, found.num_heads) == ("moco_v3", 12)


@pytest.mark.parametrize(
    ("prefixes", "expected"),
    [
        (["student.backbone.", "teacher.backbone."], "teacher.backbone."),
        (["student_backbone.", "teacher_backbone."], "teacher_backbone."),
        (["module.base_encoder.", "module.momentum_encoder."], "module.momentum_encoder."),
        (["model.", "model_ema."], "model_ema."),
        (["student.module.", "backbone."], "backbone."),
        (["_orig_mod."], "_orig_mod."),
        (["module._orig_mod."], "module._orig_mod."),
    ],
)
def test_of_several_backbones_the_averaged_one_is_taken(prefixes, expected):
    keys = [prefix + key for prefix in prefixes for key in published()]
    assert recognise(keys).prefix == expected


def test_several_backbones_without_a_difference_are_refused():
    keys = [prefix + key for prefix in ("left.", "right.") for key in published()]
    with pytest.raises(SpecjaxError, match=r"several ViTs, under 'left\.', 'right\.'"):
        recognise(keys)


def test_other_models_are_named_for_what_they_are():
    with pytest.raises(SpecjaxError, match="looks like a ResNet"):
        recognise(["conv1.weight", "layer4.0.conv1.weight"])
