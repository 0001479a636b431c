import math

import pytest

from specjax import VIT_S16, SpecjaxError, ViTConfig
from specjax.models.checkpoints.huggingface import config_of, fields_of

GOOD = {
    "model_type": "vit",
    "hidden_size": 384,
    "num_attention_heads": 6,
    "intermediate_size": 1536,
}


def test_huggingface_config():
    assert config_of(GOOD, source="") == VIT_S16
    full = config_of(
        {
            **GOOD,
            "num_hidden_layers": 3,
            "patch_size": [8, 8],
            "image_size": 256,
            "layer_norm_eps": 1e-6,
            "qkv_bias": False,
            "unrelated": {},
        },
        source="",
    )
    assert full == ViTConfig(384, 3, 6, 1536, 8, 256, 1e-6, False)
    assert full.grid_size == 32


@pytest.mark.parametrize(
    ("fields", "changes"),
    [
        (
            {"model_type": "dinov2", "mlp_ratio": 4, "image_size": 518},
            {"patch_size": 14, "image_size": 518, "family": "dinov2"},
        ),
        (
            {
                "model_type": "dinov2_with_registers",
                "hidden_size": 1536,
                "num_attention_heads": 24,
                "use_swiglu_ffn": True,
                "patch_size": 14,
            },
            {
                "hidden_size": 1536,
                "num_heads": 24,
                "mlp_size": 4096,
                "patch_size": 14,
                "gated_mlp": True,
                "num_registers": 4,
                "family": "dinov2_with_registers",
            },
        ),
        (
            {"model_type": "dinov3_vit", "num_register_tokens": 4},
            {
                "num_registers": 4,
                "layer_norm_eps": 1e-5,
                "key_bias": False,
                "rope_theta": 100.0,
                "family": "dinov3_vit",
            },
        ),
    ],
    ids=["dinov2", "registers", "dinov3"],
)
def test_configs_of_other_families(fields, changes):
    shape = {"hidden_size": 384, "num_layers": 12, "num_heads": 6, "mlp_size": 1536}
    expected = ViTConfig(**{**shape, "patch_size": 16, "layer_norm_eps": 1e-6, **changes})
    given = {"hidden_size": 384, "num_attention_heads": 6, **fields}
    config = config_of(given, source="")
    assert config == expected
    assert config_of(fields_of(config), source="") == config


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model_type": "swinv2"}, ["model_type", "swinv2", "dinov2"]),
        ({"model_type": None}, ["model_type"]),
        ({"hidden_act": "gelu_new"}, ["hidden_act", "gelu_new"]),
        ({"num_channels": 1}, ["num_channels"]),
        ({"hidden_size": "384"}, ["hidden_size"]),
        ({"hidden_size": 385}, ["multiple"]),
        ({"hidden_size": 10**12}, ["hidden_size"]),
        ({"num_hidden_layers": 0}, ["num_layers"]),
        ({"num_hidden_layers": True}, ["num_layers"]),
        ({"patch_size": [16, 8]}, ["patch_size"]),
        ({"patch_size": 230}, ["image_size"]),
        ({"layer_norm_eps": "small"}, ["layer_norm_eps"]),
        ({"layer_norm_eps": math.nan}, ["layer_norm_eps"]),
        ({"layer_norm_eps": -1.0}, ["layer_norm_eps"]),
        ({"qkv_bias": 1}, ["qkv_bias"]),
        ({"head_dim": 32}, ["head_dim"]),
        ({"model_type": "dinov2", "mlp_ratio": "4"}, ["mlp_size", "'4'"]),
        ({"model_type": "dinov2", "mlp_ratio": math.inf}, ["mlp_size"]),
        ({"model_type": "dinov3_vit", "mlp_bias": False}, ["mlp_bias"]),
        ({"model_type": "dinov3_vit", "value_bias": False}, ["value_bias"]),
        ({"model_type": "dinov3_vit", "rope_theta": 0.5}, ["rope_theta"]),
        ({"model_type": "dinov3_vit", "num_register_tokens": -1}, ["num_registers"]),
    ],
)
def test_configs_that_are_refused(changes, words):
    with pytest.raises(SpecjaxError) as caught:
        config_of({**GOOD, **changes}, source="some/config.json")
    message = str(caught.value)
    assert message.startswith("some/config.json: ") and "\n" not in message
    assert all(word in message for word in words)
