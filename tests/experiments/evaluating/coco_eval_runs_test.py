"""The binary on runs: what it finds of them, and what it says of other images."""

import json
import shutil

from experiments import datasets
from tests.support.scores import SAME_SCORE, perfect, run_scores


def numbers(result):
    return {key: value for key, value in result.items() if key not in ("name", "file")}


def test_runs(world, finished_run, tmp_path):
    """A run knows its dataset; its label maps say the same, as do its files elsewhere."""
    finished = run_scores(tmp_path / "scores.json", finished_run)
    assert (finished.status, finished.stderr) == (0, "")
    (warning,) = finished.report["warnings"]
    assert warning.startswith("run boc, run dot: ") and SAME_SCORE in warning
    boc, dot = finished.report["results"]
    assert (boc["name"], dot["name"]) == ("run boc", "run dot")
    assert boc["detections"] > 0 and boc["masks"]["AR100"] > 0
    other = shutil.copytree(finished_run, tmp_path / "run")
    for path in other.glob("coco*.json"):
        path.unlink()
    labels = run_scores(tmp_path / "scores.json", other / "summary.json")
    assert [numbers(one) for one in labels.report["results"]] == [numbers(boc), numbers(dot)]
    alone = run_scores(
        tmp_path / "scores.json",
        finished_run / "coco_results_boc.json",
        "--dataset=voc",
        f"--data_dir={world.folder / 'voc'}",
    )
    assert numbers(alone.result) == numbers(boc)


def test_runs_on_other_images(world, finished_run, tmp_path):
    """Images are found by file name; those that the run lacks, and its others, are named."""
    folder = shutil.copytree(world.folder / "voc", tmp_path / "voc")
    listing = folder / "ImageSets" / "Segmentation" / "val.txt"
    names = listing.read_text().split()
    (folder / "JPEGImages" / "new.jpg").write_bytes(
        (folder / "JPEGImages" / f"{names[0]}.jpg").read_bytes()
    )
    shutil.copy(
        folder / "SegmentationObject" / f"{names[0]}.png",
        folder / "SegmentationObject" / "new.png",
    )
    listing.write_text("\n".join(["new", *names[:0:-1]]))
    flags = ("--dataset=voc", f"--data_dir={folder}")
    finished = run_scores(tmp_path / "scores.json", finished_run, *flags)
    assert finished.status == 0
    differing, *others, same = finished.report["warnings"]
    assert "another dataset (split_sha256 differ)" in differing
    assert len(others) == 4 and "image_id '1'" in others[0] and "'new'" in others[1]
    assert SAME_SCORE in same
    for warning in finished.report["warnings"]:
        assert f"warning: {warning}\n" in finished.stdout
    file = finished_run / "coco_results_boc.json"
    alone = run_scores(tmp_path / "alone.json", file, *flags)
    assert numbers(alone.result) == numbers(finished.report["results"][0])


def test_an_annotation_that_cannot_be_read(world, finished_run, tmp_path):
    folder = shutil.copytree(world.folder / "voc", tmp_path / "voc")
    mask = next((folder / "SegmentationObject").iterdir())
    mask.write_bytes(b"no picture")
    finished = run_scores(tmp_path / "scores.json", finished_run, f"--data_dir={folder}")
    assert finished.status == 1 and finished.report["images"] == 2
    (failure,) = finished.report["failures"]
    assert failure["id"] == mask.stem
    same, warning = finished.report["warnings"]
    assert warning.startswith("1 of 3 images cannot be read") and mask.stem in warning
    assert SAME_SCORE in same


def test_several_folders(world, tmp_path):
    """A run on two folders says both, a line for each."""
    shutil.copytree(world.folder / "voc", tmp_path / "second")
    dataset = datasets.open_dataset("voc", data_dir=[world.folder / "voc", tmp_path / "second"])
    maps = {record.id: record.read_instances() for record in dataset.records()}
    results = perfect(maps, lambda number, record_id: record_id)
    (tmp_path / "coco_results.json").write_text(json.dumps(results))
    summary = {"config": {"dataset": dict(dataset.identity), "limit": None}}
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    finished = run_scores(tmp_path / "scores.json", tmp_path)
    assert (finished.status, finished.report["images"]) == (0, 6)
    assert finished.report["dataset"] == dataset.identity
    assert finished.result["masks"]["AR100"] == finished.result["corloc"] == 1
