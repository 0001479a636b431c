"""The package that is installed is whole, and segments photographs without a checkout."""

import json
import os
import pathlib
import pkgutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import specjax
from tests.support.tiny_datasets import scenes

ROOT = pathlib.Path(__file__).resolve().parents[1]
IMPORT_ALL = """
import importlib, pkgutil, specjax
found = [module.name for module in pkgutil.walk_packages(specjax.__path__, "specjax.")]
for name in found:
    importlib.import_module(name)
print(specjax.__file__, *found)
print(specjax.load_checkpoint("specjax-mini").config.hidden_size)
"""


TWO_LINES = """
import specjax
segmenter = specjax.Segmenter(image_size=112)
found = segmenter("photo.png", num_instances=2)
found.overlay().save("seen.png")
print(found.labels.shape, found.labels.max())
"""


def pip(*arguments):
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *map(str, arguments)]
    finished = subprocess.run(command, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The folder of a fresh installation."""
    tmp_path = tmp_path_factory.mktemp("wheel")
    # Built from a copy: setuptools leaves its remains where it builds.
    source = tmp_path / "source"
    files = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in files.stdout.split("\0"):
        if name and (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).symlink_to(ROOT / name)
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", tmp_path, source)
    (wheel,) = tmp_path.glob("*.whl")
    pip("install", "--no-deps", "--target", tmp_path / "installed", wheel)
    return tmp_path / "installed"


def run_python(installed, *arguments, cwd):
    """What Python prints, and what it says on standard error, with the installed package."""
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    finished = subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=environment, capture_output=True, text=True
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout, finished.stderr


def test_the_wheel_is_whole(installed, tmp_path):
    modules, channels = run_python(installed, "-c", IMPORT_ALL, cwd=tmp_path)[0].splitlines()
    file, *found = modules.split()
    assert pathlib.Path(file).is_relative_to(installed)
    walked = pkgutil.walk_packages(specjax.__path__, "specjax.")
    assert sorted(found) == sorted(module.name for module in walked)
    assert channels == "384"
    others = {path.name for path in installed.iterdir()}
    assert not others & {"tests", "experiments", "examples"}
    assert (installed / "bin" / "specjax").is_file()


def test_it_segments_a_photograph(installed, tmp_path):
    """By the command and by the two lines, in another folder, with the built-in backbone."""
    _, (photograph, _), _ = scenes()
    Image.fromarray(photograph).save(tmp_path / "photo.png")
    command = ("-m", "specjax", "photo.png", "--num_instances=2", "--image_size=112")
    stdout, stderr = run_python(installed, *command, cwd=tmp_path)
    (note,) = stderr.splitlines()
    assert "specjax-mini" in note
    assert stdout.startswith("1 of 1 photographs are in specjax-out\n")
    (image,) = json.loads((tmp_path / "specjax-out" / "coco.json").read_text())["images"]
    assert (image["height"], image["width"]) == photograph.shape[:2]
    stdout, _ = run_python(installed, "-c", TWO_LINES, cwd=tmp_path)
    with Image.open(tmp_path / "specjax-out" / "labels" / "photo.png") as labels:
        assert np.asarray(labels).max() == 2
    assert stdout == f"{photograph.shape[:2]} 2\n"
    with (
        Image.open(tmp_path / "seen.png") as seen,
        Image.open(tmp_path / "specjax-out" / "overlays" / "photo.png") as overlay,
    ):
        np.testing.assert_array_equal(np.asarray(seen), np.asarray(overlay))
