"""Runs on annotation files: exports have the dataset's ids, and what was left out is said."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from tests.support.run_binary import run
from tests.support.tiny_datasets import edit_annotations

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning:pycocotools"
)


@pytest.fixture
def coco(world, tmp_path):
    """A copy of the COCO folder that a test may change, and the flags to read it."""
    folder = shutil.copytree(world.folder / "coco", tmp_path / "coco")
    return folder, [world.checkpoint, "--N=16", "--dataset=coco", f"--data_dir={folder}"]


def warnings_after_table(finished):
    """The warnings that follow the table; the summary has them too."""
    lines = [line for line in finished.stdout.splitlines() if line.startswith("warning: ")]
    found = [line.removeprefix("warning: ") for line in lines]
    assert found == finished.summary["warnings"][-len(found) :]
    return found


@pytest.mark.parametrize("ids", [[139, 2, 30], ["frame_2", "frame_1", "x"], [3, 1, 2]])
def test_exports_have_the_datasets_ids_and_names(coco, tmp_path, ids):
    folder, flags = coco
    (folder / "images").rename(folder / "cats")

    def change(content):
        new = {
            image["id"]: image_id for image, image_id in zip(content["images"], ids, strict=True)
        }
        for image in content["images"]:
            image |= {"id": new[image["id"]], "file_name": "cats\\" + image["file_name"]}
        for annotation in content["annotations"]:
            annotation["image_id"] = new[annotation["image_id"]]
        content["categories"] = [{"id": 17, "name": "cat"}]

    edit_annotations(folder, change)
    finished = run("instance", tmp_path / "run", *flags, "--save=labels,coco")
    assert finished.status == 0
    truth = COCO(folder / "instances.json")
    found = truth.loadRes(str(tmp_path / "run" / "coco_results.json"))
    written = json.loads((tmp_path / "run" / "coco.json").read_text())
    assert written["categories"] == truth.dataset["categories"]
    keys = ("id", "file_name", "height", "width")
    wanted = [{key: image[key] for key in keys} for image in truth.dataset["images"]]
    assert written["images"] == wanted
    for image_id, image in truth.imgs.items():
        name = image["file_name"].removeprefix("cats\\").removesuffix(".jpg")
        with Image.open(tmp_path / "run" / "labels" / f"{name}.png") as labels:
            expected = np.asarray(labels)
        annotations = found.loadAnns(found.getAnnIds(imgIds=[image_id], catIds=[17]))
        painted = np.zeros_like(expected)
        for number, annotation in enumerate(annotations, start=1):
            painted[found.annToMask(annotation) > 0] = number
        np.testing.assert_array_equal(painted, expected)


def test_only_crowds(coco, tmp_path):
    folder, flags = coco

    def change(content):
        for annotation in content["annotations"]:
            annotation["iscrowd"] = "1"

    edit_annotations(folder, change)
    finished = run("instance", tmp_path / "run", *flags)
    assert finished.status == 0
    (warning,) = warnings_after_table(finished)
    assert warning == (
        "nothing is scored: all 3 images have no annotated instance on the token grid; in 3 of them"
        " there are only crowds (iscrowd), which are void"
    )
    # A run that continues says it again.
    assert warnings_after_table(run("instance", tmp_path / "run", *flags)) == [warning]


def test_what_was_left_out(coco, tmp_path):
    folder, flags = coco

    def change(content):
        content["annotations"][0]["segmentation"].append([1, 2])
        content["annotations"] = [a for a in content["annotations"] if a["image_id"] != 8]
        content["annotations"][-1]["segmentation"] = [[1, 2, 3]]

    edit_annotations(folder, change)
    finished = run("instance", tmp_path / "run", *flags)
    assert finished.status == 1
    failed, empty, rings = warnings_after_table(finished)
    assert failed.startswith("1 of 3 images failed and are not scored; the first is '000000000002'")
    assert empty == (
        "1 of 2 images are not scored, as they have no annotated instance on the token grid"
    )
    assert rings.startswith("1 rings of fewer than three points were passed over")


def test_a_photograph_on_its_head(coco, tmp_path):
    folder, flags = coco
    path, exif = folder / "images" / "000000000000.jpg", Image.Exif()
    exif[0x0112] = 3
    with Image.open(path) as image:
        image.rotate(180).save(path, exif=exif, quality=95)
    shown = run("instance", tmp_path / "shown", *flags, "--limit=1")
    (warning,) = warnings_after_table(shown)
    assert "1 images have an EXIF orientation" in warning and "--orientation=stored" in warning
    stored = run("instance", tmp_path / "stored", *flags, "--limit=1", "--orientation=stored")
    upright = run("instance", tmp_path / "upright", *flags, "--limit=1", "--orientation=upright")
    assert not stored.summary["warnings"] and not upright.summary["warnings"]
    miou = {run.summary["results"][0]["miou"] for run in (shown, upright)}
    assert len(miou) == 1 and stored.summary["results"][0]["miou"] not in miou
    assert upright.summary["config"]["dataset"]["orientation"] == "upright"
