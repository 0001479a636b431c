"""COCO JSON of label maps, as pycocotools reads it."""

import json

import numpy as np
import pytest
from pycocotools.coco import COCO

from specjax import coco

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning:pycocotools"
)


@pytest.fixture
def label_maps():
    """Three images: with instances 1 and 3 (in two pieces), without any, with one."""
    labels = np.zeros((20, 30), np.int32)
    labels[2:9, 3:8], labels[10:20, 20:30], labels[0, 0] = 1, 3, 3
    return {"a/b.jpg": labels, "empty.png": 0 * labels[:4], "c.png": np.eye(5, dtype=np.uint8)}


def entries(label_maps):
    return [
        coco.Entry(7 * number, name, *labels.shape, coco.instances_of(labels))
        for number, (name, labels) in enumerate(label_maps.items(), start=1)
    ]


def test_instances(label_maps):
    first, second = coco.instances_of(label_maps["a/b.jpg"])
    assert (first["area"], first["bbox"]) == (35, [3, 2, 5, 7])
    assert (second["area"], second["bbox"]) == (101, [0, 0, 30, 20])
    assert coco.instances_of(label_maps["empty.png"]) == []
    void = np.full((4, 4), -1)
    assert coco.instances_of(void) == []


def test_pycocotools_reads_both_files(label_maps, tmp_path):
    images = entries(label_maps)
    for name, content in (("dataset", coco.dataset(iter(images))), ("found", coco.results(images))):
        (tmp_path / f"{name}.json").write_text(json.dumps(content, allow_nan=False))
    dataset = COCO(tmp_path / "dataset.json")
    found = dataset.loadRes(str(tmp_path / "found.json"))
    assert dataset.loadCats([1])[0]["name"] == "object"
    assert sorted(dataset.anns) == [1, 2, 3] and sorted(dataset.imgs) == [7, 14, 21]
    for image_id, (name, labels) in zip(dataset.imgs, label_maps.items(), strict=True):
        image = dataset.imgs[image_id]
        assert (image["file_name"], image["height"], image["width"]) == (name, *labels.shape)
        numbers = np.unique(labels[labels > 0])
        for source in (dataset, found):
            annotations = source.loadAnns(source.getAnnIds(imgIds=[image_id]))
            for number, annotation in zip(numbers, annotations, strict=True):
                mask = source.annToMask(annotation)
                np.testing.assert_array_equal(mask, labels == number)
                assert annotation["area"] == mask.sum() and annotation["iscrowd"] == 0
                assert list(annotation["bbox"]) == coco.instances_of(mask)[0]["bbox"]
    assert {entry["score"] for entry in coco.results(images)} == {1.0}


def test_no_images():
    assert coco.results([]) == [] and coco.dataset([])["annotations"] == []
