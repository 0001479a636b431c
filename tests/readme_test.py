"""The README's commands and its example are what they say."""

import pathlib
import re

import numpy as np
import pytest
from PIL import Image

from experiments.datasets import NAMES
from tests.support.tiny_checkpoint import write_checkpoint

README = (pathlib.Path(__file__).parents[1] / "README.md").read_text()


def test_example_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_checkpoint(tmp_path / "dino-vits16")
    pixels = np.random.default_rng(0).integers(0, 256, (70, 100, 3), np.uint8)
    Image.fromarray(pixels).save("photo.jpg")
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names = {}
    exec(code, names)
    assert names["labels"].shape == (4, 6)
    assert names["entropy"].shape == names["features"].shape[1:]
    assert names["pairs"].values[0] == 0


@pytest.mark.parametrize("marker", ["main job", "tests"])
def test_command_lines_make_their_own_environment(marker):
    (line,) = re.findall(rf"<!-- {marker} -->\n```sh\n(.*)\n```", README)
    assert line.startswith("python3 -m venv .venv && .venv/bin/pip install -q -r requirements.txt")


def test_every_dataset_is_described():
    for name in NAMES:
        assert f"| `{name}` |" in README


def test_pictures_exist():
    for path in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", README):
        assert (pathlib.Path(__file__).parents[1] / path).is_file(), path
