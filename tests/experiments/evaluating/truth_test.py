"""The truth at full resolution, from annotation files and from instance maps."""

import json

import numpy as np
import pytest
from pycocotools.coco import COCO

from experiments import datasets
from experiments.datasets.records import VOID
from experiments.evaluating.detections import decoded
from experiments.evaluating.truth import read_truth
from tests.support import tiny_datasets
from tests.support.tiny_datasets import edit_annotations


def truths(name, folder):
    dataset = datasets.open_dataset(name, data_dir=folder)
    return {record.id: read_truth(record) for record in dataset.records()}


def test_annotation_files_have_whole_objects(tmp_path):
    """Masks as pycocotools has them, also below others; areas and boxes as the file says."""
    tiny_datasets.write_coco(tmp_path)

    def change(content):
        first, second, third, *_ = content["annotations"]
        first.update(area=12.5, bbox=[1, 2.5, 3, 4])
        for row, box in ((second, [1, 2, 3]), (third, [1, 2, -3, 4])):
            del row["area"]
            row["bbox"] = box

    edit_annotations(tmp_path, change)
    official = COCO(tmp_path / "instances.json")
    found = truths("coco", tmp_path)
    assert len(found) == 3
    for image, truth in zip(official.imgs.values(), found.values(), strict=True):
        rows = official.imgToAnns[image["id"]]
        assert (truth.height, truth.width) == (image["height"], image["width"])
        assert [thing.code for thing in truth.things] == [official.annToRLE(row) for row in rows]
        assert [thing.ignored for thing in truth.things] == [row["iscrowd"] == 1 for row in rows]
        assert not any(thing.void for thing in truth.things)
    first, second = found["000000000000"].things
    assert (first.area, first.box) == (12.5, (1, 2.5, 3, 4))
    assert (second.area, second.box) == (40 * 28, (44, 16, 28, 40))
    third = found["000000000001"].things[0]
    assert (third.area, third.box) == (56 * 48, (8, 4, 48, 56))


def test_frames(tmp_path):
    maps = tiny_datasets.write_ytvis(tmp_path)
    for record_id, truth in truths("ytvis", tmp_path).items():
        assert len(truth.objects) == len(truth.things) == maps[record_id].max()
        np.testing.assert_array_equal(truth.mask(ignored=False), maps[record_id] > 0)
        assert all(thing.area == decoded(thing.code).sum() for thing in truth.things)


def test_instance_maps(tmp_path):
    maps = tiny_datasets.write_voc(tmp_path)
    for record_id, truth in truths("voc", tmp_path).items():
        instances = maps[record_id]
        void = [thing for thing in truth.things if thing.ignored]
        assert len(void) == (instances == VOID).any() and all(thing.void for thing in void)
        np.testing.assert_array_equal(truth.mask(ignored=True), instances == VOID)
        for number, thing in enumerate(truth.objects, start=1):
            np.testing.assert_array_equal(decoded(thing.code), instances == number)
            assert thing.area == (instances == number).sum()


@pytest.mark.parametrize("segmentation", [[], None])
def test_annotations_without_a_mask_are_passed_over(tmp_path, segmentation):
    tiny_datasets.write_coco(tmp_path)

    def change(content):
        content["annotations"][0]["segmentation"] = segmentation

    edit_annotations(tmp_path, change)
    assert len(truths("coco", tmp_path)["000000000000"].things) == 1
    assert json.loads((tmp_path / "instances.json").read_text())["annotations"]
