"""The binaries on several folders as one run, and on videos and binary masks."""

import json
import shutil

import pytest
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from experiments import report
from tests.support.run_binary import assert_refused, contents, run
from tests.support.sound_run import check_run
from tests.support.tiny_datasets import edit_annotations


@pytest.fixture
def two(world, tmp_path):
    """The flags of two COCO folders, whose images have own ids and the same names."""
    folders = [tmp_path / "first", tmp_path / "second"]
    for folder in folders:
        shutil.copytree(world.folder / "coco", folder)
    photo = folders[1] / "images" / f"{0:012d}.jpg"
    Image.open(photo).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(photo)

    def other_ids(content):
        for image in content["images"]:
            image["id"] += 100
        for annotation in content["annotations"]:
            annotation["image_id"] += 100
            annotation["id"] += 1000

    edit_annotations(folders[1], other_ids)
    return [*world.flags("coco")[:-1], f"--data_dir={folders[0]},{folders[1]}"]


def test_one_run_over_two_folders(world, two, tmp_path):
    flags = [*two, "--save=coco,labels,gallery"]
    finished = run("instance", tmp_path / "out", *flags)
    warning, *_ = finished.summary["warnings"]
    assert "6 images have an id that is in several" in warning and warning in finished.stderr
    names = sorted(world.maps["coco"])
    ids = [f"{folder}/{name}" for folder in ("first", "second") for name in names]
    assert [key[0] for key in finished.lines] == ids
    assert all((tmp_path / "out" / "labels" / f"{name}.png").exists() for name in ids)

    # Each half scores as its folder alone does.
    alone = run("instance", tmp_path / "alone", *world.flags("coco"))
    for (name, setting), line in alone.lines.items():
        joined = finished.lines[f"first/{name}", setting]
        copied = {key: joined[key] for key in ("id", "read", "source")}
        assert joined == {**line, **copied}

    # The results fit the annotations of both.
    truth = {"images": [], "annotations": [], "categories": []}
    for folder in ("first", "second"):
        content = json.loads((tmp_path / folder / "instances.json").read_text())
        truth = {key: truth[key] + content[key] for key in ("images", "annotations")}
    truth["categories"] = content["categories"]
    (tmp_path / "both.json").write_text(json.dumps(truth))
    annotated = COCO(tmp_path / "both.json")
    results = json.loads((tmp_path / "out" / "coco_results.json").read_text())
    assert {row["image_id"] for row in results} <= {7, 8, 9, 107, 108, 109}
    evaluation = COCOeval(annotated, annotated.loadRes(results), "segm")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert 0 <= evaluation.stats[0] <= 1

    # Resumed, in parts, and reported.
    before = contents(finished.folder)
    lines = finished.folder / "per_image.jsonl"
    lines.write_bytes(b"".join(lines.read_bytes().splitlines(keepends=True)[:4]))
    again = run("instance", tmp_path / "out", *flags)
    assert contents(again.folder) == before
    first = run("instance", tmp_path / "parts", *flags, "--part=1/2")
    second = run("instance", tmp_path / "parts", *flags, "--part=2/2")
    assert first.status == second.status == 0
    assert contents(second.folder) == before
    report.write([again.folder], tmp_path / "report.html", seed=0, resamples=100)
    assert "1. instance on coco" in (tmp_path / "report.html").read_text()


def test_changed_folders(two, tmp_path):
    before = run("fgbg", tmp_path / "out", *two).lines
    # A changed image is done again, other folders are another run.
    photo = tmp_path / "second" / "images" / f"{1:012d}.jpg"
    Image.open(photo).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(photo)
    again = run("fgbg", tmp_path / "out", *two)
    fresh = run("fgbg", tmp_path / "fresh", *two)
    assert again.summary["results"] == fresh.summary["results"]
    changed = [key[0] for key, line in again.lines.items() if line != before[key]]
    assert changed == [f"second/{1:012d}"]
    turned = [*two[:-1], f"--data_dir={tmp_path / 'second'},{tmp_path / 'first'}"]
    assert_refused(run("fgbg", tmp_path / "out", *turned), "dataset", "second")


def test_what_is_refused(world, two, tmp_path):
    shutil.copy(tmp_path / "first" / "instances.json", tmp_path / "second" / "instances.json")
    finished = run("instance", tmp_path / "out", *two, "--save=coco")
    assert_refused(finished, "--save=coco", "first", "second", "one id, 7")
    assert not (tmp_path / "out").exists()
    finished = run("fgbg", tmp_path / "out", *two)  # without export, ids do not matter
    assert finished.status == 0
    for given, words in (
        ("first,first", ["twice"]),
        ("first,", ["empty"]),
        ("first,third", ["third", "no such folder"]),
    ):
        folders = given.replace(",", f",{tmp_path}/") if given[-1] != "," else given
        flags = [*two[:-1], f"--data_dir={tmp_path}/{folders}"]
        assert_refused(run("fgbg", tmp_path / "other", *flags), *words)
    flags = [*two[:-1], f"--data_dir={tmp_path}/first,{tmp_path}/second", "--overwrite"]
    assert_refused(run("fgbg", tmp_path / "second", *flags), "--overwrite", "second")


def test_a_bad_frame_and_an_empty_one(world, tmp_path):
    """One fails, the other is not scored; the rest is."""
    shutil.copytree(world.folder / "davis", tmp_path / "davis")
    annotations = tmp_path / "davis" / "Annotations" / "480p"
    size = world.maps["davis"]["bear/00000"].shape[::-1]
    Image.new("L", size).save(annotations / "bear" / "00000.png")
    Image.radial_gradient("L").resize(size).save(annotations / "bear" / "00001.png")
    flags = [*world.flags("davis")[:-1], f"--data_dir={tmp_path / 'davis'}"]
    finished = run("instance", tmp_path / "out", *flags)
    assert finished.status == 1
    (failure,) = finished.summary["failures"]
    assert failure["id"] == "bear/00001" and "grey levels" in failure["error"]
    assert finished.lines["bear/00000", "boc"]["num_instances"] == 0
    assert finished.summary["results"][0]["images"] == 2
    assert any(
        line.startswith("1 of 3 images are not scored") for line in finished.summary["warnings"]
    )


@pytest.mark.parametrize("binary", ["ablation", "sweep", "similarity", "channels"])
@pytest.mark.parametrize("dataset", ["davis", "saliency"])
def test_other_binaries(world, tmp_path, binary, dataset):
    finished = run(binary, tmp_path, *world.flags(dataset), "--limit=1")
    assert finished.status == 0, finished.stderr
    assert finished.summary["config"]["dataset"]["name"] == dataset
    assert {key[0] for key in finished.lines} == {next(iter(world.maps[dataset]))}


def test_every_second_frame(world, tmp_path):
    finished = run("fgbg", tmp_path, *world.flags("davis"), "--frame_step=2")
    check_run(finished, ["M=16"], images=2, instances=False)
    assert [key[0] for key in finished.lines] == ["bear/00000", "two-cars/00000"]
