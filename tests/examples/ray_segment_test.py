"""Segmentation by Ray workers, beside one process; skipped where Ray is not installed."""

import importlib.util
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

import specjax
from specjax.overlay import indexed_png
from tests.support.run_binary import ROOT

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray is not installed (the extra 'ray')"
)


@pytest.fixture(scope="module")
def photos(world, tmp_path_factory):
    """A folder of twelve photographs, of which one is broken."""
    folder = tmp_path_factory.mktemp("photos")
    for number in range(4):
        for path in world.photos.iterdir():
            shutil.copy(path, folder / f"{path.stem}_{number}.jpg")
    broken = folder / "2007_000001_1.jpg"
    broken.write_bytes(broken.read_bytes()[:200])
    return folder


@pytest.fixture(scope="module")
def expected(world, photos):
    """The label map of each photograph in one process."""
    checkpoint = world.checkpoint.removeprefix("--checkpoint=")
    segmenter = specjax.Segmenter(checkpoint, image_size=112, N=16)
    found = segmenter.stream(sorted(photos.iterdir()), 3)
    return {
        path.stem: one.labels for path, one in found if not isinstance(one, specjax.SpecjaxError)
    }


def start(world, photos, output):
    checkpoint = world.checkpoint.removeprefix("--checkpoint=")
    command = [sys.executable, "-m", "examples.ray_segment", photos, output, "--num_instances=3"]
    command += ["--workers=2", f"--checkpoint={checkpoint}", "--image_size=112"]
    return subprocess.Popen(
        list(map(str, command)),
        cwd=ROOT,
        env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def assert_complete(output, expected):
    assert {path.stem for path in output.glob("*.png")} == expected.keys()
    for path in output.glob("*.png"):
        with Image.open(path) as labels:
            np.testing.assert_array_equal(np.asarray(labels), expected[path.stem])


def workers_of(process):
    """Processes of the run that have begun to segment: actors named after the class."""
    found = []
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes()
        except (OSError, ValueError):  # gone meanwhile
            continue
        if b"ray::" in command and b"MapBatches(Worker)" in command:
            found.append(int(folder.name))
    return found


def test_workers_give_what_one_process_gives(world, photos, expected, tmp_path):
    """Though one is killed, and another takes its place; what is there is not done again."""
    output = tmp_path / "out"
    output.mkdir()
    done = sorted(expected)[::4]
    for name in done:
        indexed_png(expected[name]).save(output / f"{name}.png")
    stamps = {name: (output / f"{name}.png").stat().st_mtime_ns for name in done}
    process = start(world, photos, output)
    deadline = time.monotonic() + 240
    while not (workers := workers_of(process)) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(workers[0], signal.SIGKILL)
    _, stderr = process.communicate(timeout=300)
    assert process.returncode == 1, stderr
    assert "skipped 2007_000001_1: " in stderr and "Traceback" not in stderr
    assert_complete(output, expected)
    assert stamps == {name: (output / f"{name}.png").stat().st_mtime_ns for name in done}
