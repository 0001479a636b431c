"""Several folders as one dataset, and the paths that name them."""

import json
import os
import pathlib
import shutil

import numpy as np
import pytest

from experiments import datasets
from experiments.datasets.paths import paths_of
from specjax import SpecjaxError
from tests.support import tiny_datasets
from tests.support.tiny_datasets import edit_annotations

WRITE = {
    "voc": tiny_datasets.write_voc,
    "coco": tiny_datasets.write_coco,
    "ytvis": tiny_datasets.write_ytvis,
    "davis": tiny_datasets.write_davis,
    "saliency": tiny_datasets.write_saliency,
}


def ids(dataset):
    return [record.id for record in dataset.records()]


def test_paths(tmp_path, monkeypatch):
    for name in ("a", "b", "c,d", "e,f,g", "e"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)

    def named(given):
        return [str(path.relative_to(tmp_path)) for path in paths_of(given)]

    assert named("a") == ["a"] and named("a,b") == ["a", "b"] and named("missing") == ["missing"]
    assert named("c,d") == ["c,d"] and named("a,c,d,b") == ["a", "c,d", "b"]
    assert named("e,f,g,e,a") == ["e,f,g", "e", "a"] and named("e,x") == ["e", "x"]
    assert named(["c,d", pathlib.Path("a,b")]) == ["c,d", "a,b"]
    assert named(pathlib.Path("a,b")) == ["a,b"] and paths_of(None) == []
    (tmp_path / "a" / "1.jpg").touch()
    assert named("a/[0,1].*,b") == ["a/[0,1].*", "b"]
    monkeypatch.setenv("HOME", str(tmp_path))
    assert named("~/a,~/b") == ["a", "b"]
    for given in ("a,", ",a", "a,,b", ","):
        with pytest.raises(SpecjaxError, match=r"--data_dir=.*before or after a comma is empty"):
            paths_of(given)


@pytest.mark.parametrize("name", WRITE)
def test_records_of_all_folders(tmp_path, name):
    folders = [tmp_path / "first", tmp_path / "second"]
    maps = [WRITE[name](folder) for folder in folders]
    alone = datasets.open_dataset(name, data_dir=folders[0])
    assert ids(alone) == list(maps[0])
    dataset = datasets.open_dataset(name, data_dir=f"{folders[0]},{folders[1]}")
    assert dataset.name == name and dataset.annotated and dataset.count == 2 * alone.count
    expected = [f"{folder.name}/{image}" for folder in folders for image in maps[0]]
    for _ in range(2):
        assert ids(dataset) == expected
    for record, found in zip(
        dataset.records(), [*maps[0].values(), *maps[1].values()], strict=True
    ):
        assert f"/{record.id.partition('/')[0]}/" in record.source
        np.testing.assert_array_equal(record.read_instances(), found)
    (warning,) = dataset.warnings
    assert f"{dataset.count} images have an id" in warning and f"'{expected[0]}'" in warning
    assert dataset.identity["name"] == name
    swapped = datasets.open_dataset(name, data_dir=folders[::-1])
    assert swapped.identity != dataset.identity != alone.identity


def test_ids_stay_where_one_folder_has_them(tmp_path):
    for name in ("2007/VOC", "2012/VOC"):
        tiny_datasets.write_voc(tmp_path / name)
    listing = tmp_path / "2012" / "VOC" / "ImageSets" / "Segmentation" / "val.txt"
    for folder, suffix in (("JPEGImages", ".jpg"), ("SegmentationObject", ".png")):
        path = tmp_path / "2012" / "VOC" / folder / f"2007_000000{suffix}"
        path.rename(path.with_name(f"2012.v1{suffix}"))
    listing.write_text("2012.v1\n2007_000001\n")
    folders = [tmp_path / "2007" / "VOC", tmp_path / "2012" / "VOC"]
    dataset = datasets.open_dataset("voc", data_dir=folders)
    # The folders have one name.
    twice = ["2007/VOC/2007_000001", "2012/VOC/2007_000001"]
    assert ids(dataset) == ["2007_000000", twice[0], "2007_000002", "2012.v1", twice[1]]
    (warning,) = dataset.warnings
    assert "2 images have an id" in warning
    listing.write_text("2012.v1\n")
    dataset = datasets.open_dataset("voc", data_dir=folders)
    assert ids(dataset)[-1] == "2012.v1" and not dataset.warnings
    frames = tmp_path / "frames.txt"
    frames.write_text("2012.v1\n2007_000001\n")
    dataset = datasets.open_dataset("voc", data_dir=folders, frames=frames, limit=1)
    assert ids(dataset) == ["2007_000001"]


def test_every_nth_frame_of_each_video(tmp_path):
    folders = [tmp_path / "first", tmp_path / "second"]
    for folder in folders:
        tiny_datasets.write_davis(folder)
    dataset = datasets.open_dataset("davis", data_dir=folders, frame_step=2)
    assert ids(dataset) == [
        f"{folder.name}/{video}/00000" for folder in folders for video in ("bear", "two-cars")
    ]


def test_own_ids_of_coco_images(tmp_path):
    folders = [tmp_path / "first", tmp_path / "second"]
    for folder in folders:
        tiny_datasets.write_coco(folder)
    clashing = datasets.open_dataset("coco", data_dir=folders)
    assert "--save=coco" in clashing.id_clash and "one id, 7" in clashing.id_clash
    assert "\n" not in clashing.id_clash

    def rename(content):
        for image in content["images"]:
            image["id"] = str(image["id"] + 100)
        for annotation in content["annotations"]:
            annotation["image_id"] += 100

    edit_annotations(folders[1], rename)
    dataset = datasets.open_dataset("coco", data_dir=folders)
    assert dataset.id_clash is None
    assert [r.origin.id for r in dataset.records()] == [7, 8, 9, "107", "108", "109"]
    assert {r.origin.file_name for r in dataset.records()} == {f"{n:012d}.jpg" for n in range(3)}
    assert dataset.category == {"id": 1, "name": "thing"}
    edit_annotations(folders[1], lambda content: content["categories"][0].update(id=2))
    assert datasets.open_dataset("coco", data_dir=folders).category is None


def test_file_names_of_frames_tell_them_apart(tmp_path):
    folders = [tmp_path / "first", tmp_path / "second"]
    for folder in folders:
        tiny_datasets.write_ytvis(folder)
    dataset = datasets.open_dataset("ytvis", data_dir=folders)
    assert dataset.id_clash is None and all(r.origin is None for r in dataset.records())
    edit_annotations(folders[1], lambda content: content["videos"].pop(0))
    first, *_ = datasets.open_dataset("ytvis", data_dir=folders).records()
    assert first.id == first.origin.file_name.removesuffix(".jpg") == "video_0/00000"


def test_folders_that_do_not_go_together(tmp_path):
    folders = [tmp_path / "first", tmp_path / "second"]
    for folder in folders:
        tiny_datasets.write_coco(folder)
    with pytest.raises(SpecjaxError, match=r"names '.*first' twice"):
        datasets.open_dataset("coco", data_dir=[folders[0], folders[1], folders[0]])
    os.symlink(folders[0], tmp_path / "link")
    with pytest.raises(SpecjaxError, match="twice"):
        datasets.open_dataset("coco", data_dir=[folders[0], tmp_path / "link"])
    with pytest.raises(SpecjaxError, match=r"missing': no such folder"):
        datasets.open_dataset("coco", data_dir=f"{folders[0]},{tmp_path}/missing")
    with pytest.raises(SpecjaxError, match="--annotations is for one folder"):
        datasets.open_dataset("coco", data_dir=folders, annotations=folders[0] / "instances.json")
    edit_annotations(folders[1], lambda content: content.pop("annotations"))
    with pytest.raises(SpecjaxError, match=r"first' has annotations, '.*second' has none"):
        datasets.open_dataset("coco", data_dir=folders)
    edit_annotations(folders[1], lambda content: content.pop("images"))
    with pytest.raises(SpecjaxError, match=r"second/instances\.json' has no list 'images'"):
        datasets.open_dataset("coco", data_dir=folders)


def test_an_image_counts_once(tmp_path):
    tiny_datasets.write_davis(tmp_path / "DAVIS")
    folders = f"{tmp_path / 'DAVIS'},{tmp_path / 'DAVIS/JPEGImages/480p'}"
    with pytest.raises(SpecjaxError, match=r"bear/00000\.jpg' is an image of '.*DAVIS' and of"):
        datasets.open_dataset("davis", data_dir=folders)


def test_a_folder_with_a_comma(tmp_path):
    maps = tiny_datasets.write_voc(tmp_path / "a,b")
    tiny_datasets.check_records(datasets.open_dataset("voc", data_dir=f"{tmp_path}/a,b"), maps)
    shutil.copytree(tmp_path / "a,b", tmp_path / "c")
    both = datasets.open_dataset("voc", data_dir=f"{tmp_path}/a,b,{tmp_path}/c")
    assert ids(both)[::3] == ["a,b/2007_000000", "c/2007_000000"]


def test_real_folders(shared_data):
    names = ("coco_mini", "coco_dev")
    rows = [
        row
        for name in names
        for row in json.loads((shared_data / name / "instances.json").read_text())["images"]
    ]
    given = ",".join(str(shared_data / name) for name in names)
    dataset = datasets.open_dataset("coco", data_dir=given)
    assert dataset.count == len(rows) == 323 and dataset.id_clash is None
    for record, row in zip(dataset.records(), rows, strict=True):
        assert record.origin == (row["id"], row["file_name"])
        assert record.id == pathlib.PurePath(row["file_name"]).stem
