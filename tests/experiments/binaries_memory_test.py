"""A run in which memory runs out for batches, for one image, or in writing."""

import json
import os
import signal
import subprocess
import sys

import jax
import pytest

from experiments.loop import stream
from tests.support.devices import environment
from tests.support.run_binary import ROOT, contents, read_lines, run

ERROR = jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")


@pytest.fixture
def flags(world):
    return [*world.flags("voc"), "--save=labels", "--batch_size=4"]


def test_smaller_batches(world, flags, tmp_path, monkeypatch):
    """With batches of one image, the results are the same."""
    whole = run("instance", tmp_path / "whole", *flags)
    features_of, sizes = stream.features_of, []

    def limited(inputs, *others):
        sizes.append(len(inputs))
        if len(inputs) > 1:
            raise ERROR
        return features_of(inputs, *others)

    monkeypatch.setattr(stream, "features_of", limited)
    finished = run("instance", tmp_path / "small", *flags)
    assert finished.status == whole.status == 0 and max(sizes) > 1
    assert contents(finished.folder).keys() == contents(whole.folder).keys()
    assert finished.summary["results"] == whole.summary["results"]


@pytest.mark.parametrize("where", ["features_of", "write"])
def test_an_image_that_does_not_fit(world, flags, tmp_path, monkeypatch, where):
    features_of, write = stream.features_of, stream.Writers.write
    bad = "2007_000001"

    def limited(inputs, *others):
        if any(tuple(one.tiling.grid) == (7, 10) for one in inputs):  # of that image alone
            raise ERROR
        return features_of(inputs, *others)

    def limited_write(self, example, *others):
        if example.id == bad:
            raise MemoryError
        return write(self, example, *others)

    if where == "features_of":
        monkeypatch.setattr(stream, "features_of", limited)
    else:
        monkeypatch.setattr(stream.Writers, "write", limited_write)
    finished = run("instance", tmp_path, *flags)
    (failure,) = finished.summary["failures"]
    assert finished.status == 1 and failure["id"] == bad
    assert "does not fit into memory" in failure["error"] and "--image_size" in failure["error"]
    assert {key[0] for key in finished.lines} == {"2007_000000", "2007_000002"}


# No two images fit into memory together, and the first image does not fit alone.
FAILING = """
import runpy, jax
from experiments.loop import stream
features_of, tried = stream.features_of, []
def limited(inputs, *others):
    tried.append([list(one.tiling.grid) for one in inputs])
    if len(inputs) > 1 or tried[-1] == [[7, 8]]:
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")
    return features_of(inputs, *others)
stream.features_of = limited
try:
    runpy.run_module("experiments.instance", run_name="__main__")
finally:
    print([jax.local_device_count(), *tried])
"""


def test_several_devices(world, flags, tmp_path):
    whole = run("instance", tmp_path / "whole", *flags)
    folder = tmp_path / "out"
    ended = subprocess.run(
        [sys.executable, "-c", FAILING, f"--output_dir={folder}", *map(str, flags)],
        cwd=ROOT,
        env={**os.environ, **environment(2)},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 1, ended.stderr
    count, *tried = json.loads(ended.stdout.splitlines()[-1])
    assert count == 2
    # All have one padded length.
    assert tried[0] == [[7, 8], [7, 10], [8, 7]]
    assert [batch for batch in tried if len(batch) == 1] == [[[7, 8]], [[7, 10]], [[8, 7]]]
    (failure,) = json.loads((folder / "summary.json").read_text())["failures"]
    assert failure["id"] == "2007_000000" and "does not fit into memory" in failure["error"]
    found = read_lines(folder)
    assert found == {key: whole.lines[key] for key in whole.lines if key[0] != "2007_000000"}


# Is killed when it computes features of the second image.
KILLED = """
import os, runpy, signal, sys
from experiments.loop import stream
features_of = stream.features_of
def features_or_die(inputs, *others):
    if any(tuple(one.tiling.grid) == (7, 10) for one in inputs):
        os.kill(os.getpid(), signal.SIGKILL)
    return features_of(inputs, *others)
stream.features_of = features_or_die
runpy.run_module("experiments.instance", run_name="__main__")
"""


def test_an_image_that_kills_the_process(flags, tmp_path):
    for _ in range(2):
        ended = subprocess.run(
            [sys.executable, "-c", KILLED, f"--output_dir={tmp_path}", *map(str, flags)],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        assert ended.returncode == -signal.SIGKILL, ended.stderr
    # Here nothing would kill the process: the image is passed over.
    passed_over = run("instance", tmp_path, *flags)
    assert passed_over.status == 1
    assert (
        "skipped 2007_000001: the process was killed twice while this image was in work"
        in passed_over.stderr
    )
    finished = run("instance", tmp_path, *flags)
    (failure,) = finished.summary["failures"]
    assert failure["id"] == "2007_000001"
    assert {key[0] for key in finished.lines} == {"2007_000000", "2007_000002"}
    assert run("instance", tmp_path, *flags, "--overwrite").status == 0
