"""Every leaf is filled, every tensor is used; whatever does not fit is named."""

import numpy as np

from specjax.models.checkpoints.parameters import read_parameters
from specjax.models.checkpoints.skeleton import leaf_shapes
from tests.support.checkpoint_files import TINY, V5_NAMES, file_tensors, refuse, save, timm_tensors


def test_all_problems_are_reported_together(tmp_path, tensors):
    del tensors["encoder.layer.0.attention.attention.key.bias"]
    del tensors["layernorm.weight"]
    tensors["surprise"] = np.zeros(3, np.float32)
    tensors["embeddings.cls_token"] = np.zeros((1, 1, 65), np.float32)
    tensors["layernorm.bias"] = np.full(64, np.nan, np.float32)
    message = refuse(
        save(tmp_path, tensors),
        tmp_path,
        "2 missing",
        "encoder.layer.0.attention.attention.key.bias",
        "1 extra (surprise)",
        "1 misshapen (embeddings.cls_token is (1, 1, 65), not (1, 1, 64))",
        "1 not finite (layernorm.bias)",
    )
    assert message.startswith(str(tmp_path / "model.safetensors"))


def test_long_lists_are_abbreviated(tmp_path, tensors):
    tensors |= {f"surprise.{i}": np.zeros(1, np.float32) for i in range(100)}
    message = refuse(save(tmp_path, tensors), "100 extra", "surprise.0", "...")
    assert message.count("surprise") == 5


def test_a_key_twice_under_two_prefixes_is_not_swallowed(tmp_path, tensors):
    tensors |= {"vit.layernorm.bias": tensors["layernorm.bias"]}
    refuse(save(tmp_path, tensors), "1 extra (vit.layernorm.bias)")


def test_integers_are_no_weights(tmp_path, tensors):
    tensors["layernorm.bias"] = np.arange(64)
    refuse(save(tmp_path, tensors), "layernorm.bias", "I64")
    refuse(save(tmp_path, tensors, "a.pth"), "layernorm.bias", "int64")


def test_overflow_to_infinity_is_reported(tmp_path, tensors):
    tensors["layernorm.bias"] = np.full(64, 1e300)
    refuse(save(tmp_path, tensors), "1 not finite (layernorm.bias)")


def test_a_table_fills_every_leaf_once(leaves):
    # The same tensors under every layout: the count of leaves is that of the skeleton.
    for tensors in (file_tensors(leaves, V5_NAMES), timm_tensors(leaves)):
        parameters, ignored = read_parameters(tensors, TINY)
        assert {key: array.shape for key, array in parameters.items()} == leaf_shapes(TINY)
        assert ignored == ()
