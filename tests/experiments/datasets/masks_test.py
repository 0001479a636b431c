"""Segmentations of the COCO family, as instance maps: run lengths, polygons, what is neither."""

import math

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from experiments.datasets import masks
from specjax import SpecjaxError
from tests.support import tiny_datasets


def test_overlaps_and_crowds():
    big, small, crowd = np.zeros((3, 10, 10), bool)
    big[:8, :8] = small[2:4, 2:4] = crowd[3:10, 3:10] = True
    runs = [tiny_datasets.run_lengths(mask)["counts"] for mask in (small, big, crowd)]
    painted = masks.paint(10, 10, [(1, runs[0]), (2, runs[1])], [runs[2]])
    expected = np.where(small, 1, np.where(big, 2, np.where(crowd, -1, 0)))
    np.testing.assert_array_equal(painted, expected)


def test_compressed_run_lengths_agree_with_pycocotools():
    generator = np.random.default_rng(5)
    for index in range(60):
        height, width = generator.integers(1, 60, 2)
        mask = generator.random((height, width)) < generator.choice([0.0, 0.02, 0.5, 0.98, 1.0])
        plain = tiny_datasets.run_lengths(mask)
        compressed = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
        assert masks.expand_counts(compressed, "x") == plain["counts"], index
        for counts in (compressed, plain["counts"]):
            segmentation = {"size": [int(height), int(width)], "counts": counts}
            runs = masks.run_lengths(segmentation, int(height), int(width), "x")
            np.testing.assert_array_equal(masks.decode(runs, height, width), mask)


BAD_SEGMENTATIONS = [
    ([], "the segmentation is empty"),
    ("text", "must be a list of polygons"),
    (None, "must be a list of polygons"),
    ([1, 2, 3, 4, 5, 6], "an even number of at least 6"),
    ([[1, 2, 3, 4]], "an even number of at least 6"),
    ([[1, 2, 3, 4, 5, 6, 7]], "an even number of at least 6"),
    ([[1, 2, 3, 4, 5, "6"]], "an even number of at least 6"),
    ([[1, 2, 3, 4, 5, True]], "an even number of at least 6"),
    ([[1, 2, 3, 4, 5, math.nan]], "far outside"),
    ([[1, 2, 3, 4, 5, math.inf]], "far outside"),
    ([[1, 2, 3, 4, 5, 10**400]], "far outside"),
    ([[0, 0, 30, 16] * 60_000], "longer than 2000000 pixels"),
    ({"counts": [320]}, "size None"),
    ({"size": [20, 16], "counts": [320]}, r"size \[20, 16\], but the image has \[16, 20\]"),
    ({"size": [2**31, 2**31], "counts": [320]}, "have size"),
    ({"size": [16, 20]}, "'counts' must be"),
    ({"size": [16, 20], "counts": [321]}, "cover 321 pixels, but the image has 320"),
    ({"size": [16, 20], "counts": [319]}, "cover 319 pixels"),
    ({"size": [16, 20], "counts": [400, -80]}, "'counts' must be"),
    ({"size": [16, 20], "counts": [320.0]}, "'counts' must be"),
    ({"size": [16, 20], "counts": [2**64, 320]}, "cover"),
    ({"size": [16, 20], "counts": "P: "}, "not a compressed run length string"),
    ({"size": [16, 20], "counts": "o" * 100}, "not a compressed run length string"),
    ({"size": [16, 20], "counts": "o"}, "ends within a number"),
    ({"size": [16, 20], "counts": "oooooo1"}, "cover"),
    ({"size": [16, 20], "counts": "\u0660"}, "not a compressed run length string"),
    ({"size": [16, 20], "counts": "O"}, "'counts' must be"),  # a length of -1
]


@pytest.mark.parametrize(("segmentation", "reason"), BAD_SEGMENTATIONS)
def test_bad_segmentations(segmentation, reason):
    with pytest.raises(SpecjaxError, match=reason) as error:
        masks.run_lengths(segmentation, 16, 20, "'a.json': annotation 3")
    assert "'a.json': annotation 3" in str(error.value) and "\n" not in str(error.value)


def test_a_polygon_may_leave_the_image_a_little():
    runs = masks.run_lengths([[-2, -2, 25, -2, 25, 18, -2, 18]], 16, 20, "x")
    assert masks.decode(runs, 16, 20).all()
