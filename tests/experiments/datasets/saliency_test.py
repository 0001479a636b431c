"""Images with binary masks: layouts, thresholds."""

import numpy as np
import pytest
from PIL import Image

from experiments import datasets
from experiments.datasets import notes
from experiments.datasets.records import VOID
from experiments.datasets.saliency import read_binary
from experiments.datasets.truth import read_both
from specjax import SpecjaxError
from tests.support import tiny_datasets


def opened(folder, **options):
    return datasets.open_dataset("saliency", data_dir=folder, **options)


LAYOUTS = [
    ("images", "masks"),
    ("Images", "GT"),
    ("imgs", "gt"),  # HKU-IS
    ("images", "ground_truth_mask"),  # ECSSD
    ("DUTS-TE-Image", "DUTS-TE-Mask"),
    ("DUT-OMRON-image", "pixelwiseGT-new-PNG"),
    ("DUT-OMRON-image/DUT-OMRON-image", "pixelwiseGT-new-PNG"),
    ("imgs/pascal", "masks/pascal"),
    ("JPEGImages", "SegmentationObject"),
    ("Imgs", "Imgs"),  # MSRA10K, SOD
    ("", ""),
]


@pytest.mark.parametrize("below", ["", "test"])
@pytest.mark.parametrize(("images", "masks"), LAYOUTS)
def test_layouts(tmp_path, images, masks, below):
    maps = tiny_datasets.write_saliency(tmp_path / below, images, masks)
    if images != masks:
        (tmp_path / below / "Annotations").mkdir()  # as in VOC: no masks
        (tmp_path / below / "Annotations" / "0000.xml").write_text("<annotation/>")
    dataset = opened(tmp_path)
    assert dataset.name == "saliency" and dataset.annotated and not dataset.warnings
    tiny_datasets.check_records(dataset, maps)


def test_folders_in_the_folders(tmp_path):
    for name in ("a", "b"):
        tiny_datasets.write_saliency(tmp_path, f"images/{name}", f"masks/{name}")
    assert [record.id for record in opened(tmp_path).records()][2:4] == ["a/0002", "b/0000"]
    record = list(opened(tmp_path).records())[3]
    assert record.annotation == str(tmp_path / "masks" / "b" / "0000.png")


def test_several_layouts_are_not_mixed(tmp_path):
    for name in ("DUTS-TE", "DUTS-TR"):
        tiny_datasets.write_saliency(tmp_path / name, f"{name}-Image", f"{name}-Mask")
    with pytest.raises(SpecjaxError, match=r"several folders of images or masks .*DUTS-TR-Mask"):
        opened(tmp_path)
    assert opened(f"{tmp_path / 'DUTS-TE'},{tmp_path / 'DUTS-TR'}").count == 6


def test_masks_that_are_named(tmp_path):
    maps = tiny_datasets.write_saliency(tmp_path, "images", "masks")
    tiny_datasets.write_saliency(tmp_path, "images", "gt")
    (tmp_path / "gt" / "0000.png").unlink()
    with pytest.raises(SpecjaxError, match="several folders of images or masks"):
        opened(tmp_path)
    tiny_datasets.check_records(opened(tmp_path, annotations=tmp_path / "masks"), maps)
    elsewhere = opened(tmp_path / "images", annotations=tmp_path / "masks")
    tiny_datasets.check_records(elsewhere, maps)
    with pytest.raises(SpecjaxError, match=r"--annotations .*: no such folder"):
        opened(tmp_path, annotations=tmp_path / "missing")


def test_what_is_missing(tmp_path):
    tiny_datasets.write_saliency(tmp_path)
    (tmp_path / "masks" / "0001.png").unlink()
    (tmp_path / "images" / "0002.jpg").unlink()
    dataset = opened(tmp_path)
    first, second = dataset.records()
    assert first.read_instances().max() == 1
    with pytest.raises(SpecjaxError, match=r"masks/0001\.png': no such file"):
        second.read_instances()
    (warning,) = dataset.warnings
    assert warning.startswith("1 masks have no image") and "0002.png" in warning


def test_nothing_to_read(tmp_path):
    with pytest.raises(SpecjaxError, match="no images and masks in"):
        opened(tmp_path)
    tiny_datasets.write_saliency(tmp_path)
    for path in (tmp_path / "masks").iterdir():
        path.rename(path.with_name(f"other{path.name}"))
    with pytest.raises(SpecjaxError, match=r"no image in .* has a mask of its name"):
        opened(tmp_path)


def test_sizes_that_differ_break_their_record(tmp_path):
    tiny_datasets.write_saliency(tmp_path)
    path = tmp_path / "masks" / "0001.png"
    mask = Image.open(path)
    mask.resize((mask.width - 1, mask.height)).save(path)
    first, second, third = opened(tmp_path).records()
    with pytest.raises(SpecjaxError, match=r"0001\.jpg: the image is .* its annotation"):
        read_both(second)
    assert read_both(first)[1].max() == read_both(third)[1].max() == 1


def grey(*levels, mode=np.uint8):
    return Image.fromarray(np.array([levels], mode))


def indexed(levels, *colours):
    image = Image.fromarray(np.array([levels], np.uint8), "P")
    image.putpalette([value for colour in colours for value in colour])
    return image


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (grey(0, 255, 255), [0, 1, 1]),
        (grey(0, 0), [0, 0]),
        (grey(255, 255), [1, 1]),
        (grey(0, 1, 0), [0, 1, 0]),
        (grey(0, 126, 127, 128, 129, 254, 255), [0, 0, 0, 1, 1, 1, 1]),  # smoothed edges
        (grey(3, 250, 1, 252), [0, 1, 0, 1]),  # JPEG
        (grey(0, 32767, 32768, 65535, mode=np.uint16), [0, 0, 1, 1]),
        (grey(0, 128, 255).convert("RGB"), [0, 1, 1]),
        (grey(0, 100, 255).convert("LA"), [0, 0, 1]),
        (grey(0, 255).convert("1"), [0, 1]),
        (grey(0, 100, 255).convert("P"), [0, 0, 1]),
        (indexed([0, 1, 1], (0, 0, 0), (128, 0, 0)), [0, 1, 1]),
        (indexed([0, 1, 1], (0, 0, 0), (255, 255, 255)), [0, 1, 1]),
        (indexed([0, 1, 1], (255, 255, 255), (0, 0, 0)), [1, 0, 0]),
        (indexed([0, 1, 2], (0, 0, 0), (90, 90, 90), (255, 255, 255)), [0, 0, 1]),
        (indexed([0, 1, 2], (0, 0, 0), (128, 0, 0), (224, 224, 192)), [0, 1, VOID]),
        (Image.fromarray(np.array([[[0, 0, 0], [255, 0, 0]]], np.uint8)), [0, 1]),
    ],
)
def test_kinds_of_masks(tmp_path, image, expected):
    image.save(tmp_path / "x.png")
    instances = read_binary(tmp_path / "x.png")
    assert instances.tolist() == [expected] and instances.dtype == np.int32


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (grey(0, 1, 255), "grey levels 0, 1, 255"),  # 255 may be void
        (grey(0, 1, 2), "grey levels 0, 1, 2"),
        (grey(0, 127), "grey levels 0, 127"),
        (indexed([0, 1, 2], (0, 0, 0), (128, 0, 0), (0, 128, 0)), "2 objects"),
        (Image.new("CMYK", (2, 2)), "mode CMYK"),
    ],
)
def test_what_is_no_binary_mask(tmp_path, image, words):
    path = tmp_path / ("x.tif" if image.mode == "CMYK" else "x.png")
    image.save(path)
    with pytest.raises(SpecjaxError) as error:
        read_binary(path)
    assert words in str(error.value) and "x." in str(error.value) and "\n" not in str(error.value)


def test_grey_masks_are_noted(tmp_path):
    tiny_datasets.write_saliency(tmp_path)
    path = tmp_path / "masks" / "0001.png"
    levels = np.array(Image.open(path))
    levels[: len(levels) // 4] = 150  # the rest has sharp edges
    Image.fromarray(levels).save(path)
    first, second, _ = records = list(opened(tmp_path).records())
    expected = (np.asarray(Image.open(path)) > 127).astype(np.int32)
    np.testing.assert_array_equal(second.read_instances(), expected)
    first.read_instances()
    (line,) = notes.sentences((record.id, record.notes) for record in records)
    assert line.startswith("1 masks are grey") and "'0001'" in line
    levels[:] = 255
    Image.fromarray(levels).save(path)
    second.read_instances()
    assert not second.notes


def test_list_of_images(tmp_path):
    tiny_datasets.write_saliency(tmp_path)
    (tmp_path / "test.lst").write_text("images/0002.jpg\n0000.jpg\n")
    dataset = opened(tmp_path, frames=tmp_path / "test.lst")
    assert [record.id for record in dataset.records()] == ["0000", "0002"]


def test_real_photographs(shared_data):
    root = shared_data / "sod_dev"
    dataset = opened(root)
    assert dataset.count == 100 and not dataset.warnings
    listed = (root / "ImageSets" / "Segmentation" / "val.txt").read_text().split()
    assert sorted(record.id for record in dataset.records()) == sorted(listed)
    for record in dataset.records():
        mask = np.asarray(Image.open(root / "SegmentationObject" / f"{record.id}.png"))
        np.testing.assert_array_equal(record.read_instances(), mask)
        with Image.open(record.source) as image:
            assert image.size == mask.shape[::-1]
