"""The training loop and its binary: learning, resuming, devices, the checkpoint that is written."""

import dataclasses
import itertools
import json
import shutil
import time

import jax
import numpy as np
import pytest
from flax import nnx
from PIL import Image

from experiments.pretraining import loop
from experiments.pretraining.loop import Training
from experiments.pretraining.scene_objective import SceneObjective
from experiments.pretraining.training import Batch, Trainer
from specjax import IMAGENET_MEAN, IMAGENET_STD, SpecjaxError, ViT, ViTConfig, load_checkpoint
from tests.support.devices import environment
from tests.support.run_binary import assert_refused, finish, run, start

TINY = ViTConfig(
    hidden_size=48, num_layers=2, num_heads=3, mlp_size=48, patch_size=16, image_size=64
)


@pytest.fixture(autouse=True, scope="module")
def _usual_promotion():
    """Optax relies on it."""
    with jax.numpy_dtype_promotion("standard"):
        yield


def tiny_batch(seed=0, images=2):
    rng = np.random.default_rng(seed)
    arrays = (
        rng.normal(size=(images, 4, 768)).astype(np.float32),
        rng.integers(0, 3, (images, 4)).astype(np.int32),
        rng.random((images, 4, 3)).astype(np.float32),
    )
    return Batch(arrays, (2, 2))


def new_objective():
    return SceneObjective(ViT(TINY, rngs=nnx.Rngs(0)))


def new_trainer():
    return Trainer(new_objective(), steps=8, learning_rate=3e-3)


def test_training_learns_and_a_restored_state_continues_in_the_same_way(tmp_path):
    whole = new_trainer()
    losses = [whole.step(tiny_batch()) for _ in range(4)]
    whole.save(tmp_path / "state.npz")
    losses += [whole.step(tiny_batch()) for _ in range(4)]
    assert losses[-1] < losses[0]

    resumed = new_trainer()
    assert resumed.restore(tmp_path / "state.npz") == 4
    assert [resumed.step(tiny_batch()) for _ in range(4)] == losses[4:]


def test_a_state_of_something_else_is_refused(tmp_path):
    path, trainer = tmp_path / "state.npz", new_trainer()
    trainer.save(path)
    whole = path.read_bytes()
    np.savez(path, step=3)
    damaged = [path.read_bytes(), b"nonsense", b"", whole[: len(whole) // 2]]
    for content in damaged:
        path.write_bytes(content)
        with pytest.raises(SpecjaxError, match=r"not a training state.*--overwrite"):
            trainer.restore(path)
    path.write_bytes(whole)
    other = ViT(dataclasses.replace(TINY, hidden_size=24), rngs=nnx.Rngs(0))
    with pytest.raises(SpecjaxError, match="another model"):
        Trainer(SceneObjective(other), steps=8, learning_rate=3e-3).restore(path)
    assert trainer.restore(path) == 0


def test_another_training_is_refused(tmp_path):
    (tmp_path / "training.json").write_text(json.dumps({"steps": 1}))
    with pytest.raises(SpecjaxError, match="steps was 1, now 8"):
        train(tmp_path, Batches())
    (tmp_path / "training.json").write_text("{")
    with pytest.raises(SpecjaxError, match="damaged"):
        train(tmp_path, Batches())


class Batches:
    """A stream that breaks off before a step."""

    def __init__(self, breaks_before=None):
        self.breaks_before = breaks_before

    def batches(self, start):
        for step in itertools.count(start + 1):
            if step == self.breaks_before:
                raise KeyboardInterrupt
            yield tiny_batch(step)


def train(folder, stream, *, overwrite=False):
    training = Training(
        new_objective(),
        stream,
        held_out=None,
        steps=8,
        learning_rate=3e-3,
        colours=(IMAGENET_MEAN, IMAGENET_STD),
        settings={"steps": 8},
    )
    every = {"log_every": 2, "save_every": 3, "validate_every": 100, "validation_scenes": 1}
    loop.train(training, folder, **every, overwrite=overwrite)


def test_an_interrupted_training_ends_in_the_same_way(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "spectral_scores", lambda *_, **__: {"miou": 0.5})
    train(tmp_path / "whole", Batches())
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "cut", Batches(breaks_before=6))
    assert [line["step"] for line in log(tmp_path / "cut")] == [2, 4]
    assert not (tmp_path / "cut" / "model.safetensors").exists()
    # It continues after step 3, the last that was saved.
    train(tmp_path / "cut", Batches(breaks_before=3))
    for name in ("model.safetensors", "config.json", "training.json"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert [line["step"] for line in log(tmp_path / "cut")] == [2, 4, 6, 8, 8]
    train(tmp_path / "cut", Batches(), overwrite=True)
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")


class Slow:
    """A loss that is there 0.4 s after it is used, as that of a device at work."""

    def __add__(self, other):
        time.sleep(0.4)
        return 0.0


def test_the_logged_time_of_a_step_includes_its_computation(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "spectral_scores", lambda *_, **__: {"miou": 0.5})
    monkeypatch.setattr(Trainer, "step", lambda *_: Slow())
    train(tmp_path, Batches())
    assert all(line["seconds_per_step"] >= 0.2 for line in log(tmp_path)[:-1])


SMALL = ["--validation_scenes=1", "--log_every=1", "--save_every=2", "--seed=3"]


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
    finished = run("pretrain", folder, "--steps=4", *SMALL, *dino_flags)
    assert finished.status == 0, finished.stderr
    assert finished.stdout == f"{folder}\n"
    return folder


def test_dino_writes_a_checkpoint_and_its_log(whole):
    assert len(losses(whole)) == 4 and np.isfinite(losses(whole)).all()
    scores = log(whole)[-1]
    assert scores["step"] == 4 and 0 <= scores["miou"] <= 1 and 0 <= scores["f_score"] <= 1
    checkpoint = load_checkpoint(whole)
    assert checkpoint.config.hidden_size == 24 and checkpoint.config.num_layers == 2


def test_a_finished_training_is_not_repeated_and_another_one_is_refused(whole, dino_flags):
    before = (whole / "log.jsonl").read_bytes(), (whole / "model.safetensors").read_bytes()
    finished = run("pretrain", whole, "--steps=4", *SMALL, *dino_flags)
    assert finished.status == 0, finished.stderr
    assert_refused(
        run("pretrain", whole, "--steps=5", *SMALL, *dino_flags),
        whole,
        "steps was 4, now 5",
        "--output_dir",
    )
    assert before == (
        (whole / "log.jsonl").read_bytes(),
        (whole / "model.safetensors").read_bytes(),
    )


def test_several_devices_give_the_same_losses(whole, dino_flags, tmp_path):
    process = start("pretrain", tmp_path, "--steps=4", *SMALL, *dino_flags, **environment(2))
    finished = finish(process, tmp_path)
    assert finished.status == 0, finished.stderr
    np.testing.assert_allclose(losses(tmp_path), losses(whole), rtol=1e-4)


def test_init_goes_on_from_a_checkpoint(whole, photos, tmp_path):
    dino = ["--objective=dino", f"--data_dir={photos}", f"--init={whole}", "--batch_size=2"]
    crops = ["--small_crops=0", "--large_side=32", "--prototypes=16"]
    finished = run("pretrain", tmp_path, "--steps=1", *SMALL, *dino, *crops)
    assert finished.status == 0, finished.stderr
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
        (["--init="], ["--init is empty"]),
        (["stray"], ["stray", "--data_dir"]),
    ],
)
def test_mistakes_get_one_line(flags, words, tmp_path):
    assert_refused(run("pretrain", tmp_path / "out", *flags), *words)
    assert not (tmp_path / "out").exists()


def test_a_side_that_is_no_multiple_of_the_patch(photos, tmp_path):
    flags = ["--objective=dino", f"--data_dir={photos}", "--small_side=100"]
    assert_refused(run("pretrain", tmp_path / "out", *flags), "--small_side=100")


def test_scenes_train_models_of_their_own_patch_and_colours_only(whole, tmp_path):
    folder = tmp_path / "checkpoint"
    shutil.copytree(whole, folder)
    fields = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").write_text(
        json.dumps({**fields, "image_mean": [0.5, 0.5, 0.5]})
    )
    assert_refused(run("pretrain", tmp_path / "out", f"--init={folder}"), "ImageNet's mean")
