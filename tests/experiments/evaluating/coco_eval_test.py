"""The binary: its numbers against pycocotools and known results, and its messages."""

import contextlib
import io
import json
import shutil

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from experiments import datasets
from experiments.evaluating.localization import saliency
from tests.support import tiny_datasets
from tests.support.run_binary import assert_refused
from tests.support.scores import SAME_SCORE, entry, noisy_results, perfect, rectangle

KINDS = {"masks": "segm", "boxes": "bbox"}


def official(annotations, results):
    """The twelve numbers of pycocotools for masks and boxes, without classes."""
    content = json.loads(annotations.read_text())
    content["categories"] = [{"id": 1, "name": "object"}]
    for row in content["annotations"]:
        row["category_id"] = 1
    numbers = {}
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = content
        truth.createIndex()
        found = truth.loadRes(json.loads(json.dumps(results)))
        for kind, iou_type in KINDS.items():
            evaluation = COCOeval(truth, found, iou_type)
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
            numbers[kind] = [None if x < 0 else x for x in evaluation.stats.tolist()]
    return numbers


def same_as_official(finished, annotations, results):
    assert finished.status == 0, finished.stderr
    expected = official(annotations, results)
    for kind in KINDS:
        assert list(finished.result[kind].values()) == expected[kind]
    return expected


def coco_flags(folder):
    return "--dataset=coco", f"--data_dir={folder}"


def ids_and_maps(folder):
    for record in datasets.open_dataset("coco", data_dir=folder).records():
        yield record.origin.id, record.read_instances()


# ---------------------------------------------------------------- pycocotools itself


@pytest.mark.parametrize("boxes", [False, True])
def test_numbers_are_those_of_pycocotools(world, scored, boxes):
    folder = world.folder / "coco"
    results = noisy_results(ids_and_maps(folder))
    if boxes:
        for place, row in enumerate(results):
            row["bbox"] = [place % 7, 3.5, 20 + place, 40]
    finished = scored(results, *coco_flags(folder))
    expected = same_as_official(finished, folder / "instances.json", results)
    assert 0 < expected["masks"][0] < 1 and finished.report["ignored_regions"] == 1


def test_order_of_ids_decides_between_equal_scores(tmp_path, scored):
    """Images are not in the order of their ids, and all scores are 1."""
    tiny_datasets.write_coco(tmp_path / "coco")
    new = {7: 30, 8: 4, 9: 11}

    def change(content):
        for row in content["images"]:
            row["id"] = new[row["id"]]
        for row in content["annotations"]:
            row["image_id"] = new[row["image_id"]]
            row["area"] = 12.5

    tiny_datasets.edit_annotations(tmp_path / "coco", change)
    results = noisy_results(ids_and_maps(tmp_path / "coco"), seed=1)
    for row in results:
        row["score"] = 1.0
    finished = scored(results, *coco_flags(tmp_path / "coco"))
    same_as_official(finished, tmp_path / "coco" / "instances.json", results)


@pytest.mark.parametrize("name", ["coco_mini"])
def test_numbers_are_those_of_pycocotools_on_photographs(shared_data, scored, name):
    folder = shared_data / name
    results = noisy_results(ids_and_maps(folder))
    finished = scored(results, *coco_flags(folder))
    expected = same_as_official(finished, folder / "instances.json", results)
    assert finished.report["ignored_regions"] == 12 and 0 < expected["masks"][0] < 1


# ---------------------------------------------------------------- known results


@pytest.mark.parametrize(
    ("dataset", "id_of"),
    [
        ("voc", lambda number, record_id: record_id),
        ("voc", lambda number, record_id: f"{record_id}.jpg"),
        ("voc", lambda number, record_id: number),
        ("ytvis", lambda number, record_id: record_id),
        ("coco", lambda number, record_id: number + 6),
        ("coco", lambda number, record_id: str(number + 6)),
    ],
)
def test_perfect_results(world, scored, dataset, id_of):
    maps = world.maps[dataset]
    without_overlap = {"voc": 3, "ytvis": 2, "coco": 1}[dataset]
    maps = dict(list(maps.items())[:without_overlap])
    results = perfect(maps, id_of)
    flags = [f"--dataset={dataset}", f"--data_dir={world.folder / dataset}"]
    finished = scored(results, *flags, f"--limit={len(maps)}")
    assert finished.status == 0 and all(SAME_SCORE in w for w in finished.report["warnings"])
    assert {round(finished.result[kind]["AP"], 12) for kind in KINDS} == {1}
    assert {finished.result[kind]["AR100"] for kind in KINDS} == {1}
    assert finished.result["corloc"] == 1 and finished.result["iou"] is None
    assert "100.00" in finished.stdout and finished.stdout.endswith("scores.json\n")


@pytest.mark.parametrize(
    ("images", "scores", "same"),
    [
        ([1, 2, 2, 3], [1, 1, 1, 0.5], True),
        ([1, 2, 2, 3], [1, 1, 0.5, 0.25], False),
        ([1, 2, 2, 2], [1, 0.5, 0.5, 0.5], False),
    ],
)
def test_detections_of_the_same_score(world, scored, images, scores, same):
    """More than half of them in several images: pycocotools ranks them in the images' order."""
    results = [
        {"image_id": image, "category_id": 1, "bbox": [2, 2, 7, 7], "score": score}
        for image, score in zip(images, scores, strict=True)
    ]
    finished = scored(results, "--dataset=voc", f"--data_dir={world.folder / 'voc'}")
    assert any(SAME_SCORE in warning for warning in finished.report["warnings"]) is same


def test_no_results(world, scored):
    finished = scored([], "--dataset=voc", f"--data_dir={world.folder / 'voc'}")
    assert {finished.result[kind][key] for kind in KINDS for key in ("AP", "AR100")} == {0}
    assert finished.result["corloc"] == 0
    (warning,) = finished.report["warnings"]
    assert "3 of 3 images have no results" in warning
    assert f"warning: {warning}\n" in finished.stdout


@pytest.fixture
def one_object(tmp_path):
    """Three images with one object each, one with a void row."""
    folder = tmp_path / "voc"
    maps = {}
    for name in ("JPEGImages", "SegmentationObject", "ImageSets/Segmentation"):
        (folder / name).mkdir(parents=True)
    for number in range(3):
        instances = rectangle(4, 5, 24 + number, 35).astype(np.int32)
        if number == 2:
            instances[25] = tiny_datasets.VOID
        maps[f"image_{number}"] = instances
        path = folder / "JPEGImages" / f"image_{number}.jpg"
        Image.new("RGB", (50, 40)).save(path)
        tiny_datasets.save_palette(folder / "SegmentationObject" / f"image_{number}.png", instances)
    (folder / "ImageSets" / "Segmentation" / "val.txt").write_text("\n".join(maps))
    return folder, maps


def test_one_object(one_object, scored):
    """The best mask is the prediction, an empty one where there is none; void does not count."""
    folder, maps = one_object
    good, bad = rectangle(4, 5, 24, 30), rectangle(30, 0, 40, 50)
    boxed = {"image_id": "image_2", "bbox": [0, 30, 50, 10], "score": 0.9}
    results = [entry("image_0", bad, 0.1), entry("image_0", good, 0.2), boxed]
    results.append(entry("image_2", rectangle(4, 5, 28, 30), 0.3))
    finished = scored(results, "--dataset=voc", f"--data_dir={folder}")
    predicted = [good, np.zeros((40, 50), bool), rectangle(4, 5, 28, 30)]
    expected = [
        saliency(mask, instances == 1, instances != tiny_datasets.VOID)
        for mask, instances in zip(predicted, maps.values(), strict=True)
    ]
    names = ("iou", "accuracy", "max_f")
    for name, values in zip(names, zip(*expected, strict=True), strict=True):
        assert finished.result[name] == pytest.approx(np.mean(values))
        low, high = finished.result["intervals"][name]
        assert low <= finished.result[name] <= high
    assert finished.result["corloc"] == 1 / 3  # of image_2, the best box is wrong
    assert "max F" in finished.stdout
    warnings = finished.report["warnings"]
    assert ["1 of 3 images have no results" in w for w in warnings] == [True, False]
    assert "1 of 4 detections have no mask" in warnings[1]


def test_boxes_alone(one_object, scored):
    folder, _ = one_object
    results = [{"image_id": 1, "bbox": [5, 4, 30, 20], "score": 0.5}]
    finished = scored(results, "--dataset=voc", f"--data_dir={folder}")
    assert finished.result["masks"] is None and finished.result["iou"] is None
    assert finished.result["boxes"]["AP"] == pytest.approx(34 / 101)
    assert finished.result["corloc"] == 1 / 3


def test_intervals_of_precision(world, scored):
    folder = world.folder / "coco"
    results = noisy_results(ids_and_maps(folder))
    finished = scored(results, *coco_flags(folder), "--ap_resamples=20")
    for kind in KINDS:
        low, high = finished.result["intervals"][kind]["AP"]
        assert low <= finished.result[kind]["AP"] <= high


def test_ids_that_several_folders_have(world, scored, tmp_path):
    shutil.copytree(world.folder / "coco", tmp_path / "second")
    flags = coco_flags(f"{world.folder / 'coco'},{tmp_path / 'second'}")
    results = noisy_results(ids_and_maps(world.folder / "coco"))
    assert_refused(scored(results, *flags), "results.json", "image_id '7'", "one by one")
