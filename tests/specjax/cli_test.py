"""The `specjax` command as users run it; `_output_test` tests what its output folder keeps."""

import json
import pathlib
import shutil
import signal

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

import specjax
from specjax.cli import FLAGS
from tests.support.run_binary import assert_refused, finish
from tests.support.run_command import run_command, start_command

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning:pycocotools"
)


@pytest.fixture(scope="module")
def flags(world):
    return [world.checkpoint, "--N=16", "--image_size=112", "--solver=eigh", "--num_instances=3"]


@pytest.fixture(scope="module")
def photos(world, tmp_path_factory):
    """Four photographs at three depths, and files to skip."""
    folder = tmp_path_factory.mktemp("mine") / "photos"
    sources = sorted(world.photos.iterdir())
    for source, name in zip([*sources, sources[0]], NAMES, strict=True):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, folder / f"{name}.jpg")
    shutil.copy(sources[0], folder / ".hidden.jpg")
    (folder / "notes.txt").write_text("no photograph\n")
    return folder


NAMES = ("a", "b", "day.1/c.d", "day.1/deep/e")


@pytest.fixture(scope="module")
def done(photos, flags, tmp_path_factory):
    """A finished run, not to be changed."""
    return run_command(tmp_path_factory.mktemp("done") / "out", photos, *flags)


def contents(folder):
    """The bytes of every file, by name."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def read(path):
    with Image.open(path) as image:
        return np.asarray(image)


def test_what_is_written(done, photos, world):
    assert done.status == 0
    (line,) = done.stderr.splitlines()
    assert line.startswith("warning: passed over 1 file, ") and "notes.txt" in line
    sheets = ("coco.json", "coco_results.json", "gallery.png")
    assert done.stdout.splitlines() == [
        f"4 of 4 photographs are in {done.folder}",
        *(str(done.folder / name) for name in sheets),
    ]
    each = {f"{kind}/{n}.png" for kind in ("labels", "overlays", "gallery") for n in NAMES}
    assert contents(done.folder).keys() == {*each, *sheets, "photographs.jsonl"}
    checkpoint = world.checkpoint.removeprefix("--checkpoint=")
    segment = specjax.Segmenter(checkpoint, N=16, image_size=112, solver="eigh")
    for name in NAMES:
        found = segment(photos / f"{name}.jpg", num_instances=3)
        np.testing.assert_array_equal(read(done.folder / f"labels/{name}.png"), found.labels)
        overlay = read(done.folder / f"overlays/{name}.png")
        np.testing.assert_array_equal(overlay, np.asarray(found.overlay()))
    with Image.open(done.folder / "labels/a.png") as labels:
        assert labels.mode == "P" and labels.getpalette()[:6] == [0, 0, 0, 128, 0, 0]


def test_coco_json(done):
    dataset = json.loads((done.folder / "coco.json").read_text())
    results = json.loads((done.folder / "coco_results.json").read_text())
    assert [image["file_name"] for image in dataset["images"]] == [f"{n}.jpg" for n in NAMES]
    assert len(results) == len(dataset["annotations"]) > 4
    for image, name in zip(dataset["images"], NAMES, strict=True):
        labels = read(done.folder / f"labels/{name}.png")
        assert labels.shape == (image["height"], image["width"])
        entries = [entry for entry in dataset["annotations"] if entry["image_id"] == image["id"]]
        for number, entry in enumerate(entries, start=1):
            np.testing.assert_array_equal(coco_mask.decode(entry["segmentation"]), labels == number)
        assert len(entries) == labels.max()


def test_nothing_is_done_twice(done, photos, flags, tmp_path):
    folder = shutil.copytree(done.folder, tmp_path / "out")
    stamps = {path: path.stat().st_mtime_ns for path in folder.glob("*/**/*.png")}
    assert len(stamps) == 12
    again = run_command(folder, photos, *flags)
    assert again.stdout == done.stdout.replace(str(done.folder), str(folder))
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    assert contents(folder) == contents(done.folder)


@pytest.mark.parametrize("flag", ["--seed=7", "--num_instances=2"])
def test_changed_settings_are_done_again(done, photos, flags, tmp_path, flag):
    folder = shutil.copytree(done.folder, tmp_path / "out")
    assert run_command(folder, photos, *flags, flag).status == 0
    fresh = run_command(tmp_path / "fresh", photos, *flags, flag)
    assert contents(folder) == contents(fresh.folder) != contents(done.folder)
    assert run_command(folder, photos, *flags).status == 0
    assert contents(folder) == contents(done.folder)


# Stops, and waits for ever, once two photographs are done.
PAUSED = """
import sys
from specjax import cli
from specjax._output import Output
write = Output.write
def write_and_wait(self, photo, found):
    write(self, photo, found)
    if photo.place == 1:
        print("two are done", flush=True)
        sys.stdin.read()
Output.write = write_and_wait
cli.run()
"""


def test_a_killed_run_continues_and_keeps_others_out(done, photos, flags, tmp_path):
    folder = tmp_path / "out"
    process = start_command(folder, photos, *flags, cwd=tmp_path, prefix=("-c", PAUSED))
    try:
        assert process.stdout.readline() == "two are done\n"
        assert_refused(run_command(folder, photos, *flags), "another process is writing to", folder)
    finally:
        process.send_signal(signal.SIGKILL)
    assert finish(process, folder).status == -signal.SIGKILL
    lines = folder / "photographs.jsonl"
    assert lines.read_bytes().count(b"\n") == 2 and not (folder / "coco.json").exists()
    # As if the process had been killed in the middle of a line, after it wrote the pictures.
    lines.write_bytes(lines.read_bytes() + b'{"id": "day.1/c.d", "sett')
    (folder / "labels/day.1").mkdir()
    shutil.copy(folder / "labels/a.png", folder / "labels/day.1/c.d.png")
    before = (folder / "labels/a.png").stat().st_mtime_ns
    resumed = run_command(folder, photos, *flags)
    assert (resumed.status, resumed.stderr) == (0, done.stderr)
    assert contents(folder) == contents(done.folder)
    assert (folder / "labels/a.png").stat().st_mtime_ns == before


# Is killed when it reads the photograph "b".
KILLED = """
import os, signal
from specjax import _prepared, cli
decode = _prepared.decode
def decode_or_die(path, **options):
    if path.endswith("b.jpg"):
        os.kill(os.getpid(), signal.SIGKILL)
    return decode(path, **options)
_prepared.decode = decode_or_die
cli.run()
"""


def test_a_photograph_that_kills_the_process(done, photos, flags, tmp_path):
    """The third start passes it over, and it alone."""
    folder = tmp_path / "out"
    for _ in range(2):
        process = start_command(folder, photos, *flags, cwd=tmp_path, prefix=("-c", KILLED))
        assert finish(process, folder).status == -signal.SIGKILL
    finished = run_command(folder, photos, *flags)  # in this process, which nothing would kill
    assert finished.status == 1
    assert finished.stdout.startswith("3 of 4 photographs")
    _, line = finished.stderr.splitlines()
    assert line.startswith("skipped b: the process was killed twice while this image was in work")
    old, new = contents(done.folder), contents(folder)
    assert all(new[name] == old[name] for name in old if "labels" in name and "b.png" not in name)
    # The file names itself: without it, all is as before.
    (folder / ".in_work").unlink()
    assert run_command(folder, photos, *flags).status == 0
    assert contents(folder) == old


def test_in_a_process_of_its_own(done, photos, flags, tmp_path):
    """`python -m specjax` from another folder, with a bad file among the photographs."""
    shutil.copytree(photos, tmp_path / "photos")
    (tmp_path / "photos" / "bad.jpg").write_bytes((photos / "a.jpg").read_bytes()[:500])
    finished = finish(start_command("out", "photos", *flags, cwd=tmp_path), tmp_path / "out")
    assert finished.status == 1
    _, line = finished.stderr.splitlines()
    assert line.startswith("skipped bad: '/") and "bad.jpg' cannot be read" in line
    assert finished.stdout.startswith("4 of 5 photographs are in out\nout/coco.json\n")
    new, old = contents(tmp_path / "out"), contents(done.folder)
    assert new.keys() == old.keys()
    assert all(new[name] == old[name] for name in old if name.startswith(("labels/", "overl")))
    # It is tried again.
    (tmp_path / "photos" / "bad.jpg").unlink()
    again = run_command(tmp_path / "out", tmp_path / "photos", *flags)
    assert again.status == 0 and again.stderr.startswith("warning: passed over 1 file")


def test_ways_to_name_photographs(done, photos, flags, tmp_path):
    """Globs, lists, and a file that is given twice."""
    listing = tmp_path / "list.txt"
    listing.write_text(f"# mine\n{photos}/b.jpg\n{photos}/day.1/deep/e.jpg\n")
    folder = tmp_path / "out"
    given = [photos / "*.jpg", photos / "day.1", listing]
    finished = run_command(folder, *given, *flags, "--save=labels")
    assert finished.stdout.startswith("4 of 4 photographs") and finished.status == 0
    old = contents(done.folder)
    assert {name: data for name, data in contents(folder).items() if name.endswith("png")} == {
        "labels/a.png": old["labels/a.png"],
        "labels/b.png": old["labels/b.png"],
        "labels/c.d.png": old["labels/day.1/c.d.png"],
        "labels/deep/e.png": old["labels/day.1/deep/e.png"],
    }


def test_fewer_tokens_than_instances_are_a_warning(photos, flags, tmp_path):
    native = [flag for flag in flags if "image_size" not in flag]
    finished = run_command(tmp_path, photos / "a.jpg", *native, "--num_instances=8")
    assert finished.status == 0
    (line,) = finished.stderr.splitlines()
    assert line.startswith("warning: '/") and "a.jpg': 8 instances were asked for, but" in line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["no images given"]),
        ([""], ["a path is empty"]),
        (["nowhere"], ["nowhere", "no such file or folder"]),
        (["{photos}/*.gif"], ["no images match"]),
        (["{photos}", "--num_instances="], ["--num_instances=", "from 1 to 254"]),
        (["{photos}", "--num_instances=255"], ["--num_instances=255", "from 1 to 254"]),
        (["{photos}", "--num_instances=oracle"], ["--num_instances=oracle", "give a number"]),
        (["{photos}", "--save=label"], ["--save=label: choose from all, labels, overlays"]),
        (["{photos}", "--output_dir="], ["--output_dir is empty"]),
        (["{photos}", "--output_dir={photos}"], ["results would go to", "choose an --output_dir"]),
        (["{photos}", "--output_dir={photos}/day.1/out"], ["results would go to", "inside"]),
        (["{photos}", "--metric=l7"], ["unknown metric 'l7'", "(--metric)"]),
        (["{photos}", "--M=C/0"], ["M=C/0", "(--M)"]),
        (["{photos}", "--N=0"], ["N is 0", "(--N)"]),
        (["{photos}", "--protocol=papers"], ["papers", "--help lists the flags"]),
        (["{photos}", "--instances=3"], ["Unknown command line flag 'instances'"]),
        (["{photos}", "--checkpoint=nowhere"], ["nowhere: no such file or folder"]),
    ],
)  # fmt: skip
def test_mistakes(photos, flags, tmp_path, arguments, words):
    given = [argument.format(photos=photos) for argument in arguments]
    assert_refused(run_command(tmp_path / "out", *flags, *given), *words)
    assert not (tmp_path / "out").exists() and not (photos / "day.1" / "out").exists()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["--metric=l2", "--features=values"], "--metric, --features: not used without --num_ins"),
        (["--method=maskcut", "--N=16", "--features=values"], "--N: not used by --method=maskcut"),
    ],
)
def test_flags_that_change_nothing_are_named(photos, tmp_path, given, words):
    finished = run_command(tmp_path / "out", photos / "a.jpg", "--checkpoint=nowhere", *given)
    assert finished.status == 2 and finished.stderr.startswith(f"warning: {words}")


def test_help_mentions_every_flag(tmp_path):
    finished = run_command(tmp_path, "--help")
    assert finished.status == 0 and finished.stderr == ""
    assert "specjax photos/ --num_instances=3 --output_dir=out" in finished.stdout
    for name in FLAGS:
        assert f"--{name}:" in finished.stdout or f"--[no]{name}:" in finished.stdout


def test_results_are_never_photographs(done, photos, flags, tmp_path, monkeypatch):
    """Not even those of an earlier run that a glob matches."""
    monkeypatch.chdir(shutil.copytree(photos, tmp_path / "photos"))
    assert_refused(run_command("specjax-out", ".", *flags), "inside ., where photographs are read")
    shutil.copytree(done.folder, "specjax-out")
    finished = run_command("specjax-out", "**/*", *flags)
    assert_refused(finished, "specjax-out", "is inside the folder of results")
    assert contents(pathlib.Path("specjax-out")) == contents(done.folder)


def test_a_bar_is_for_terminals(done, photos, flags, tmp_path):
    folder = shutil.copytree(done.folder, tmp_path / "out")
    finished = run_command(folder, photos, *flags, terminal=True)
    assert "4/4" in finished.stderr and "photographs" in finished.stderr
