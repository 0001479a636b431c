import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from experiments import datasets
from experiments.datasets import truth
from specjax import SpecjaxError
from tests.support import tiny_datasets
from tests.support.tiny_datasets import edit_annotations


def opened(folder, **options):
    return datasets.open_dataset("coco", data_dir=folder, **options)


@pytest.fixture
def folder(tmp_path):
    tiny_datasets.write_coco(tmp_path)
    return tmp_path


def test_reads_what_was_written(tmp_path):
    maps = tiny_datasets.write_coco(tmp_path)
    dataset = opened(tmp_path)
    assert dataset.name == "coco"
    tiny_datasets.check_records(dataset, maps)
    assert any((instances == -1).any() for instances in maps.values())
    assert dataset.identity["annotations"] == str(tmp_path / "instances.json")
    assert len(dataset.identity["annotations_sha256"]) == 64


def test_an_image_without_annotations_is_all_background(folder):
    def change(content):
        content["annotations"] = [a for a in content["annotations"] if a["image_id"] != 8]

    edit_annotations(folder, change)
    first, second, third = (record.read_instances() for record in opened(folder).records())
    assert first.any() and third.any() and not second.any()


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c.pop("annotations"),
        lambda c: c.update(annotations=None),
        lambda c: c.update(annotations=[]),
    ],
)
def test_a_file_without_annotations(folder, change):
    edit_annotations(folder, change)
    dataset = opened(folder)
    assert not dataset.annotated
    assert [record.read_instances for record in dataset.records()] == [None] * 3
    assert next(dataset.records()).read_image().shape == (64, 80, 3)
    with pytest.raises(SpecjaxError, match="needs annotations"):
        opened(folder, paper_filter=True)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda a: a.update(segmentation=[[1, 2, 3]]), "a polygon"),
        (lambda a: a.update(segmentation=[[1, 2, 3, 4, 5, "x"]]), "a polygon"),
        (lambda a: a.update(segmentation=[[1, 2, 3, 4, 5, None]]), "a polygon"),
        (lambda a: a.update(segmentation="text"), "a segmentation must be"),
        (lambda a: a.update(segmentation=True), "a segmentation must be"),
        (lambda a: a.update(segmentation={"size": [64], "counts": [1]}), "the run lengths have"),
        (lambda a: a.update(segmentation={"size": [64, 80], "counts": [1]}), "the run lengths cov"),
        (lambda a: a.update(segmentation={"size": [64, 80], "counts": {}}), "'counts' must be"),
        (lambda a: a.update(iscrowd="perhaps"), "'iscrowd' is 'perhaps'"),
    ],
)
def test_a_bad_annotation_fails_its_record_alone(folder, change, reason):
    edit_annotations(folder, lambda content: change(content["annotations"][0]))
    first, second, _ = opened(folder).records()
    with pytest.raises(SpecjaxError, match=rf"instances\.json': annotation 1: {reason}"):
        first.read_instances()
    assert second.read_instances().max() >= 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda c: c.pop("images"), "no list 'images'"),
        (lambda c: c.update(annotations={"id": 1}), "no list 'annotations'"),
        (lambda c: c.update(images={}), "no list 'images'"),
        (lambda c: c["images"].clear(), "lists no images"),
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
        (lambda c: c["images"].__setitem__(1, 3), r"images\[1\] is not an object"),
        (lambda c: c["images"][1].update(id=None), r"images\[1\] has no valid 'id': None"),
        (lambda c: c["images"][1].update(id=[1]), r"images\[1\] has no valid 'id'"),
        (lambda c: c["images"][1].pop("file_name"), "has no valid 'file_name'"),
        (lambda c: c["images"][1].update(file_name=3), "has no valid 'file_name'"),
        (lambda c: c["images"][1].update(file_name="/"), "no such file"),
        (lambda c: c["images"][1].update(file_name="../a.jpg"), "no such file"),
        (lambda c: c["images"][1].update(file_name="/etc/passwd"), "no such file"),
        (lambda c: c["images"][1].update(file_name="a\n\0\ud800.jpg"), "no such file"),
        (lambda c: c["images"][1].update(file_name="b/000000000000.jpg"), r"no file 'b/0000"),
    ],
)
def test_a_bad_image_fails_alone(folder, change, reason):
    edit_annotations(folder, change)
    first, bad, third = opened(folder).records()
    with pytest.raises(SpecjaxError, match=reason) as error:
        truth.read_both(bad)
    assert "\n" not in str(error.value)
    for record in (first, third):
        assert truth.read_both(record)[1].max() >= 1
    assert bad.id.encode().isascii() and bad.id.isprintable()


@pytest.mark.parametrize("width", [70, 10**9])
def test_an_image_of_another_size_fails_alone(folder, width):
    edit_annotations(folder, lambda content: content["images"][0].update(width=width))
    first, *others = opened(folder).records()
    with pytest.raises(SpecjaxError, match=f"the image is 80x64, its annotation {width}x64"):
        first.read_instances()
    assert all(record.read_instances().any() for record in others)


def test_two_images_with_one_id_fail_both(folder):
    edit_annotations(folder, lambda content: content["images"][1].update(id="7"))
    first, second, third = opened(folder).records()
    for record in (first, second):
        with pytest.raises(SpecjaxError, match=r"images\[.\] has the id 7, like another"):
            record.read_image()
    assert third.read_instances().any()


def test_a_repeated_row_is_one_image(folder):
    edit_annotations(folder, lambda content: content["images"].append(content["images"][0]))
    assert len(list(opened(folder).records())) == 3


def test_what_an_error_quotes_stays_in_one_line(folder):
    def change(content):
        content["annotations"][0] |= {"id": "a\n\u2028b", "iscrowd": "c\nd"}
        content["annotations"][3]["image_id"] = "e\nf"

    edit_annotations(folder, change)
    dataset = opened(folder)
    (warning,) = dataset.warnings
    assert "(image_id e%0Af ...)" in warning
    with pytest.raises(SpecjaxError, match=r"annotation a%0A%E2%80%A8b: 'iscrowd' is 'c\\nd'"):
        next(dataset.records()).read_instances()


@pytest.mark.parametrize("bad", [3, {"id": 5}, {"id": 5, "image_id": None}])
def test_annotations_of_no_image_are_left_out_with_a_warning(folder, bad):
    edit_annotations(folder, lambda content: content["annotations"].append(bad))
    (warning,) = opened(folder).warnings
    assert "annotations without a valid 'image_id' are left out: 1" in warning


@pytest.mark.parametrize(
    ("text", "reason"),
    [("{", "not valid JSON"), ("[]", "no JSON object"), ("[" * 100_000, "not valid JSON"),
     (b"\xff\xff", "not valid JSON")],
)  # fmt: skip
def test_no_json(folder, text, reason):
    (folder / "instances.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(SpecjaxError, match=reason):
        opened(folder)


def test_annotations_of_unlisted_images_are_left_out_with_a_warning(folder, caplog):
    assert opened(folder).warnings == ()
    edit_annotations(folder, lambda content: content["images"].pop())
    dataset = opened(folder)
    assert len(list(dataset.records())) == dataset.count == 2
    (warning,) = dataset.warnings
    assert "annotations of 1 images that it does not list are left out (image_id 9" in warning
    assert "instances.json" in warning and not caplog.records


def test_where_files_are_looked_for(folder, tmp_path):
    (folder / "annotations").mkdir()
    (folder / "instances.json").rename(folder / "annotations" / "instances_val2017.json")
    (folder / "images").rename(folder / "val2017")
    dataset = opened(folder)
    assert dataset.identity["split"] == "val2017"
    assert next(dataset.records()).source == str(folder / "val2017" / "000000000000.jpg")
    with pytest.raises(SpecjaxError, match=r"split 'train2017'.*splits there: val2017\)"):
        opened(folder, split="train2017")

    elsewhere = tmp_path / "mine.json"
    (folder / "annotations" / "instances_val2017.json").rename(elsewhere)
    with pytest.raises(
        SpecjaxError, match=r"looked for instances\.json, annotations/instances_val"
    ):
        opened(folder)
    with pytest.raises(SpecjaxError, match="none of the annotated images was found"):
        opened(folder, annotations=elsewhere)
    assert len(list(opened(folder / "val2017", annotations=elsewhere).records())) == 3
    assert len(list(opened(folder, annotations=elsewhere, split="val2017").records())) == 3
    with pytest.raises(SpecjaxError, match=r"nowhere\.json': no such file"):
        opened(folder, annotations=tmp_path / "nowhere.json")


# pycocotools' own decoding, used here as the reference, trips over numpy 2's copy keyword.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_real_photographs_agree_with_pycocotools(shared_data, capsys):
    path = shared_data / "coco_mini" / "instances.json"
    reference = COCO(path)
    by_file = {image["file_name"]: image["id"] for image in reference.dataset["images"]}
    read = list(opened(shared_data / "coco_mini").records())
    assert len(read) == 125
    compared = void = 0
    for record in read:
        instances = record.read_instances()
        with Image.open(record.source) as image:
            assert image.size == instances.shape[::-1]
        annotations = reference.imgToAnns[by_file[record.id + ".jpg"]]
        covers, expected = np.zeros((2, *instances.shape), np.int32)
        for number, annotation in enumerate(annotations, start=1):
            mask = reference.annToMask(annotation).astype(bool)
            covers += mask
            expected[mask] = -1 if annotation["iscrowd"] else number
        alone = covers == 1
        assert (instances[alone] == expected[alone]).all()
        assert ((instances != 0) == (covers > 0)).all()
        compared += len(np.unique(expected[alone]))
        void += (instances == -1).any()
    assert compared > 1000 and void > 5
