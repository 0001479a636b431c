"""Every family against `transformers`: keys, queries, values and outputs of every block."""

import json

import pytest

from examples.check_transformers import FAMILIES, GRIDS, errors, random_images, random_model
from experiments.datasets import samples
from specjax import load_checkpoint
from specjax.models.checkpoints.places import BUILT_IN

pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module", params=FAMILIES)
def models(request, tmp_path_factory):
    """A model of transformers, the folder that it saves, and what is loaded from that."""
    reference = random_model(request.param)
    folder = tmp_path_factory.mktemp("saved")
    reference.save_pretrained(folder)
    return reference, folder, load_checkpoint(folder)


def test_every_block_agrees(models):
    reference, _, checkpoint = models
    grids = []
    for grid, found in errors(reference, checkpoint, random_images(14)):
        grids.append(grid)
        assert 0 < max(found.values()) < 1e-4, (grid, found)
    assert tuple(grids) == GRIDS


def test_names_in_memory_are_read_like_those_on_disk(models, tmp_path):
    import safetensors.torch

    reference, _, checkpoint = models
    reference.config.save_pretrained(tmp_path)
    tensors = {name: tensor.contiguous() for name, tensor in reference.state_dict().items()}
    safetensors.torch.save_file(tensors, tmp_path / "model.safetensors")
    assert load_checkpoint(tmp_path).digest == checkpoint.digest


def test_the_config_of_a_file_alone(models, tmp_path):
    """Family, sizes and rotary positions show in the tensors; heads of 16 channels must be said."""
    _, folder, checkpoint = models
    weights = (folder / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(weights)
    (tmp_path / "config.json").write_text(json.dumps({"num_attention_heads": 3}))
    found = load_checkpoint(tmp_path / "model.safetensors").config
    for name in ("hidden_size", "num_layers", "num_heads", "mlp_size", "patch_size", "qkv_bias"):
        assert getattr(found, name) == getattr(checkpoint.config, name), name
    for name in ("key_bias", "gated_mlp", "num_registers", "rope_theta"):
        assert getattr(found, name) == getattr(checkpoint.config, name), name
    if "dino" in checkpoint.config.family:
        assert found.family == checkpoint.config.family


def test_the_built_in_weights_agree():
    _compare(BUILT_IN["specjax-mini"])


def test_real_weights_of_dinov2_agree(shared_checkpoints):
    _compare(shared_checkpoints / "dinov2-small")


def _compare(folder):
    import torch

    reference = transformers.AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    image = next(iter(samples.records())).read_image()
    for grid, found in errors(reference, load_checkpoint(folder), iter([image])):
        assert 0 < max(found.values()) < 1e-4, (grid, found)
