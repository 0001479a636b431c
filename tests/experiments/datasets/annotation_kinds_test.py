"""COCO and YouTube-VIS files as annotation tools write them: each kind gives the right masks."""

import unicodedata

import numpy as np
import pytest
from PIL import Image

from experiments import datasets
from experiments.datasets import notes, truth
from specjax import SpecjaxError
from tests.support import tiny_datasets
from tests.support.tiny_datasets import edit_annotations


@pytest.fixture
def maps(tmp_path):
    return tiny_datasets.write_coco(tmp_path)


def read(folder, name="coco", **options):
    """Records with their instance maps, by id."""
    dataset = datasets.open_dataset(name, data_dir=folder, **options)
    return {record.id: (record, truth.read_both(record)[1]) for record in dataset.records()}


def check(found, maps):
    assert [record.id for record, _ in found.values()] == list(maps)
    for name, expected in maps.items():
        np.testing.assert_array_equal(found[name][1], expected)


def every(key, change):
    """An edit of all rows under a key."""
    return lambda content: [change(row) for row in content[key]]


def as_text(row):
    """Every number of a row as text."""
    for key, value in row.items():
        if isinstance(value, int | float):
            row[key] = str(value)


def flatten(row):
    if isinstance(row["segmentation"], list):
        row["segmentation"] = row["segmentation"][0]


def pair_up(row):
    if isinstance(row["segmentation"], list):
        (ring,) = row["segmentation"]
        row["segmentation"] = [list(pair) for pair in zip(ring[::2], ring[1::2], strict=True)]


def numbers_as_text(row):
    if isinstance(row["segmentation"], list):
        row["segmentation"] = [[f" {number}.0" for number in row["segmentation"][0]]]
    else:
        row["segmentation"]["counts"] = list(map(str, row["segmentation"]["counts"]))
        row["segmentation"]["size"] = [float(side) for side in row["segmentation"]["size"]]


def swap(row):
    row["height"], row["width"] = row["width"], row["height"]


SAME_MASKS = {
    "rows as text": [every("annotations", as_text), every("images", as_text)],
    "ids with zeros": [every("annotations", lambda a: a.update(image_id=f"00{a['image_id']}"))],
    "crowds as truth values": [every("annotations", lambda a: a.update(iscrowd=a["iscrowd"] == 1))],
    "crowds as floats": [every("annotations", lambda a: a.update(iscrowd=float(a["iscrowd"])))],
    "no iscrowd": [every("annotations", lambda a: a["iscrowd"] or a.pop("iscrowd"))],
    "ids as text": [
        every("images", lambda i: i.update(id=f"frame_{i['id']}")),
        every("annotations", lambda a: a.update(image_id=f"frame_{a['image_id']}")),
    ],
    "sizes as floats": [every("images", lambda i: i.update(width=float(i["width"])))],
    "no sizes": [every("images", lambda i: (i.pop("width"), i.pop("height")))],
    "sizes of 0": [every("images", lambda i: i.update(width=0, height=0))],
    "sizes of null": [every("images", lambda i: i.update(width=None))],
    "sizes exchanged": [every("images", swap)],
    "no annotation ids": [every("annotations", lambda a: a.pop("id"))],
    "annotation ids of null": [every("annotations", lambda a: a.update(id=None))],
    "flat polygons": [every("annotations", flatten)],
    "polygons as points": [every("annotations", pair_up)],
    "numbers as text": [every("annotations", numbers_as_text)],
    "no categories": [lambda c: c.pop("categories")],
}  # fmt: skip


@pytest.mark.parametrize("kind", SAME_MASKS)
def test_the_same_masks(tmp_path, maps, kind):
    for edit in SAME_MASKS[kind]:
        edit_annotations(tmp_path, edit)
    found = read(tmp_path)
    check(found, maps)
    counts = [dict(record.notes) for record, _ in found.values()]
    # The run lengths of the second image know its size.
    swapped = {notes.SWAPPED: 1}
    assert counts == ([swapped, {}, swapped] if kind == "sizes exchanged" else [{}] * 3)


def test_what_has_no_pixels_is_passed_over_and_counted(tmp_path, maps):
    empty = [None, [], [[]], [[1, 2]], {"size": [64, 80], "counts": []}, {}, ""]
    empty += [{"size": [64, 80], "counts": [64 * 80]}, [[1, 1, 1, 1, 1, 1]]]

    def change(content):
        content["annotations"][0]["segmentation"] += [[80.0, 64.0], [10, 10, 20, 20]]
        common = {"image_id": 7, "iscrowd": 0}
        content["annotations"] += [{**common, "segmentation": item} for item in empty]
        content["annotations"].append(common)

    edit_annotations(tmp_path, change)
    found = read(tmp_path)
    check(found, maps)
    counts = found["000000000000"][0].notes
    assert counts == {notes.RINGS: 2, notes.EMPTY: len(empty) + 1}
    sentences = notes.sentences([("a", {}), ("b", counts), ("c", counts)])
    assert sentences == [
        "20 annotations without a mask were passed over (the first in 'b')",
        "4 rings of fewer than three points were passed over (the first in 'b')",
    ]


def test_only_crowds_are_noted(tmp_path, maps):
    edit_annotations(tmp_path, every("annotations", lambda a: a.update(iscrowd="1")))
    for record, instances in read(tmp_path).values():
        assert set(np.unique(instances)) == {-1, 0} and record.notes[notes.CROWDS] >= 1


def decomposed(name):
    return unicodedata.normalize("NFD", name)


# A name in the annotation file, and that of the file below the folder.
NAMES = {
    "backslash": ("train\\a.jpg", "images/train/a.jpg"),
    "backslash on disk": ("a\\b.jpg", "images/a\\b.jpg"),
    "backslash from the root": ("images\\a.jpg", "images/a.jpg"),
    "dot and slash": ("./images/./a.jpg", "images/a.jpg"),
    "double slash": ("images//a.jpg", "images/a.jpg"),
    "up and down": ("../images/a.jpg", "images/a.jpg"),
    "absolute": ("/home/someone/set/train/a.jpg", "images/train/a.jpg"),
    "absolute, windows": ("C:\\set\\train\\a.jpg", "train/a.jpg"),
    "file url": ("file:///home/set/a.jpg", "images/a.jpg"),
    "web address": ("https://x.org/train2017/a.jpg?size=3", "train2017/a.jpg"),
    "composed": ("Z\u00fcrich.jpg", decomposed("images/Z\u00fcrich.jpg")),
    "decomposed": (decomposed("Z\u00fcrich.jpg"), "images/Z\u00fcrich.jpg"),
    "composed folder": ("\u00e9t\u00e9/a.jpg", decomposed("images/\u00e9t\u00e9/a.jpg")),
    "encoded": ("my%20photo%231.jpg", "images/my photo#1.jpg"),
    "encoded on disk": ("my photo.jpg", "images/my%20photo.jpg"),
    "suffix in capitals": ("a.JPG", "images/a.jpg"),
    "suffix in small letters": ("a.jpeg", "images/a.Jpeg"),
    "folder of the split": ("a.jpg", "images/val2017/a.jpg"),
}  # fmt: skip


@pytest.mark.parametrize("kind", NAMES)
def test_an_image_is_found(tmp_path, maps, kind):
    listed, there = NAMES[kind]
    path = tmp_path / there
    path.parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "images" / "000000000000.jpg").rename(path)
    edit_annotations(tmp_path, lambda content: content["images"][0].update(file_name=listed))
    (record, instances), *_ = read(tmp_path).values()
    assert record.source == str(path)
    np.testing.assert_array_equal(instances, maps["000000000000"])
    assert record.origin == (7, listed)
    assert "/" not in record.id and "\\" not in record.id


def test_a_name_that_may_mean_two_files_fails_alone(tmp_path, maps):
    images = tmp_path / "images"
    (images / "000000000000.jpg").rename(images / "a b.jpg")
    (images / "a%20b.jpg").write_bytes((images / "a b.jpg").read_bytes())
    edit_annotations(tmp_path, lambda content: content["images"][0].update(file_name="a%20b.JPG"))
    records = list(datasets.open_dataset("coco", data_dir=tmp_path).records())
    with pytest.raises(SpecjaxError, match="no such file"):
        records[0].read_image()
    assert records[1].read_image().shape


def test_images_of_other_folders_are_named(tmp_path, maps):
    edit_annotations(
        tmp_path, lambda content: content["images"][0].update(file_name="set/000000000000.jpg")
    )
    dataset = datasets.open_dataset("coco", data_dir=tmp_path)
    (warning,) = dataset.warnings
    assert "1 images were found in other folders than it says ('set/000000000000.jpg'" in warning


def test_lvis(tmp_path, maps):
    (tmp_path / "images").rename(tmp_path / "val2017")

    def change(image):
        image["coco_url"] = f"http://images.cocodataset.org/val2017/{image.pop('file_name')}"

    edit_annotations(tmp_path, every("images", change))
    edit_annotations(tmp_path, every("annotations", lambda a: a["iscrowd"] or a.pop("iscrowd")))
    (tmp_path / "instances.json").rename(tmp_path / "lvis_v1_val.json")
    found = read(tmp_path, annotations=tmp_path / "lvis_v1_val.json")
    check(found, maps)
    assert found["000000000000"][0].origin == (7, "val2017/000000000000.jpg")


@pytest.mark.parametrize(("below", "options"), [("train", {}), ("", {"split": "train"})])
def test_roboflow(tmp_path, maps, below, options):
    (tmp_path / "images").rename(tmp_path / "train")
    (tmp_path / "instances.json").rename(tmp_path / "train" / "_annotations.coco.json")
    check(read(tmp_path / below, **options), maps)
    with pytest.raises(SpecjaxError, match=r"splits there: train\)"):
        read(tmp_path)


def test_ovis(tmp_path):
    maps = tiny_datasets.write_ytvis(tmp_path)
    (tmp_path / "JPEGImages").rename(tmp_path / "train")
    path = (tmp_path / "instances.json").rename(tmp_path / "annotations_train.json")
    check(read(tmp_path, "ytvis"), maps)
    check(read(tmp_path, "ytvis", annotations=path), maps)
    path.rename(tmp_path / "annotations_valid.json")
    with pytest.raises(SpecjaxError, match=r"splits there: valid\)"):
        read(tmp_path, "ytvis")


@pytest.mark.parametrize("absent", [[], {}, "", {"size": [64, 80], "counts": []},
                                    {"size": [64, 80], "counts": [64 * 80]}])  # fmt: skip
def test_an_object_that_is_not_in_a_frame(tmp_path, absent):
    maps = tiny_datasets.write_ytvis(tmp_path)

    def change(row):
        row.pop("id")
        row["segmentations"] = [absent if mask is None else mask for mask in row["segmentations"]]

    edit_annotations(tmp_path, every("annotations", change))
    found = read(tmp_path, "ytvis")
    check(found, maps)
    assert not any(record.notes for record, _ in found.values())


def test_videos_as_text(tmp_path):
    maps = tiny_datasets.write_ytvis(tmp_path)
    edit_annotations(tmp_path, every("annotations", as_text))
    edit_annotations(tmp_path, every("videos", lambda v: v.update(height=0, id=float(v["id"]))))
    found = read(tmp_path, "ytvis")
    check(found, maps)
    assert found["video_0/00000"][0].origin == (None, "video_0/00000.jpg")


def test_ids_are_the_shortest_paths_that_differ(tmp_path, maps):
    names = ["v1/0.jpg", "v2/0.jpg", "x/v2/0.jpg", "a.jpg", "a.png", "b.jpg", "b/b.jpg", "c.d.jpg"]

    def change(content):
        content["images"] = [{"id": n, "file_name": name} for n, name in enumerate(names, 7)]

    edit_annotations(tmp_path, change)
    image = Image.open(tmp_path / "images" / "000000000000.jpg")
    for name in names:
        (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        image.save(tmp_path / "images" / name)
    records = list(datasets.open_dataset("coco", data_dir=tmp_path).records())
    ids = ["v1/0", "v2/0", "x/v2/0", "a.jpg", "a.png", "b", "b/b", "c.d"]
    assert [record.id for record in records] == ids
    assert [record.origin for record in records] == list(enumerate(names, 7))


def test_one_file_under_two_ids(tmp_path, maps):
    edit_annotations(
        tmp_path, lambda content: content["images"][1].update(file_name="000000000000.jpg")
    )
    ids = [record.id for record in datasets.open_dataset("coco", data_dir=tmp_path).records()]
    assert ids == ["000000000000.jpg", "000000000000.jpg_2", "000000000002"]


@pytest.mark.parametrize("content", [{"id": 1}, [], [{"id": 1, "name": "a"}, {"id": 2}], [{}]])
def test_no_single_category(tmp_path, maps, content):
    edit_annotations(tmp_path, lambda c: c.update(categories=content))
    assert datasets.open_dataset("coco", data_dir=tmp_path).category is None
