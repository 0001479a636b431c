"""A saved model is the model: for this library, and for transformers' names and shapes."""

import dataclasses
import json

import numpy as np
import pytest

from specjax.errors import SpecjaxError
from specjax.models.checkpoints.export import file_tensors, save_checkpoint
from specjax.models.checkpoints.loading import load_checkpoint, random_checkpoint
from tests.support.checkpoint_files import HF_NAMES, model_leaves
from tests.support.checkpoint_files import file_tensors as expected_tensors
from tests.support.tiny_checkpoint import TINY

COLOURS = {"image_mean": (0.1, 0.2, 0.3), "image_std": (0.5, 0.6, 0.7)}


def test_round_trip_keeps_every_parameter(tmp_path):
    made = random_checkpoint(TINY, seed=3)
    save_checkpoint(tmp_path, made.model, **COLOURS)
    loaded = load_checkpoint(tmp_path)
    assert loaded.digest == made.digest
    assert (loaded.mean, loaded.std) == (COLOURS["image_mean"], COLOURS["image_std"])
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
    ]


VARIANTS = {
    "dinov2": {"family": "dinov2"},
    "dinov2_giant": {"family": "dinov2", "gated_mlp": True},
    "registers": {"family": "dinov2_with_registers", "num_registers": 4},
    "dinov3": {
        "family": "dinov3_vit",
        "num_registers": 4,
        "rope_theta": 100.0,
        "key_bias": False,
    },
    "mae": {"family": "vit_mae"},
}


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)
def test_round_trip_of_other_families(tmp_path, changes):
    config = dataclasses.replace(TINY, num_heads=4, **changes)
    made = random_checkpoint(config, seed=3)
    save_checkpoint(tmp_path, made.model, **COLOURS)
    loaded = load_checkpoint(tmp_path)
    assert loaded.config == config
    assert loaded.digest == made.digest and loaded.ignored == ()


def test_a_model_without_a_final_norm_is_refused(tmp_path):
    config = dataclasses.replace(TINY, final_norm=False, family="vit_mae")
    with pytest.raises(SpecjaxError, match="final norm"):
        save_checkpoint(tmp_path, random_checkpoint(config, seed=0).model, **COLOURS)


def test_half_precision_rounds_and_halves_the_file(tmp_path):
    made = random_checkpoint(TINY, seed=3)
    save_checkpoint(tmp_path / "single", made.model, **COLOURS)
    save_checkpoint(tmp_path / "half", made.model, dtype=np.float16, **COLOURS)
    single, half = ((tmp_path / name / "model.safetensors") for name in ("single", "half"))
    assert half.stat().st_size < 0.6 * single.stat().st_size
    whole, rounded = (
        model_leaves(load_checkpoint(tmp_path / name).model) for name in ("single", "half")
    )
    for name, leaf in whole.items():
        np.testing.assert_array_equal(rounded[name], leaf.astype(np.float16).astype(np.float32))


def test_names_and_shapes_are_hugging_faces():
    model = random_checkpoint(TINY, seed=0).model
    expected = expected_tensors(model_leaves(model), HF_NAMES, patch=16)
    found = file_tensors(model)
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        np.testing.assert_array_equal(found[name], tensor, err_msg=name)


@pytest.mark.parametrize("key", ["hidden_act", "qkv_bias", "layer_norm_eps", "model_type"])
def test_config_states_what_loading_assumes(tmp_path, key):
    save_checkpoint(tmp_path, random_checkpoint(TINY, seed=0).model, **COLOURS)
    assert key in json.loads((tmp_path / "config.json").read_text())
