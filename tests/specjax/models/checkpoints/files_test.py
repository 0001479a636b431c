"""Files of weights and configs: damaged, hostile, or of something else."""

import json
import math

import numpy as np
import pytest

from specjax.models.checkpoints.loading import load_checkpoint
from tests.support.checkpoint_files import refuse, save
from tests.support.torch_files import call, global_


def test_colours(tmp_path, tensors):
    save(tmp_path, tensors)
    assert load_checkpoint(tmp_path).mean == (0.485, 0.456, 0.406)
    assert load_checkpoint(tmp_path).std == (0.229, 0.224, 0.225)
    file = tmp_path / "preprocessor_config.json"
    file.write_text(json.dumps({"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.25, 1]}))
    assert load_checkpoint(tmp_path).mean == (0.5, 0.5, 0.5)
    assert load_checkpoint(tmp_path).std == (0.5, 0.25, 1.0)
    file.write_text(json.dumps({"do_normalize": False, "image_mean": [0.5, 0.5, 0.5]}))
    assert load_checkpoint(tmp_path).std == (1.0, 1.0, 1.0)
    for bad in ([0.5], [0.5, 0.5, 0], [0.5, 0.5, math.nan], "half", [0.5, 0.5, 10**400]):
        file.write_text(json.dumps({"image_std": bad}))
        refuse(tmp_path, file, "std")
    file.write_text("{")
    refuse(tmp_path, file, "JSON")
    file.unlink()
    timm = {"model_args": {"num_heads": 1}, "pretrained_cfg": {"mean": [0, 0, 0], "std": [1, 2, 3]}}
    save(tmp_path, tensors, config=timm)
    assert load_checkpoint(tmp_path).std == (1.0, 2.0, 3.0)


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_truncated_files(tmp_path, tensors, name):
    path = save(tmp_path, tensors, name)
    whole = path.read_bytes()
    for length in (0, 5, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        refuse(tmp_path, path)


def test_a_hostile_file_is_not_executed(tmp_path, tensors):
    marker = tmp_path / "executed"
    bad = call(global_("os", "system"), f"touch {marker}")
    refuse(save(tmp_path, bad, "pytorch_model.bin"), "os.system", "nothing was executed")
    # Beside weights it is passed over.
    load_checkpoint(save(tmp_path, {**tensors, "bad": bad}, "pytorch_model.bin"))
    assert not marker.exists()


def test_things_that_are_no_state_dict(tmp_path):
    refuse(save(tmp_path, {"epoch": 3}, "a.pth"), "a.pth", "epoch")
    refuse(save(tmp_path, {}, "b.pth"), "b.pth")
    refuse(save(tmp_path, np.ones(3, np.float32), "c.pth"), "c.pth", "state dict")
