"""The training loop and its binary: learning, resuming, devices, the checkpoint that is written."""

import itertools
import json
import os
import subprocess
import sys

import jax
import numpy as np
import pytest
from flax import nnx
from PIL import Image

from experiments.pretraining import loop
from experiments.pretraining.scene_objective import SceneObjective
from experiments.pretraining.training import Batch, Trainer
from specjax.errors import SpecjaxError
from specjax import IMAGENET_MEAN, IMAGENET_STD
from specjax.models.checkpoints.loading import load_checkpoint
from specjax.models.config import ViTConfig
from specjax.models.vit import ViT
from tests.support.run_binary import ROOT

TINY = ViTConfig(
    hidden_size=48, num_layers=2, num_heads=3, mlp_size=48, patch_size=16, image_size=64
)


def tiny_batch(seed=0, images=2):
    rng = np.random.default_rng(seed)
    arrays = (
        rng.normal(size=(images, 4, 768)).astype(np.float32),
        rng.integers(0, 3, (images, 4)).astype(np.int32),
        rng.random((images, 4, 3)).astype(np.float32),
    )
    return Batch(arrays, (2, 2))


def new_trainer():
    objective = SceneObjective(ViT(TINY, rngs=nnx.Rngs(0)))
    return Trainer(objective, steps=8, learning_rate=3e-3)


@jax.numpy_dtype_promotion("standard")  # optax relies on it
def test_training_learns_and_a_restored_state_goes_on_alike(tmp_path):
    whole = new_trainer()
    losses = [whole.step(tiny_batch()) for _ in range(4)]
    whole.save(tmp_path / "state.npz")
    losses += [whole.step(tiny_batch()) for _ in range(4)]
    assert losses[-1] < losses[0]

    resumed = new_trainer()
    assert resumed.restore(tmp_path / "state.npz") == 4
    assert [resumed.step(tiny_batch()) for _ in range(4)] == losses[4:]


def test_a_state_of_something_else_is_refused(tmp_path):
    np.savez(tmp_path / "state.npz", step=3)
    with pytest.raises(SpecjaxError, match="not a training state"):
        new_trainer().restore(tmp_path / "state.npz")
    (tmp_path / "state.npz").write_bytes(b"nonsense")
    with pytest.raises(SpecjaxError, match="not a training state"):
        new_trainer().restore(tmp_path / "state.npz")


def test_another_training_is_refused(tmp_path):
    (tmp_path / "training.json").write_text(json.dumps({"steps": 1}))
    with pytest.raises(SpecjaxError, match="--steps was 1"):
        loop._resume(tmp_path, {"steps": 2}, None, overwrite=False)
    (tmp_path / "training.json").write_text("{")
    with pytest.raises(SpecjaxError, match="damaged"):
        loop._resume(tmp_path, {"steps": 2}, None, overwrite=False)


class Batches:
    """A stream that breaks off before a step."""

    def __init__(self, breaks_before=None):
        self.breaks_before = breaks_before

    def batches(self, start):
        for step in itertools.count(start + 1):
            if step == self.breaks_before:
                raise KeyboardInterrupt
            yield tiny_batch(step)


def train(folder, stream, **changes):
    options = dict(
        steps=8, log_every=2, save_every=3, validate_every=100, validation_scenes=1,
        colours=(IMAGENET_MEAN, IMAGENET_STD), overwrite=False,
    )  # fmt: skip
    loop.train(new_trainer(), stream, folder, {"steps": 8}, **{**options, **changes})


@jax.numpy_dtype_promotion("standard")
def test_an_interrupted_training_ends_alike(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "spectral_scores", lambda *_, **__: {"miou": 0.5})
    train(tmp_path / "whole", Batches())
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "cut", Batches(breaks_before=6))
    assert [line["step"] for line in log(tmp_path / "cut")] == [2, 4]
    assert not (tmp_path / "cut" / "model.safetensors").exists()
    # It goes on after step 3, the last that was saved.
    train(tmp_path / "cut", Batches(breaks_before=3))
    for name in ("model.safetensors", "config.json", "training.json"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert [line["step"] for line in log(tmp_path / "cut")] == [2, 4, 6, 8, 8]
    train(tmp_path / "cut", Batches(), overwrite=True)
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")


def pretrain(folder, *flags, devices=1):
    command = [sys.executable, "-m", "experiments.pretrain", f"--output_dir={folder}"]
    small = ["--validation_scenes=1", "--log_every=1", "--save_every=2", "--seed=3"]
    xla = f"--xla_force_host_platform_device_count={devices}"
    environment = {**os.environ, "XLA_FLAGS": xla}
    return subprocess.run(
        [*command, *small, *flags], cwd=ROOT, env=environment, capture_output=True, text=True
    )


def log(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def losses(folder):
    return [line["loss"] for line in log(folder) if "loss" in line]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for number in range(5):
        pixels = rng.integers(0, 256, (40, 60, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def dino_flags(photos):
    sizes = ["--batch_size=2", "--small_crops=1", "--large_side=32", "--small_side=16"]
    shape = ["--layers=2", "--hidden_size=24", "--mlp_size=24", "--prototypes=16"]
    return ["--objective=dino", f"--data_dir={photos}", *sizes, *shape]


@pytest.fixture(scope="module")
def whole(dino_flags, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    finished = pretrain(folder, "--steps=4", *dino_flags)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout == f"{folder}\n"
    return folder


def test_dino_writes_a_checkpoint_and_its_log(whole):
    assert len(losses(whole)) == 4 and np.isfinite(losses(whole)).all()
    scores = log(whole)[-1]
    assert scores["step"] == 4 and 0 <= scores["miou"] <= 1 and 0 <= scores["f_score"] <= 1
    checkpoint = load_checkpoint(whole)
    assert checkpoint.config.hidden_size == 24 and checkpoint.config.num_layers == 2


def test_several_devices_give_the_same_losses(whole, dino_flags, tmp_path):
    finished = pretrain(tmp_path, "--steps=4", *dino_flags, devices=2)
    assert finished.returncode == 0, finished.stderr
    np.testing.assert_allclose(losses(tmp_path), losses(whole), rtol=1e-4)


def test_init_goes_on_from_a_checkpoint(whole, photos, tmp_path):
    finished = pretrain(
        tmp_path, "--steps=1", "--objective=dino", f"--data_dir={photos}", f"--init={whole}",
        "--batch_size=2", "--small_crops=0", "--large_side=32", "--prototypes=16",
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    settings = json.loads((tmp_path / "training.json").read_text())
    assert settings["init"] == load_checkpoint(whole).digest and "layers" not in settings


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--objective=dino"], ["--data_dir", "together"]),
        (["--data_dir=somewhere"], ["--data_dir", "together"]),
        (["--objective=dino", "--data_dir=nowhere"], ["nowhere"]),
        (["--hidden_size=25"], ["--hidden_size=25", "6"]),
        (["--init=nowhere/"], ["nowhere"]),
        (["stray"], ["stray", "--data_dir"]),
    ],
)
def test_mistakes_get_one_line(flags, words, tmp_path):
    finished = pretrain(tmp_path / "out", *flags)
    assert finished.returncode == 2 and finished.stdout == ""
    (line,) = finished.stderr.splitlines()
    assert line.startswith("error: ") and all(word in line for word in words)
    assert not (tmp_path / "out").exists()


def test_a_side_that_is_no_multiple_of_the_patch(photos, tmp_path):
    flags = ["--objective=dino", f"--data_dir={photos}", "--small_side=100"]
    finished = pretrain(tmp_path / "out", *flags)
    assert finished.returncode == 2 and "--small_side=100" in finished.stderr
