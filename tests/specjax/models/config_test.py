import math

import pytest

from specjax import VIT_S16, SpecjaxError, ViTConfig

GOOD = {
    "model_type": "vit",
    "hidden_size": 384,
    "num_attention_heads": 6,
    "intermediate_size": 1536,
}


def test_huggingface_config():
    assert ViTConfig.from_huggingface(GOOD) == VIT_S16
    full = ViTConfig.from_huggingface(
        {
            **GOOD,
            "num_hidden_layers": 3,
            "patch_size": [8, 8],
            "image_size": 256,
            "layer_norm_eps": 1e-6,
            "qkv_bias": False,
            "unrelated": {},
        }
    )
    assert full == ViTConfig(384, 3, 6, 1536, 8, 256, 1e-6, False)
    assert full.grid_size == 32


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model_type": "dinov2"}, ["model_type", "dinov2"]),
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
    ],
)
def test_configs_that_are_refused(changes, words):
    with pytest.raises(SpecjaxError) as caught:
        ViTConfig.from_huggingface({**GOOD, **changes}, source="some/config.json")
    message = str(caught.value)
    assert message.startswith("some/config.json: ") and "\n" not in message
    assert all(word in message for word in words)
