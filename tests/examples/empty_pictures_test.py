"""Pictures without an object: every kind, the same each time, as files."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from examples import empty_pictures
from tests.support.run_binary import ROOT


@pytest.mark.parametrize("kind", empty_pictures.KINDS)
def test_a_picture_is_the_same_each_time_and_the_next_one_another(kind):
    first, again, second = (np.asarray(empty_pictures.draw(kind, n)) for n in (0, 0, 1))
    assert first.shape == (336, 448, 3) and first.dtype == np.uint8
    np.testing.assert_array_equal(first, again)
    assert (first != second).any()


def test_kinds_differ_in_how_much_varies():
    deviation = {
        kind: np.mean([np.asarray(empty_pictures.draw(kind, n)).std(axis=(0, 1)) for n in range(4)])
        for kind in empty_pictures.KINDS
    }
    assert deviation["flat"] < 4 < min(deviation[kind] for kind in deviation if kind != "flat")
    assert max(deviation, key=deviation.get) == "noise"


def test_the_command_writes_the_pictures(tmp_path):
    program = [sys.executable, "-m", "examples.empty_pictures"]
    arguments = [tmp_path, "--kinds=skies,flat", "--count=2"]
    subprocess.run([*program, *arguments], cwd=ROOT, check=True, timeout=100)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["flat-00.png", "flat-01.png", "skies-00.png", "skies-01.png"]
    with Image.open(tmp_path / "skies-01.png") as written:
        np.testing.assert_array_equal(written, empty_pictures.draw("skies", 1))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [((), "give the folder to write to"), (("out", "--kinds=flat,dogs"), "--kinds=dogs: choose")],
)
def test_mistakes_are_one_line(arguments, words, tmp_path):
    program = [sys.executable, "-m", "examples.empty_pictures", *arguments]
    ended = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert ended.returncode == 2 and ended.stderr.startswith(f"error: {words}")
    assert len(ended.stderr.splitlines()) == 1
