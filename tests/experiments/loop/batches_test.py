"""Runs in batches: which images share one, and that results do not depend on it."""

import itertools
import os
import pathlib
import subprocess
import sys
import types

import numpy as np
import pytest
from PIL import Image

from experiments.benchmarking.clock import Compilations
from experiments.datasets.records import Record
from experiments.loop import reading
from experiments.loop.reading import Task
from specjax import SpecjaxError
from specjax._batching import open_lanes
from tests.support.devices import environment
from tests.support.run_binary import ROOT, finish, read_lines, run, start

ONE_PART = "--xla_cpu_parallel_codegen_split_count=1"
SIZES = [(112, 128), (128, 112), (150, 112), (96, 200), (260, 112), (112, 240), (112, 130)]


def photographs(world, folder, sizes):
    """Crops of one of the world's photographs, of these heights and widths."""
    folder.mkdir()
    with Image.open(sorted(world.photos.iterdir())[0]) as photo:
        for number, (height, width) in enumerate(sizes):
            photo.resize((width + number, height)).save(folder / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def flags(world, tmp_path_factory):
    folder = photographs(world, tmp_path_factory.mktemp("photos") / "mixed", SIZES)
    return ["--dataset=folder", f"--data_dir={folder}", world.checkpoint, "--N=16",
            "--num_instances=3", "--save=labels,coco,features"]  # fmt: skip


@pytest.fixture(scope="module")
def whole(flags, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    assert run("instance", folder, *flags).status == 0
    return folder


def files(folder):
    """What must not depend on how images were batched."""
    names = ["per_image.jsonl", "segments.jsonl", "coco_results.json"]
    for number in range(len(SIZES)):
        names += [f"labels/{number}.png", f"features/{number}.npz"]
    return {name: (folder / name).read_bytes() for name in names}


def test_batches_of_one_change_no_byte(flags, tmp_path):
    """In a process without the flags by which the tests compile faster.

    Under them XLA may round otherwise in a program of one image than in one of several.
    """
    one, several = tmp_path / "one", tmp_path / "several"
    code = (
        "import sys; from tests.support.run_binary import run; one, several, *flags = sys.argv[1:];"
        "assert run('instance', one, *flags, '--batch_size=1').status == 0;"
        "assert run('instance', several, *flags).status == 0"
    )
    command = [sys.executable, "-c", code, one, several, *flags]
    subprocess.run(command, cwd=ROOT, env={**os.environ, "XLA_FLAGS": ONE_PART}, check=True)
    assert files(one) == files(several)


@pytest.mark.parametrize("size", [2, 7])
def test_the_batch_size_changes_no_byte(flags, whole, tmp_path, size):
    assert run("instance", tmp_path, *flags, f"--batch_size={size}").status == 0
    assert files(tmp_path) == files(whole)


def test_the_order_changes_no_line(world, flags, whole, tmp_path):
    (source,) = [flag.removeprefix("--data_dir=") for flag in flags if "data_dir" in flag]
    paths = [str(pathlib.Path(source) / f"{number}.png") for number in (5, 1, 6, 0, 3, 2, 4)]
    (tmp_path / "paths.txt").write_text("\n".join(paths))
    turned = [flag for flag in flags if "data_dir" not in flag]
    finished = run("instance", tmp_path / "out", *turned, f"--data_dir={tmp_path}/paths.txt")
    assert [key[0] for key in finished.lines] == ["5", "1", "6", "0", "3", "2", "4"]
    assert finished.lines == read_lines(whole)


def test_several_devices_change_no_line(flags, whole, tmp_path):
    finished = finish(start("instance", tmp_path, *flags, **environment(3)), tmp_path)
    assert finished.status == 0, finished.stderr
    assert files(tmp_path) == files(whole)


def test_one_program_serves_all_sizes_of_a_length(world, tmp_path):
    """Programs are compiled for padded lengths and batch sizes, not for images."""
    common = ["--dataset=folder", world.checkpoint, "--N=16", "--num_instances=3", "--save="]
    first = photographs(world, tmp_path / "first", SIZES[:3])
    others = photographs(world, tmp_path / "others", [(117 + 3 * n, 160 - 7 * n) for n in range(9)])
    assert run("instance", tmp_path / "a", *common, f"--data_dir={first}").status == 0
    compilations = Compilations()
    assert run("instance", tmp_path / "b", *common, f"--data_dir={others}").status == 0
    assert len(read_lines(tmp_path / "b")) == 9
    assert compilations.count == 0
    # One more length: the programs of the backbone, both stages, and the scores.
    longer = photographs(world, tmp_path / "longer", [(16 * 17, 16 * 18)])
    assert run("instance", tmp_path / "c", *common, f"--data_dir={longer}").status == 0
    assert 0 < compilations.count < 20


def tasks(tokens):
    """Records whose images have these numbers of tokens; None for one that cannot be read."""
    return [Task(n, Record(str(n), str(n), None, None), ("boc",)) for n in range(len(tokens))]


def gathered(tokens, batch_size, nbytes=1, alone=False):
    """The records of each batch, and of those that failed."""
    failed = []

    def read(task):
        count = tokens[task.place]
        if count is None:
            raise SpecjaxError("no image")
        return types.SimpleNamespace(
            place=task.place, tokens=count, undone=task.undone, alone=False, nbytes=nbytes
        )

    batches = reading.batches(
        tasks(tokens), read, open_lanes(batch_size), lambda place, *_: failed.append(place)
    )
    return [[example.place for example in batch] for batch in batches], failed


def test_images_of_a_length_meet():
    tokens = [256, 512, 256, None, 512, 512, 256, 768]
    assert gathered(tokens, 2) == ([[0, 2], [1, 4], [5], [6], [7]], [3])
    assert gathered(tokens, 3) == ([[1, 4, 5], [0, 2, 6], [7]], [3])
    assert gathered(tokens, 1) == ([[n] for n in (0, 1, 2, 4, 5, 6, 7)], [3])


def test_few_images_wait():
    """The fullest group goes before it is full, where too many wait."""
    tokens = [256 * (1 + n) for n in range(9)] + [256]
    groups, _ = gathered(tokens, 2)
    assert groups[0] == [0] and sorted(itertools.chain(*groups)) == list(range(10))
    assert max(np.diff([0, *[max(group) for group in groups]])) <= 9


def test_few_large_images_wait():
    tokens = [256 * (1 + n % 20) for n in range(60)]
    assert [len(group) for group in gathered(tokens, 16)[0]] == [3] * 20
    # Eight fill the memory that may wait: images of a length no longer meet.
    groups, _ = gathered(tokens, 16, nbytes=2**27)
    assert [len(group) for group in groups] == [1] * 60
    # All of them: no image is left behind.
    assert sorted(itertools.chain(*groups)) == list(range(60))
