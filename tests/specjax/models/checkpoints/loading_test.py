"""Whole checkpoints: every layout, format and float type, and what is refused."""

import argparse
import dataclasses
import json

import ml_dtypes
import numpy as np
import pytest

from specjax.models.checkpoints.loading import load_checkpoint, random_checkpoint
from specjax.models.config import ViTConfig
from specjax.models.positions import sine_cosine_positions
from tests.support.checkpoint_files import (
    HF_CONFIG,
    HF_NAMES,
    TINY,
    V5_NAMES,
    file_tensors,
    model_leaves,
    refuse,
    save,
    timm_tensors,
)
from tests.support.torch_files import pickled


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
@pytest.mark.parametrize("layout", ["hf", "v5", "timm"])
def test_every_layout_and_format_gives_the_same_model(tmp_path, checkpoint, leaves, layout, name):
    tensors = {
        "hf": lambda: file_tensors(leaves, HF_NAMES),
        "v5": lambda: file_tensors(leaves, V5_NAMES),
        "timm": lambda: timm_tensors(leaves),
    }[layout]()
    path = save(tmp_path, tensors, name)
    for source in (tmp_path, str(path)):
        loaded = load_checkpoint(source)
        assert loaded.config == TINY
        assert loaded.digest == checkpoint.digest
        assert loaded.source == str(source)
        assert loaded.ignored == ()
        for key, array in model_leaves(loaded.model).items():
            np.testing.assert_array_equal(array, leaves[key])


@pytest.mark.parametrize(
    ("prefix", "heads"),
    [
        ("vit.", {"classifier.weight": (10, 64), "classifier.bias": (10,)}),
        ("", {"pooler.dense.weight": (64, 64), "pooler.dense.bias": (64,)}),
    ],
)
def test_huggingface_heads_and_prefixes(tmp_path, checkpoint, tensors, prefix, heads):
    tensors = {prefix + key: array for key, array in tensors.items()}
    extra = {key: np.zeros(shape, np.float32) for key, shape in heads.items()}
    save(tmp_path, {**tensors, **extra})
    loaded = load_checkpoint(tmp_path)
    assert loaded.digest == checkpoint.digest
    assert loaded.ignored == tuple(sorted(heads))


@pytest.mark.parametrize("prefix", ["", "backbone.", "module.backbone."])
def test_training_checkpoints_of_dino(tmp_path, checkpoint, leaves, prefix):
    head = prefix.replace("backbone.", "") + "head.mlp.0.weight"
    teacher = {prefix + key: array for key, array in timm_tensors(leaves).items()}
    teacher[head] = np.zeros((3, 64), np.float32)
    student = {key: np.zeros_like(array) for key, array in teacher.items()}
    args = pickled(argparse.Namespace(arch="vit_small", patch_size=16))
    saved = {"student": student, "teacher": teacher, "epoch": 100, "args": args}
    path = save(tmp_path, saved, "dino.pth")
    loaded = load_checkpoint(path)
    assert loaded.digest == checkpoint.digest
    others = [f"student.{key}" for key in student] + [f"teacher.{head}"]
    assert loaded.ignored == tuple(sorted(others))


@pytest.mark.parametrize("name", ["model.ckpt", "checkpoint_teacher.pth.tar", "weights"])
def test_the_content_of_a_file_decides_not_its_name(tmp_path, checkpoint, tensors, name):
    assert load_checkpoint(save(tmp_path, tensors, name)).digest == checkpoint.digest


def test_what_lies_beside_the_weights_is_inert(tmp_path, checkpoint, leaves):
    scalar = pickled(np.float64(0.5))
    saved = {"model": timm_tensors(leaves), "best": scalar, "epoch": 3, "optimizer": {"state": {}}}
    assert load_checkpoint(save(tmp_path, saved, "a.pth")).digest == checkpoint.digest


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_shards(tmp_path, checkpoint, tensors, suffix):
    stem = "model" if suffix == "safetensors" else "pytorch_model"
    names = [f"{stem}-{i}-of-2.{suffix}" for i in (1, 2)]
    places = {key: names[number % 2] for number, key in enumerate(tensors)}
    for name in names:
        save(tmp_path, {key: tensors[key] for key in tensors if places[key] == name}, name)
    index = tmp_path / f"{stem}.{suffix}.index.json"
    index.write_text(json.dumps({"weight_map": places}))
    for source in (tmp_path, index):
        assert load_checkpoint(source).digest == checkpoint.digest
    for bad in ("../outside.bin", "/etc/passwd", "sub/file.bin", "..", 3):
        index.write_text(json.dumps({"weight_map": {**places, "x": bad}}))
        refuse(tmp_path, index, "no file beside it")
    index.write_text(json.dumps({"weight_map": {**places, "x": "gone.bin"}}))
    refuse(tmp_path, index, "gone.bin")
    index.write_text("{}")
    refuse(tmp_path, index, "weight_map")


def test_a_cache_of_the_hub_is_a_folder_like_another(tmp_path, checkpoint, tensors):
    root = tmp_path / "models--owner--name"
    for commit in ("a" * 40, "b" * 40):
        (root / "snapshots" / commit).mkdir(parents=True)
    save(root / "snapshots" / ("b" * 40), tensors)
    refuse(root, root, "snapshots")
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text("b" * 40)
    assert load_checkpoint(root).digest == checkpoint.digest
    assert load_checkpoint(root, revision="b" * 40).digest == checkpoint.digest
    (root / "snapshots" / ("a" * 40)).rmdir()
    (root / "refs" / "main").unlink()
    assert load_checkpoint(root).digest == checkpoint.digest


def test_a_classifier_of_mean_features_has_no_final_norm(tmp_path, leaves):
    tensors = timm_tensors(leaves)
    for name in ("weight", "bias"):
        tensors[f"fc_norm.{name}"] = tensors.pop(f"norm.{name}")
    path = save(tmp_path, tensors, "mae_finetuned.pth", config={"num_attention_heads": 1})
    loaded = load_checkpoint(path)
    assert not loaded.config.final_norm
    assert loaded.ignored == ("fc_norm.bias", "fc_norm.weight")


def test_positions_without_a_place_for_the_class_token(tmp_path, leaves):
    tensors = timm_tensors(leaves)
    tensors["pos_embed"] = tensors["pos_embed"][:, 1:]
    loaded = load_checkpoint(save(tmp_path, tensors, "a.pth", config={"num_attention_heads": 1}))
    positions = model_leaves(loaded.model)["position_embeddings"]
    assert not positions[0].any()
    np.testing.assert_array_equal(positions[1:], leaves["position_embeddings"][1:])


def test_the_second_token_of_a_distilled_model_is_a_register(tmp_path, leaves):
    tensors, extra = timm_tensors(leaves), np.full((1, 1, 64), 0.5, np.float32)
    tensors["dist_token"] = 2 * extra
    positions = tensors["pos_embed"]
    tensors["pos_embed"] = np.concatenate([positions[:, :1], extra, positions[:, 1:]], axis=1)
    loaded = load_checkpoint(save(tmp_path, tensors, "a.pth", config={"num_attention_heads": 1}))
    found = model_leaves(loaded.model)
    np.testing.assert_array_equal(found["registers"], np.full((1, 64), 1.5))
    np.testing.assert_array_equal(found["position_embeddings"], leaves["position_embeddings"])


@pytest.mark.parametrize("family", ["vit_mae", "moco_v3"])
def test_fixed_positions_may_be_left_out(tmp_path, family):
    shape = dataclasses.replace(TINY, hidden_size=384, num_heads=6, patch_size=16, image_size=224)
    leaves = model_leaves(random_checkpoint(shape, seed=0).model)
    tensors = timm_tensors(leaves, patch=16)
    del tensors["pos_embed"]
    if family == "moco_v3":
        tensors = {f"module.base_encoder.{key}": array for key, array in tensors.items()}
    else:
        tensors["decoder_pos_embed"] = np.zeros((1, 197, 512), np.float32)
    loaded = load_checkpoint(save(tmp_path, tensors, "a.pth", config=None))
    made = sine_cosine_positions(14, 384, columns_first=family == "vit_mae")
    positions = model_leaves(loaded.model)["position_embeddings"]
    np.testing.assert_array_equal(positions[1:], made)
    assert not positions[0].any() and loaded.config.family == family


@pytest.mark.parametrize("layout", ["hf", "timm"])
def test_the_config_is_inferred_from_the_tensors(tmp_path, layout):
    shape = dataclasses.replace(TINY, hidden_size=192, num_heads=3)
    leaves = model_leaves(random_checkpoint(shape, seed=0).model)
    tensors = file_tensors(leaves, HF_NAMES) if layout == "hf" else timm_tensors(leaves)
    eps = 1e-12 if layout == "hf" else 1e-6
    expected = dataclasses.replace(shape, layer_norm_eps=eps)
    assert load_checkpoint(save(tmp_path, tensors, "a.pth", config=None)).config == expected
    # A config of something else is no config; timm's says nothing of the shape.
    for config in ({"model_type": "resnet"}, {"architecture": "vit_tiny"}):
        assert load_checkpoint(save(tmp_path, tensors, "a.pth", config)).config == expected
    # A folder is a whole: its config must be right.
    save(tmp_path, tensors, config={"model_type": "resnet"})
    refuse(tmp_path, "config.json", "resnet")


def test_without_query_key_value_biases(tmp_path):
    checkpoint = random_checkpoint(dataclasses.replace(TINY, qkv_bias=False), seed=1)
    leaves = model_leaves(checkpoint.model)
    assert "blocks.0.key.bias" not in leaves
    config = {**HF_CONFIG, "qkv_bias": False}
    for tensors in (file_tensors(leaves, HF_NAMES), timm_tensors(leaves)):
        save(tmp_path, tensors, config=config)
        assert load_checkpoint(tmp_path).digest == checkpoint.digest
    refuse(save(tmp_path, tensors, config=HF_CONFIG), "2 missing", "blocks.0.attn.qkv.bias")


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float64])
def test_other_float_types_become_single(tmp_path, tensors, leaves, dtype, name):
    save(tmp_path, {key: array.astype(dtype) for key, array in tensors.items()}, name)
    for key, array in model_leaves(load_checkpoint(tmp_path).model).items():
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, leaves[key].astype(dtype).astype(np.float32))


def test_the_digest_tells_weights_and_configs_apart(tmp_path, checkpoint, tensors):
    tensors["layernorm.bias"] = tensors["layernorm.bias"].copy()
    tensors["layernorm.bias"][3] += 1e-3
    save(tmp_path, tensors)
    assert load_checkpoint(tmp_path).digest != checkpoint.digest
    other = random_checkpoint(dataclasses.replace(TINY, layer_norm_eps=1e-6), seed=7)
    assert other.digest != checkpoint.digest


def test_another_kind_of_model(tmp_path):
    tensors = {"conv1.weight": np.zeros((64, 3, 7, 7), np.float32)}
    refuse(save(tmp_path, tensors), "conv1.weight", "facebook/dinov2-small")


def test_a_config_that_disagrees_with_the_tensors(tmp_path, tensors):
    save(tmp_path, tensors, config={**HF_CONFIG, "num_hidden_layers": 3})
    refuse(tmp_path, "16 missing", "encoder.layer.2.")
    save(tmp_path, tensors, config={**HF_CONFIG, "num_hidden_layers": 1})
    refuse(tmp_path, "16 extra", "encoder.layer.1.")
    (tmp_path / "config.json").write_text("[1]")
    refuse(tmp_path, "config.json", "object")


def test_paths_that_hold_no_checkpoint(tmp_path):
    refuse(tmp_path / "absent.pth", "no such file")
    refuse(str(tmp_path / "absent"), "no such file")
    for source in ("./absent/model", "absent/model.pth", "a/b/c", "~/absent/model", "dino", ""):
        if source:
            refuse(source, source, "no such file", "owner/name")
    refuse(tmp_path, tmp_path, "model.safetensors", "hf download")
    text = tmp_path / "notes.txt"
    text.write_text("hello")
    refuse(text, text, "safetensors", "torch.save")


def test_what_exists_locally_wins_over_the_hub(tmp_path, tensors, checkpoint, monkeypatch):
    (tmp_path / "owner").mkdir()
    save(tmp_path / "owner" / "name", tensors)
    monkeypatch.chdir(tmp_path)
    assert load_checkpoint("owner/name").digest == checkpoint.digest


def test_both_formats_of_the_reference_checkpoint(shared_oracle):
    folder = shared_oracle / "checkpoint_tiny"
    whole, first, second = (
        load_checkpoint(folder / name) for name in ("", "model.safetensors", "pytorch_model.bin")
    )
    assert whole.digest == first.digest == second.digest
    assert whole.config == ViTConfig(48, 3, 3, 96, 16)


def test_random_weights_are_fixed_by_the_seed(checkpoint):
    assert random_checkpoint(TINY, seed=7).digest == checkpoint.digest
    assert random_checkpoint(TINY, seed=8).digest != checkpoint.digest
    assert checkpoint.source == "random"
    # Pinned: results of earlier runs with random weights must stay comparable.
    assert checkpoint.digest.startswith("055dbcfa9810fa8d")
    assert all(np.ptp(array) > 0 for array in model_leaves(checkpoint.model).values())
