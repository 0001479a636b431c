"""What the command keeps in its output folder and what it deletes; the computation is faked."""

import json
import os
import pathlib
import shutil
import types
from unittest import mock

import numpy as np
import pytest
from PIL import Image

from specjax import Segmentation, Segmenter, SpecjaxError, Tiling, cli, decode
from specjax._output import GALLERY
from tests.support.full_disk import no_file_longer_than
from tests.support.run_binary import assert_refused
from tests.support.run_command import run_command

FLAGS = ("--num_instances=2",)
# Names of the files that were segmented.
DONE: list[str] = []


class Halves(Segmenter):
    """Finds two instances in each photograph: its left and its right half."""

    backbone = types.SimpleNamespace(digest="none")
    interrupted_at = None

    def __post_init__(self):
        pass

    def stream(self, photographs, num_instances):
        for path in photographs:
            if path == self.interrupted_at:
                raise KeyboardInterrupt
            DONE.append(os.path.basename(path))
            try:
                image = decode(path)
            except SpecjaxError as error:
                yield path, error
                continue
            tokens = np.repeat(np.array([[1, 2]], np.int32), 2, axis=0)
            labels = np.repeat(tokens, 8, axis=0).repeat(8, axis=1) * (self.seed + 1)
            maps = np.ones((4, 2, 2), np.float32)
            yield (
                path,
                Segmentation(
                    image, labels, np.ones(2, np.float32), tokens > 0, maps, tokens,
                    Tiling.of_image((16, 16), 8),
                ),
            )  # fmt: skip


@pytest.fixture(autouse=True)
def _halves(monkeypatch):
    monkeypatch.setattr(cli, "Segmenter", Halves)


def draw(path, colour=90):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(colour).integers(0, 9, (16, 16, 3))
    Image.fromarray((noise + colour).astype(np.uint8)).save(path)
    return path


@pytest.fixture
def photos(tmp_path):
    for name in "abc":
        draw(tmp_path / "photos" / f"{name}.png")
    return tmp_path / "photos"


def run(photos, folder, *flags):
    """Run the command; returns how it ended, and the names of the photographs that it segmented."""
    DONE.clear()
    finished = run_command(folder, photos, *FLAGS, *flags)
    return finished, [name.removesuffix(".png") for name in DONE]


def pictures(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))


KINDS = ("gallery", "labels", "overlays")


def of_each(names, *kinds):
    return sorted(f"{kind}/{name}.png" for kind in kinds for name in names)


def lines(folder):
    text = (folder / "photographs.jsonl").read_text()
    return [json.loads(line)["id"] for line in text.splitlines()]


def test_what_has_changed_is_done_again(photos, tmp_path):
    folder = tmp_path / "out"
    assert run(photos, folder)[1] == ["a", "b", "c"]
    assert run(photos, folder)[1] == []
    draw(photos / "b.png", colour=200)
    assert run(photos, folder)[1] == ["b"]
    os.utime(photos / "c.png", ns=(1, 1))
    assert run(photos, folder)[1] == ["c"]
    draw(photos / "aa.png")
    assert run(photos, folder)[1] == ["aa"]
    assert lines(folder) == ["a", "aa", "b", "c"]
    (folder / "overlays" / "a.png").unlink()
    assert run(photos, folder)[1] == ["a"]
    assert run(photos, folder)[1] == []


@pytest.mark.parametrize(
    "flag",
    ["--M=C/4", "--N=8", "--bins=20", "--metric=l2", "--protocol=reference", "--solver=krylov",
     "--image_size=64", "--pos_interpolation=hf", "--dtype=bfloat16", "--seed=1",
     "--num_instances=3", "--features=values", "--layer=1"],
)  # fmt: skip
def test_settings_that_results_depend_on(photos, tmp_path, flag):
    folder = tmp_path / "out"
    run(photos, folder)
    assert run(photos, folder, flag)[1] == ["a", "b", "c"]
    assert run(photos, folder, flag, "--batch_size=2")[1] == []
    with mock.patch.object(Halves, "backbone", types.SimpleNamespace(digest="other")):
        assert run(photos, folder, flag)[1] == ["a", "b", "c"]


def test_a_run_of_other_settings_that_was_interrupted(photos, tmp_path):
    """Overwritten results are not taken for earlier ones."""
    folder = tmp_path / "out"
    run(photos, folder)
    with mock.patch.object(Halves, "interrupted_at", str(photos / "b.png")):
        finished, done = run(photos, folder, "--seed=1")
    assert finished.status == 130 and done == ["a"]
    assert finished.stderr.startswith("interrupted; run the same command again")
    assert pictures(folder) == sorted(["gallery.png", *of_each("a", *KINDS)])
    assert run(photos, folder)[1] == ["a", "b", "c"]
    with Image.open(folder / "labels" / "a.png") as labels:
        assert np.unique(labels).tolist() == [1, 2]


def test_pictures_of_earlier_settings_are_not_kept(photos, tmp_path):
    """`--save` with fewer kinds, and later with more again."""
    folder = tmp_path / "out"
    run(photos, folder)
    run(photos, folder, "--seed=1", "--save=labels")
    assert pictures(folder) == ["gallery.png", *of_each("abc", "labels")]
    assert run(photos, folder, "--seed=1", "--save=labels,overlays")[1] == ["a", "b", "c"]
    # Pictures without a line, as a process leaves that is killed before it writes the line.
    shutil.copytree(folder / "overlays", folder / "stages")
    (folder / "photographs.jsonl").write_text("")
    run(photos, folder, "--seed=1", "--save=labels")
    assert pictures(folder) == ["gallery.png", *of_each("abc", "labels")]


def test_more_is_saved_later(photos, tmp_path):
    folder = tmp_path / "out"
    finished, _ = run(photos, folder, "--save=")
    assert finished.status == 0 and pictures(folder) == [] and lines(folder) == ["a", "b", "c"]
    assert finished.stdout == f"3 of 3 photographs are in {folder}\n"
    assert run(photos, folder, "--save=labels")[1] == ["a", "b", "c"]
    stamp = (folder / "labels" / "a.png").stat().st_mtime_ns
    assert run(photos, folder, "--save=coco")[1] == []
    assert run(photos, folder, "--save=all")[1] == ["a", "b", "c"]
    assert pictures(folder) == sorted(["gallery.png", *of_each("abc", *KINDS, "stages")])
    assert (folder / "labels" / "a.png").stat().st_mtime_ns > stamp


def test_photographs_that_are_not_named_again_are_kept(photos, tmp_path):
    folder = tmp_path / "out"
    run(photos, folder)
    assert run(photos / "b.png", folder)[1] == []
    coco = json.loads((folder / "coco.json").read_text())
    assert [image["file_name"] for image in coco["images"]] == ["b.png"]
    assert run(photos, folder)[1] == []
    # A file of the same name is another photograph; the first keeps its id.
    other = draw(tmp_path / "other" / "b.png", colour=30)
    assert run(other, folder)[1] == ["b"]
    assert lines(folder) == ["other/b", "a", "b", "c"]
    assert run(photos, folder)[1] == run(other, folder)[1] == []
    # A photograph that has moved has its id too, but not beside the one that it was.
    (photos / "b.png").rename(tmp_path / "b.png")
    assert run(tmp_path / "b.png", folder)[1] == [] and "other/b" in lines(folder)


def test_names_that_are_not_text(photos, tmp_path):
    """Bytes that are no UTF-8, backslashes and line breaks are written escaped."""
    shutil.rmtree(photos)
    for name in (b"caf\xe9.png", b"a\\b.png", b"new\nline.png"):
        draw(pathlib.Path(os.fsdecode(os.fsencode(photos) + b"/" + name)))
    (pathlib.Path(os.fsdecode(os.fsencode(photos) + b"/bad\xff.jpg"))).write_bytes(b"")
    finished, _ = run(photos, tmp_path / "out")
    names = ["a%5Cb", "caf%E9", "new%0Aline"]
    assert finished.status == 1 and finished.stderr.startswith("skipped bad%FF: ")
    assert pictures(tmp_path / "out") == sorted(["gallery.png", *of_each(names, *KINDS)])
    coco = json.loads((tmp_path / "out" / "coco.json").read_text())
    assert [image["file_name"] for image in coco["images"]] == [f"{name}.png" for name in names]


def test_two_suffixes(photos, tmp_path):
    folder = tmp_path / "out"
    run(photos, folder)
    draw(photos / "a.bmp")
    assert run(photos, folder)[1] == ["a.bmp"]
    assert lines(folder) == ["a.bmp", "a", "b", "c"]
    coco = json.loads((folder / "coco.json").read_text())
    names = [image["file_name"] for image in coco["images"]]
    assert names == ["a.bmp", "a.png", "b.png", "c.png"]
    run(photos, folder, "--overwrite")
    assert lines(folder) == ["a.bmp", "a.png", "b", "c"]


def test_a_photograph_that_can_no_longer_be_read(photos, tmp_path):
    folder = tmp_path / "out"
    run(photos, folder)
    (photos / "b.png").write_bytes(b"nothing")
    finished, done = run(photos, folder)
    assert finished.status == 1 and done == ["b"] and lines(folder) == ["a", "c"]
    assert finished.stdout.startswith("2 of 3 photographs")
    assert pictures(folder) == sorted(["gallery.png", *of_each("ac", *KINDS)])
    coco = json.loads((folder / "coco.json").read_text())
    assert [image["id"] for image in coco["images"]] == [1, 3]


def test_the_sheet_has_the_first_photographs(tmp_path):
    photos, folder = tmp_path / "photos", tmp_path / "out"
    for number in range(GALLERY + 2):
        draw(photos / f"{number:02d}.png")
    run(photos, folder)
    assert len(list((folder / "gallery").iterdir())) == GALLERY
    assert len(list((folder / "labels").iterdir())) == GALLERY + 2
    # A photograph that moves up among the first gets its picture.
    (photos / "00.png").unlink()
    assert run(photos, folder)[1] == [f"{GALLERY:02d}"]


def test_overwriting(photos, tmp_path):
    folder = tmp_path / "out"
    run(photos, folder)
    (photos / "c.png").unlink()
    (folder / "mine.txt").write_text("kept")
    run(photos, folder)
    assert (folder / "labels" / "c.png").exists()
    assert run(photos, folder, "--overwrite")[1] == ["a", "b"]
    assert not (folder / "labels" / "c.png").exists() and (folder / "mine.txt").exists()
    (folder / "photographs.jsonl").write_text("not JSON\n")
    finished, done = run(photos, folder)
    assert_refused(finished, "photographs.jsonl", "overwrite", "(--output_dir)")
    assert done == []
    assert run(photos, folder, "--overwrite")[1] == ["a", "b"]


@pytest.mark.parametrize("name", ["labels/a.png", "coco.json", "gallery.png"])
def test_what_others_have_written_is_left_alone(photos, tmp_path, name):
    """Annotations often have that name, and lie next to the photographs."""
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("precious")
    for flags in ((), ("--overwrite",)):
        finished, done = run(photos, tmp_path, *flags)
        assert_refused(finished, "holds", name.split("/")[0], "choose another folder")
        assert done == [] and path.read_text() == "precious"


def test_a_folder_that_cannot_be_written(photos, tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "out"):
        assert_refused(run(photos, folder)[0], "cannot write to", folder, "(--output_dir)")
    # A folder has the name of a picture: writing fails, as it would for later photographs.
    folder = tmp_path / "out"
    (folder / "labels" / "b.png").mkdir(parents=True)
    (folder / "photographs.jsonl").write_text("")
    finished, done = run(photos, folder)
    assert_refused(finished, "cannot delete", "labels/b.png", "(--output_dir)")
    assert done == ["a", "b"] and lines(folder) == ["a"]


@pytest.mark.parametrize("most", [0, 30, 100, 300, 1000])
def test_a_full_disk(photos, tmp_path, most):
    folder = tmp_path / "out"
    with no_file_longer_than(most):
        finished, _ = run(photos, folder)
    assert finished.status == 2 and finished.stdout == ""
    (line,) = finished.stderr.splitlines()
    assert line.startswith(f"error: cannot write {folder}/") and "free some space" in line
    assert run(photos, folder)[0].status == 0 and lines(folder) == ["a", "b", "c"]
