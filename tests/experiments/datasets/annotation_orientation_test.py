"""Images with an EXIF orientation, annotated as they are shown or as they are stored."""

import json

import numpy as np
import pytest
from PIL import Image

from experiments import datasets
from experiments.datasets import notes, truth
from specjax import SpecjaxError, decode
from tests.support import tiny_datasets
from tests.support.tiny_datasets import edit_annotations


def exif_image(folder, orientation, *, drawn_on, listed):
    """One image of 40x24 pixels; its object is drawn on it "upright" or as "stored"."""
    stored = np.zeros((24, 40, 3), np.uint8)
    stored[2:10, 4:30] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    (folder / "images").mkdir()
    path = folder / "images" / "a.png"
    Image.fromarray(stored).save(path, exif=exif)
    pixels = decode(path, upright=drawn_on == "upright")
    rows, columns = np.nonzero(pixels[:, :, 0])
    top, bottom, left, right = rows.min(), rows.max() + 1, columns.min(), columns.max() + 1
    ring = [left, top, right, top, right, bottom, left, bottom]
    row = {"id": 3, "file_name": "a.png"}
    if listed:
        row |= dict(zip(("height", "width"), pixels.shape[:2], strict=True))
    annotation = {"id": 1, "image_id": 3, "segmentation": [[int(side) for side in ring]]}
    content = {"images": [row], "annotations": [annotation]}
    (folder / "instances.json").write_text(json.dumps(content))


def agreement(folder, **options):
    (record,) = datasets.open_dataset("coco", data_dir=folder, **options).records()
    image, instances = truth.read_both(record)
    return np.array_equal(image[:, :, 0] > 0, instances > 0), dict(record.notes)


@pytest.mark.parametrize("listed", [True, False])
@pytest.mark.parametrize("drawn_on", ["upright", "stored"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif(tmp_path, orientation, drawn_on, listed):
    exif_image(tmp_path, orientation, drawn_on=drawn_on, listed=listed)
    agree, noted = agreement(tmp_path)
    cannot_tell = 2 <= orientation <= 4
    assert agree or (noted and drawn_on == "stored")
    assert noted == ({notes.UNCLEAR: 1} if cannot_tell else {}) or not listed
    assert agreement(tmp_path, orientation=drawn_on) == (True, {})


@pytest.mark.parametrize(
    ("orientation", "drawn_on"), [(6, "upright"), (6, "stored"), (3, "upright")]
)
def test_exif_without_annotation(tmp_path, orientation, drawn_on):
    exif_image(tmp_path, orientation, drawn_on=drawn_on, listed=True)
    edit_annotations(tmp_path, lambda content: content.pop("annotations"))
    (record,) = datasets.open_dataset("coco", data_dir=tmp_path).records()
    expected = decode(record.source, upright=drawn_on == "upright")
    np.testing.assert_array_equal(record.read_image(), expected)


def test_orientation_belongs_to_the_run_and_needs_annotation(tmp_path):
    tiny_datasets.write_coco(tmp_path)
    plain = datasets.open_dataset("coco", data_dir=tmp_path)
    stored = datasets.open_dataset("coco", data_dir=tmp_path, orientation="stored")
    assert stored.identity == plain.identity | {"orientation": "stored"}
    with pytest.raises(SpecjaxError, match="dataset 'folder' has none"):
        datasets.open_dataset("folder", data_dir=tmp_path / "images", orientation="stored")
