"""Results as masks, boxes, pictures and COCO annotations."""

import json

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from specjax import Segmentation, Tiling

TILING = Tiling.of_image((70, 100), 16)
SIZE = (70, 100)


def found_in(labels, instances):
    tokens = np.zeros(TILING.grid, np.int32)
    tokens[1, 2:4] = 1
    rng = np.random.default_rng(0)
    return Segmentation(
        image=rng.integers(0, 256, (*SIZE, 3), np.uint8),
        labels=labels,
        scores=np.ones(instances, np.float32),
        foreground=tokens > 0,
        eigensegments=rng.normal(size=(4, *TILING.grid)).astype(np.float32),
        token_labels=tokens,
        tiling=TILING,
    )


@pytest.fixture
def found():
    """Two visible instances, and one without pixels, whose number is between theirs."""
    labels = np.zeros(SIZE, np.int32)
    labels[10:40, 5:30] = 1
    labels[20:30, 10:60] = 3
    return found_in(labels, 3)


def test_masks_and_boxes(found):
    assert found.masks.shape == (3, *SIZE) and found.masks.dtype == bool
    np.testing.assert_array_equal(np.argmax([found.labels == 0, *found.masks], 0), found.labels)
    assert found.masks.sum(axis=(1, 2)).tolist() == [750 - 200, 0, 500]
    assert found.boxes.tolist() == [[5, 10, 25, 30], [0, 0, 0, 0], [10, 20, 50, 10]]
    nothing = found_in(np.zeros(SIZE, np.int32), 0)
    assert nothing.masks.shape == (0, *SIZE) and nothing.boxes.shape == (0, 4)
    assert nothing.to_coco(image_id=1) == []


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # of pycocotools
def test_coco_annotations_are_the_masks(found):
    annotations = json.loads(json.dumps(found.to_coco(image_id=7)))
    assert [one["id"] for one in annotations] == [1, 2]
    for one, number in zip(annotations, (1, 3), strict=True):
        mask = coco_mask.decode(one["segmentation"])
        np.testing.assert_array_equal(mask, found.labels == number)
        assert one["image_id"] == 7 and one["area"] == mask.sum()
        assert one["bbox"] == found.boxes[number - 1].tolist()


def test_pictures(found):
    """Only pixels of instances differ from the photograph; all stages are on one sheet."""
    overlay = found.overlay()
    assert overlay.size == (100, 70) and overlay.mode == "RGB"
    changed = (np.asarray(overlay) != found.image).any(axis=2)
    assert changed[found.labels > 0].all() and not changed[45:, 65:].any()
    stages = found.stages()
    # Seven panels: the photograph, its foreground, four eigensegments, the instances.
    assert stages.width > 7 * found_in(found.labels, 3).image.shape[1]
    assert found_in(np.zeros(SIZE, np.int32), 0).overlay().size == (100, 70)
