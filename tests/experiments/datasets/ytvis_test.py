import json

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from experiments import datasets
from specjax import SpecjaxError
from tests.support import tiny_datasets
from tests.support.tiny_datasets import edit_annotations


def opened(folder, **options):
    return datasets.open_dataset("ytvis", data_dir=folder, **options)


@pytest.fixture
def folder(tmp_path):
    tiny_datasets.write_ytvis(tmp_path)
    return tmp_path


def test_reads_what_was_written(tmp_path):
    maps = tiny_datasets.write_ytvis(tmp_path)
    dataset = opened(tmp_path)
    assert dataset.name == "ytvis"
    tiny_datasets.check_records(dataset, maps)
    assert set(np.unique(maps["video_0/00005"])) == {0, 1}  # absent, null in the file


def test_polygons_compressed_run_lengths_and_crowds(folder):
    before = {record.id: record.read_instances() for record in opened(folder).records()}

    def change(content):
        first, *_, last = content["annotations"]
        first["segmentations"] = [[[8, 8, 32, 8, 32, 40, 8, 40]]] * 2
        for segmentation in last["segmentations"]:
            height, width = segmentation["size"]
            encoded = coco_mask.frPyObjects(segmentation, height, width)
            segmentation["counts"] = encoded["counts"].decode()
        content["annotations"][2]["iscrowd"] = 1

    edit_annotations(folder, change)
    for record in opened(folder).records():
        expected = before[record.id]
        if record.id.startswith("video_1"):
            expected = np.where(expected == 1, -1, expected)
        np.testing.assert_array_equal(record.read_instances(), expected)


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c.pop("annotations"),
        lambda c: c.update(annotations=None),
        lambda c: c.update(annotations=[]),
    ],
)
def test_without_annotations(folder, change):
    edit_annotations(folder, change)
    dataset = opened(folder)
    assert not dataset.annotated
    assert [record.read_instances for record in dataset.records()] == [None] * 4


def _drop_frames(content):
    for video in content["videos"]:
        video["file_names"] = []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda c: c.pop("videos"), "no list 'videos'"),
        (lambda c: c["videos"].clear(), "lists no videos"),
        (lambda c: c.update(annotations=[]) or _drop_frames(c), "lists no images"),
    ],
)
def test_malformed_files(folder, change, reason):
    edit_annotations(folder, change)
    with pytest.raises(SpecjaxError, match=reason) as error:
        opened(folder)
    assert "instances.json" in str(error.value)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda c: c["videos"].__setitem__(0, None), r"videos\[0\] is not an object"),
        (lambda c: c["videos"][0].pop("file_names"), r"videos\[0\] has no valid 'file_names'"),
        (lambda c: c["videos"][0].update(file_names=[3, ""]), r"file_names\[0\] is not text"),
        (lambda c: c["videos"][0].update(file_names=["../b.jpg", "c"]), "no such file"),
        (lambda c: c["annotations"][0].pop("segmentations"), "no valid 'segmentations'"),
        (lambda c: c["annotations"][0].update(segmentations={}), "no valid 'segmentations'"),
        (
            lambda c: c["annotations"][0]["segmentations"].pop(),
            "1 segmentations, but its video has 2",
        ),
    ],
)
def test_a_bad_video_fails_alone(folder, change, reason):
    edit_annotations(folder, change)
    first, *_, last = opened(folder).records()
    with pytest.raises(SpecjaxError, match=reason):
        first.read_image()
    assert last.id == "video_1/00005"
    assert last.read_image().shape[:2] == last.read_instances().shape


def test_annotations_of_an_unlisted_video_are_left_out_with_a_warning(folder):
    edit_annotations(folder, lambda content: content["annotations"][0].update(video_id=9))
    (warning,) = opened(folder).warnings
    assert "annotations of 1 videos that it does not list are left out (video_id 9" in warning


def test_a_bad_segmentation_fails_its_frame_alone(folder):
    def change(content):
        content["annotations"][0]["segmentations"][1] = {"size": [64, 80], "counts": [3]}

    edit_annotations(folder, change)
    first, second, *_ = opened(folder).records()
    assert first.read_instances().max() == 2
    with pytest.raises(SpecjaxError, match="annotation 1, frame 1: the run lengths cover 3 pixels"):
        second.read_instances()


def test_missing_frame_fails_alone(folder):
    (folder / "JPEGImages" / "video_0" / "00000.jpg").unlink()
    first, second, *_ = opened(folder).records()
    with pytest.raises(SpecjaxError, match=r"video_0/00000\.jpg': no such file"):
        first.read_image()
    assert second.read_image().shape == (64, 80, 3)


def test_where_files_are_looked_for(folder):
    (folder / "instances.json").rename(folder / "train.json")
    (folder / "train").mkdir()
    (folder / "JPEGImages").rename(folder / "train" / "JPEGImages")
    dataset = opened(folder)
    assert dataset.identity["split"] == "train"
    assert next(dataset.records()).read_image().shape == (64, 80, 3)
    with pytest.raises(SpecjaxError, match=r"split 'valid'.*splits there: train\)"):
        opened(folder, split="valid")
    (folder / "train.json").rename(folder / "train" / "instances.json")
    assert len(list(opened(folder, split="train").records())) == 4
    (folder / "train" / "JPEGImages").rename(folder / "gone")
    with pytest.raises(SpecjaxError, match="none of the annotated images was found"):
        opened(folder)


def test_real_photographs(shared_data):
    content = json.loads((shared_data / "ytvis_mini" / "instances.json").read_text())
    read = list(opened(shared_data / "ytvis_mini").records())
    assert len(read) == 24
    numbered = 0
    for record, video in zip(read, content["videos"], strict=True):
        assert record.id + ".jpg" == video["file_names"][0]
        instances = record.read_instances()
        assert record.read_image().shape[:2] == instances.shape
        areas = [
            sum(annotation["segmentations"][0]["counts"][1::2])
            for annotation in content["annotations"]
            if annotation["video_id"] == video["id"]
        ]
        numbered += len(areas)
        seen = [int((instances == number).sum()) for number in range(1, len(areas) + 1)]
        assert all(s <= area for s, area in zip(seen, areas, strict=True))
        # The smallest object is on top of all others, so that it is seen whole.
        assert seen[int(np.argmin(areas))] == min(areas)
    assert numbered == 136
