"""The backbone that comes with the package: its layout, its size, what it is good for."""

import configparser
import json

import jax
import numpy as np
import pytest
from flax import nnx

from experiments.pretraining import loop
from specjax.models.checkpoints.loading import load_checkpoint, random_checkpoint
from specjax.models.checkpoints.places import BUILT_IN
from specjax.models.config import ViTConfig
from specjax.tokens import IMAGENET_MEAN, IMAGENET_STD
from tests.support.run_binary import ROOT, World, run

FOLDER = BUILT_IN["specjax-mini"]


@pytest.fixture(scope="module")
def checkpoint():
    return load_checkpoint("specjax-mini")


def test_layout(checkpoint):
    assert checkpoint.config == ViTConfig(
        hidden_size=384,
        num_layers=6,
        num_heads=6,
        mlp_size=768,
        patch_size=16,
        image_size=224,
        layer_norm_eps=1e-6,
    )
    assert checkpoint.ignored == ()
    assert (checkpoint.mean, checkpoint.std) == (IMAGENET_MEAN, IMAGENET_STD)
    count = sum(leaf.size for leaf in jax.tree.leaves(nnx.state(checkpoint.model)))
    assert count == 7_475_328
    assert (FOLDER / "model.safetensors").stat().st_size <= 16e6
    fields = json.loads((FOLDER / "config.json").read_text())
    assert fields["model_type"] == "vit"
    assert "seed" in (FOLDER / "README.md").read_text()


def test_it_is_installed_with_the_package():
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg")
    marker, pattern = settings["options.package_data"]["specjax"].split()
    assert marker == "py.typed"
    installed = {path.name for path in (ROOT / "specjax").glob(pattern)}
    assert (
        installed
        == {path.name for path in FOLDER.iterdir()}
        >= {"config.json", "model.safetensors", "preprocessor_config.json", "README.md"}
    )


def test_it_segments_drawn_scenes_that_no_training_saw(checkpoint, monkeypatch):
    # Small scenes of one size: each number of tokens is compiled for anew.
    monkeypatch.setattr(loop, "_SIZES", ((256, 320),))
    colours = (checkpoint.mean, checkpoint.std)
    model = random_checkpoint(checkpoint.config, seed=0).model
    trained, random = (
        loop.spectral_scores(backbone, colours, M=128, N=60, scenes=6)
        for backbone in (checkpoint.model, model)
    )
    assert trained["f_score"] > 0.8 and trained["f_score"] > random["f_score"] + 0.2
    assert trained["miou"] > random["miou"] + 0.15


def test_for_samples_by_default_and_for_others_by_name_only(tmp_path, tmp_path_factory):
    world = World(tmp_path_factory.mktemp("world"))
    voc = ("--dataset=voc", f"--data_dir={world.folder / 'voc'}", "--checkpoint=specjax-mini")
    for name, flags in (("samples", ()), ("voc", voc)):
        finished = run("fgbg", tmp_path / name, "--limit=1", "--image_size=96", *flags)
        assert finished.status == 0 and finished.stderr == ""
        assert finished.summary["backbone"] == "specjax-mini"
        assert np.isfinite(finished.summary["results"][0]["f_score"])
