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
    for split in ("train", "train.txt"):
        assert len(list(opened(tmp_path, split=split).records())) == 3
    with pytest.raises(SpecjaxError, match=r"no split 'val'.*splits there: train\)"):
        opened(tmp_path)
    listing = tmp_path / "ImageSets" / "Segmentation" / "val.txt"
    listing.write_text("\n")
    with pytest.raises(SpecjaxError, match=r"val\.txt' lists no images"):
        opened(tmp_path)


def test_identity_follows_the_split_file(tmp_path):
    tiny_datasets.write_voc(tmp_path)
    before = opened(tmp_path).identity
    assert before["data_dir"] == str(tmp_path) and before["split"] == "val"
    listing = tmp_path / "ImageSets" / "Segmentation" / "val.txt"
    listing.write_text(listing.read_text().splitlines()[0])
    assert opened(tmp_path).identity["split_sha256"] != before["split_sha256"]


LISTS = {
    "suffixes": "2007_000000.jpg\n2007_000001.JPG\n",
    "paths": "JPEGImages/2007_000000.jpg\n./2007_000001\n",
    "absolute paths": "/data/VOC2012/JPEGImages/2007_000000.jpg\n/JPEGImages/2007_000001.jpg\n",
    "paths of Windows": "JPEGImages\\2007_000000.jpg\r\nD:\\VOC\\JPEGImages\\2007_000001.jpg\r\n",
    "masks": "/JPEGImages/2007_000000.jpg /SegmentationClassAug/2007_000000.png\n"
    "/JPEGImages/2007_000001.jpg\t/SegmentationClassAug/2007_000001.png\n",
    "labels": "2007_000000  1\n2007_000001 +1\n",
    "labels of absence": "2007_000000 -1\n2007_000001  0\n",
    "a byte order mark": "\ufeff2007_000000\n\n2007_000001\n",
    "repetition": "2007_000000.jpg\n2007_000001\n2007_000000\n",
}
WARNINGS = {"labels of absence": "1 of 2 images have the label -1", "repetition": "1 of 3 lines"}


@pytest.mark.parametrize("folder", ["Segmentation", "Main", "."])
@pytest.mark.parametrize("kind", LISTS)
def test_lists_as_tools_write_them(tmp_path, kind, folder):
    maps = tiny_datasets.write_voc(tmp_path, split="train")
    path = tmp_path / "ImageSets" / folder / "val.txt"
    path.parent.mkdir(exist_ok=True)
    encoding = "utf-16" if kind == "suffixes" else "utf-8"
    path.write_bytes(LISTS[kind].encode(encoding))
    dataset = opened(tmp_path)
    del maps["2007_000002"]
    tiny_datasets.check_records(dataset, maps)
    assert [WARNINGS[kind] in text for text in dataset.warnings] == [True] * (kind in WARNINGS)


def test_the_list_of_the_segmentation_comes_first(tmp_path):
    tiny_datasets.write_voc(tmp_path)
    (tmp_path / "ImageSets" / "Main").mkdir()
    (tmp_path / "ImageSets" / "Main" / "val.txt").write_text("2007_000000\n")
    assert opened(tmp_path).count == 3


def test_a_bad_line_costs_its_image(tmp_path):
    maps = tiny_datasets.write_voc(tmp_path)
    listing = tmp_path / "ImageSets" / "Segmentation" / "val.txt"
    bad = ["../secret", "/etc/passwd", ".", "a/../../b", "tab\x07", "x" * 5000]
    listing.write_text("\n".join([*bad, *maps]))
    dataset = opened(tmp_path)
    *broken, first, _, _ = dataset.records()
    assert dataset.count == len(bad) + 3 and first.id == "2007_000000"
    for record in broken:
        assert ".." not in record.id and "/" not in record.id
        for read in (record.read_image, record.read_instances):
            with pytest.raises(SpecjaxError, match=r"plain relative path|control|no such file"):
                read()


def test_names_with_spaces_and_dots(tmp_path):
    tiny_datasets.write_voc(tmp_path)
    for name in ("IMG 1", "IMG", "v1.2"):
        for folder, suffix in (("JPEGImages", ".jpg"), ("SegmentationObject", ".png")):
            source = tmp_path / folder / f"2007_000000{suffix}"
            source.with_name(name + suffix).write_bytes(source.read_bytes())
    listing = tmp_path / "ImageSets" / "Segmentation" / "val.txt"
    listing.write_text("IMG 1\nIMG 1.jpg\nIMG -1\nv1.2\n")
    records = list(opened(tmp_path).records())
    assert [record.id for record in records] == ["IMG 1", "IMG", "v1.2"]


def test_images_that_differ_in_the_suffix(tmp_path):
    tiny_datasets.write_voc(tmp_path)
    image = tmp_path / "JPEGImages" / "2007_000000.jpg"
    Image.open(image).rotate(180).save(image.with_suffix(".png"))
    listing = tmp_path / "ImageSets" / "Segmentation" / "val.txt"
    listing.write_text("2007_000000.png\n2007_000001\n2007_000000.jpg\n")
    first, second, third = opened(tmp_path).records()
    assert [first.id, second.id, third.id] == ["2007_000000.png", "2007_000001", "2007_000000.jpg"]
    assert first.source.endswith(".png") and third.source.endswith(".jpg")


def test_masks_of_another_format(tmp_path):
    maps = tiny_datasets.write_voc(tmp_path)
    for path in (tmp_path / "SegmentationObject").iterdir():
        Image.open(path).save(path.with_suffix(".TIF"), format="TIFF")
        path.unlink()
    tiny_datasets.check_records(opened(tmp_path), maps)


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


def test_annotations_that_are_numbers_or_cut(tmp_path):
    tiny_datasets.write_voc(tmp_path)
    path = tmp_path / "SegmentationObject" / "2007_000001.png"
    record = list(opened(tmp_path).records())[1]
    indexed = Image.open(path)
    indexed.load()
    expected = record.read_instances()

    Image.fromarray(np.asarray(indexed)).save(path)  # mode L, small indices: unambiguous
    np.testing.assert_array_equal(record.read_instances(), expected)

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


@pytest.mark.parametrize("below", ["", "DAVIS"])
def test_a_folder_of_davis(tmp_path, below):
    tiny_datasets.write_davis(tmp_path / below)
    for split in (None, "2017/val"):
        with pytest.raises(SpecjaxError, match=r"holds DAVIS, not VOC: give --dataset=davis$"):
            opened(tmp_path, split=split)


def test_voc_beside_davis(tmp_path):
    tiny_datasets.write_davis(tmp_path / "DAVIS")
    maps = tiny_datasets.write_voc(tmp_path / "VOC2012")
    tiny_datasets.check_records(opened(tmp_path), maps)
