import numpy as np
import pytest
from PIL import Image

from experiments import datasets
from specjax import SpecjaxError
from tests.support import tiny_datasets


def opened(folder, **options):
    return datasets.open_dataset("voc", data_dir=folder, **options)


@pytest.mark.parametrize("below", ["", "VOC2012", "VOCdevkit/VOC2012"])
def test_reads_what_was_written(tmp_path, below):
    maps = tiny_datasets.write_voc(tmp_path / below)
    dataset = opened(tmp_path)
    assert dataset.name == "voc"
    tiny_datasets.check_records(dataset, maps)
    assert all(record.source.endswith(f"{record.id}.jpg") for record in dataset.records())
    assert any((instances == -1).any() for instances in maps.values())


def test_splits(tmp_path):
    tiny_datasets.write_voc(tmp_path, split="train")
    assert len(list(opened(tmp_path, split="train").records())) == 3
    with pytest.raises(SpecjaxError, match=r"no split 'val'.*splits there: train\)"):
        opened(tmp_path)
    listing = tmp_path / "ImageSets" / "Segmentation" / "val.txt"
    listing.write_text("\n")
    with pytest.raises(SpecjaxError, match=r"val\.txt' lists no images"):
        opened(tmp_path)
    listing.write_text("../secret\n")
    with pytest.raises(SpecjaxError, match=r"'\.\./secret' is not a plain relative path"):
        opened(tmp_path)
    listing.write_text("a\na\n")
    with pytest.raises(SpecjaxError, match="two images have the id 'a'"):
        opened(tmp_path)


def test_identity_follows_the_split_file(tmp_path):
    tiny_datasets.write_voc(tmp_path)
    before = opened(tmp_path).identity
    assert before["data_dir"] == str(tmp_path) and before["split"] == "val"
    listing = tmp_path / "ImageSets" / "Segmentation" / "val.txt"
    listing.write_text(listing.read_text().splitlines()[0])
    assert opened(tmp_path).identity["split_sha256"] != before["split_sha256"]


def test_no_voc_folder(tmp_path):
    with pytest.raises(SpecjaxError, match="no folder JPEGImages"):
        opened(tmp_path)


def test_missing_files_are_errors_of_their_record(tmp_path):
    tiny_datasets.write_voc(tmp_path)
    (tmp_path / "JPEGImages" / "2007_000000.jpg").unlink()
    (tmp_path / "SegmentationObject" / "2007_000001.png").unlink()
    first, second, third = opened(tmp_path).records()
    with pytest.raises(SpecjaxError, match=r"JPEGImages/2007_000000\.jpg': no such file"):
        first.read_image()
    with pytest.raises(SpecjaxError, match=r"SegmentationObject/2007_000001\.png': no such file"):
        second.read_instances()
    assert third.read_instances().max() == 1


def test_without_annotations(tmp_path):
    tiny_datasets.write_voc(tmp_path)
    (tmp_path / "SegmentationObject").rename(tmp_path / "elsewhere")
    dataset = opened(tmp_path)
    assert not dataset.annotated
    assert all(record.read_instances is None for record in dataset.records())


def test_other_image_suffixes(tmp_path):
    tiny_datasets.write_voc(tmp_path)
    image = tmp_path / "JPEGImages" / "2007_000000.jpg"
    Image.open(image).save(image.with_suffix(".png"))
    image.unlink()
    record = next(opened(tmp_path).records())
    assert record.source.endswith(".png") and record.read_image().shape == (64, 80, 3)


def test_annotations_that_are_no_indices(tmp_path):
    tiny_datasets.write_voc(tmp_path)
    path = tmp_path / "SegmentationObject" / "2007_000001.png"
    record = list(opened(tmp_path).records())[1]
    indexed = Image.open(path)
    indexed.load()
    expected = record.read_instances()

    Image.fromarray(np.asarray(indexed)).save(path)  # mode L, small indices: unambiguous
    np.testing.assert_array_equal(record.read_instances(), expected)

    indexed.convert("RGB").save(path)
    with pytest.raises(SpecjaxError, match=r"2007_000001\.png' has mode RGB, not P"):
        record.read_instances()
    indexed.convert("L").save(path)
    with pytest.raises(SpecjaxError, match="mode L with grey levels above"):
        record.read_instances()
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(SpecjaxError, match="cannot be read"):
        record.read_instances()


def test_exif_is_not_applied(tmp_path):
    tiny_datasets.write_voc(tmp_path)
    path = tmp_path / "JPEGImages" / "2007_000000.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.zeros((64, 80, 3), np.uint8)).save(path, exif=exif)
    assert next(opened(tmp_path).records()).read_image().shape == (64, 80, 3)


def test_real_photographs(shared_data):
    read = list(opened(shared_data / "voc_mini").records())
    assert len(read) == 4
    objects = 0
    for record in read:
        instances = record.read_instances()
        assert record.read_image().shape[:2] == instances.shape
        objects += len(np.unique(instances[instances > 0]))
    assert objects == 14
