"""Mistakes of users: each ends in an error of one line, or in one failed image among others."""

import json
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tests.support.full_disk import no_file_longer_than
from tests.support.run_binary import ROOT, assert_refused, finish, only_failure, run, start
from tests.support.tiny_datasets import save_palette


@pytest.fixture
def voc(world, tmp_path):
    """A copy of the VOC folder that a test may damage, and the flags to read it at native size."""
    folder = shutil.copytree(world.folder / "voc", tmp_path / "voc")
    return folder, ["--dataset=voc", f"--data_dir={folder}", "--N=16"]


def test_a_folder_of_all_sorts(world, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    with Image.open(world.photos / "2007_000001.jpg") as image:
        colours = image.copy()
    grey = colours.convert("L")
    good = {
        "alpha.png": colours.convert("RGBA"),
        "cmyk.jpg": colours.convert("CMYK"),
        "grey.png": grey,
        "palette.gif": colours.convert("P"),
        "deep.png": Image.fromarray(np.asarray(grey).astype(np.uint16) * 257),
        "UPPER.JPEG": colours,
        "dots.in.its.name.png": colours,
        "Übung 1 #%'\".png": colours,
        "case.png": colours,
        "CASE.png": colours,
        "one_row.png": colours.crop((0, 0, 96, 20)),
        "one_column.png": colours.crop((0, 0, 20, 64)),
        "one_token.png": colours.crop((0, 0, 31, 31)),
        "plain.png": Image.new("RGB", (96, 64), (200, 10, 10)),
    }
    for name, image in good.items():
        image.save(photos / name)
    whole = (world.photos / "2007_000001.jpg").read_bytes()
    (photos / "truncated.jpg").write_bytes(whole[: len(whole) // 2])
    (photos / "text.jpg").write_text("this is no image")
    (photos / "empty.png").write_bytes(b"")
    colours.resize((96, 15)).save(photos / "thin.png")
    (photos / "notes.doc").write_text("neither is this, but its name does not say so")

    flags = [world.checkpoint, "--N=16", "--num_instances=3", "--save=labels,tokens,coco,overlays"]
    finished = run("instance", tmp_path / "out", *flags, "--dataset=folder", f"--data_dir={photos}")
    assert finished.status == 1
    failures = {failure["id"]: failure["error"] for failure in finished.summary["failures"]}
    assert set(failures) == {"truncated", "text", "empty", "thin"}
    assert "not an image" in failures["text"] and "truncated.jpg" in failures["truncated"]
    assert "smaller than one patch of 16 x 16" in failures["thin"]
    assert finished.stderr.splitlines()[-1].startswith("4 of 18 images failed")
    assert {key[0] for key in finished.lines} == {name.rpartition(".")[0] for name in good}
    for name, image in good.items():
        with Image.open(tmp_path / "out" / "labels" / f"{name.rpartition('.')[0]}.png") as labels:
            assert labels.size == image.size
    lines = finished.lines
    assert lines["grey", "boc"]["eigenvalues"] == lines["deep", "boc"]["eigenvalues"]
    assert lines["one_row", "boc"]["grid"] == [1, 6]
    assert lines["one_token", "boc"]["grid"] == [1, 1]
    passed, warning = finished.summary["warnings"]
    assert "notes.doc" in passed and "fewer instances than asked for" in warning
    assert f"warning: {passed}\nwarning: {warning}\n" in finished.stdout
    names = [image["file_name"] for image in json.loads(
        (tmp_path / "out" / "coco.json").read_text())["images"]]  # fmt: skip
    assert sorted(names) == sorted(good)


def test_an_annotation_of_another_image(world, voc, tmp_path):
    folder, flags = voc
    save_palette(folder / "SegmentationObject" / "2007_000001.png", np.ones((60, 90), np.int32))
    finished = run("instance", tmp_path / "out", *flags, world.checkpoint)
    only_failure(finished, "2007_000001", "96x64", "90x60")


def test_missing_files_of_one_image(world, voc, tmp_path):
    folder, flags = voc
    (folder / "JPEGImages" / "2007_000000.jpg").unlink()
    finished = run("instance", tmp_path / "a", *flags, world.checkpoint)
    only_failure(finished, "2007_000000", "2007_000000.jpg", "no such file")
    shutil.copy(world.photos / "2007_000000.jpg", folder / "JPEGImages")
    (folder / "SegmentationObject" / "2007_000002.png").unlink()
    finished = run("fgbg", tmp_path / "b", *flags, world.checkpoint)
    only_failure(finished, "2007_000002", "SegmentationObject", "no such file")


def test_every_image_fails(world, voc, tmp_path):
    finished = run("instance", tmp_path / "out", *voc[1], world.checkpoint, "--image_size=9")
    assert finished.status == 1 and len(finished.summary["failures"]) == 3
    (result,) = finished.summary["results"]
    assert result["images"] == 0 and result["miou"] is result["f_score"] is None
    assert finished.lines == {} if (tmp_path / "out/per_image.jsonl").exists() else True


def test_images_without_instances_do_not_count(world, voc, tmp_path):
    folder, flags = voc
    empty = np.zeros((64, 96), np.int32)
    empty[:, 90:] = -1
    save_palette(folder / "SegmentationObject" / "2007_000001.png", empty)
    tiny = np.zeros((80, 64), np.int32)
    tiny[3, 3] = 1  # between the pixels that the tokens take
    save_palette(folder / "SegmentationObject" / "2007_000002.png", tiny)
    finished = run("instance", tmp_path / "a", *flags, world.checkpoint)
    assert finished.status == 0
    (result,) = finished.summary["results"]
    first = finished.lines["2007_000000", "boc"]
    assert (result["images"], result["instances"], result["images_without_instances"]) == (1, 2, 2)
    assert result["miou"] == first["miou"] and result["f_score"] == first["f_score"]
    for record_id in ("2007_000001", "2007_000002"):
        line = finished.lines[record_id, "boc"]
        assert line["num_instances"] == 0 and line["ious"] == []
        assert line["miou"] is line["f_score"] is line["f_score_raw"] is None
    (result,) = run("fgbg", tmp_path / "b", *flags, world.checkpoint).summary["results"]
    assert (result["images"], result["images_without_instances"]) == (1, 2)


def test_more_channels_than_there_are(world, voc, tmp_path):
    for binary, M in (("instance", "49"), ("fgbg", "C,49"), ("fgbg", "C/49")):
        finished = run(binary, tmp_path / "out", *voc[1], world.checkpoint, f"--M={M}")
        assert_refused(finished, "M=", "C=48", "(--M)")
    assert not (tmp_path / "out").exists()


def test_more_deviating_channels_than_channels(world, voc, tmp_path):
    flags = [flag for flag in voc[1] if flag != "--N=16"]
    finished = run("instance", tmp_path, *flags, world.checkpoint, "--limit=1", "--metric=l2,dot")
    assert finished.status == 0
    assert finished.stderr == "warning: N=60 is more than M=16; N=16 is used\n"
    assert finished.summary["warnings"] == ["N=60 is more than M=16; N=16 is used"]
    assert finished.summary["config"]["N"] == finished.summary["results"][0]["N"] == 16


def test_more_instances_than_an_image_can_have(world, tmp_path):
    photo = world.photos / "2007_000000.jpg"
    flags = [world.checkpoint, "--N=16", "--save=", "--num_instances=200"]
    finished = run("instance", tmp_path, *flags, "--dataset=folder", f"--data_dir={photo}")
    assert finished.status == 0
    (line,) = finished.lines.values()
    assert 1 < line["num_clusters"] <= line["num_foreground"] <= 20
    (warning,) = finished.summary["warnings"]
    assert warning.startswith("boc: images with fewer instances than asked for: 1 (")
    assert f"\nwarning: {warning}\n" in finished.stdout and finished.stderr == ""


def test_counting_without_annotations(world, tmp_path):
    flags = ["--dataset=folder", f"--data_dir={world.photos}"]
    finished = run("instance", tmp_path / "out", world.checkpoint, *flags)
    assert_refused(finished, "no annotation", "--num_instances=3")
    shutil.copytree(world.photos, tmp_path / "voc" / "JPEGImages")
    listing = tmp_path / "voc" / "ImageSets" / "Segmentation" / "val.txt"
    listing.parent.mkdir(parents=True)
    listing.write_text("2007_000000\n")
    flags = [world.checkpoint, "--dataset=voc", f"--data_dir={tmp_path / 'voc'}"]
    assert_refused(run("instance", tmp_path / "out", *flags), "--num_instances=3")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--metric=cosinus"], ["--metric=cosinus", "braycurtis"]),
        (["--metric=BoC"], ["--metric=BoC", "boc"]),
        (["--metric="], ["--metric is empty"]),
        (["--save=masks"], ["--save=masks", "labels"]),
        (["--M=0"], ["M=0", "C/3", "(--M)"]),
        (["--M=C/0"], ["M=C/0", "C/3"]),
        (["--M=0C"], ["M=0C"]),
        (["--M=5C/4"], ["M=5C/4"]),
        (["--M=-3"], ["M=-3"]),
        (["--M=c/3"], ["M=c/3", "C/3"]),
        (["--M="], ["M=:"]),
        (["--M=C,C/3"], ["--M=C,C/3", "one value"]),
        (["--num_instances=0"], ["--num_instances=0", "254"]),
        (["--num_instances=255"], ["--num_instances=255", "254"]),
        (["--num_instances=many"], ["--num_instances=many", "oracle"]),
        (["--N=0"], ["N", "0"]),
        (["--bins=0"], ["bins"]),
        (["--limit=0"], ["limit"]),
        (["--limit=some"], ["limit", "some"]),
        (["--image_size=-1"], ["image_size"]),
        (["--seed=-1"], ["seed"]),
        (["--dataset=imagenet"], ["dataset", "ytvis"]),
        (["--protocol=mine"], ["protocol", "reference"]),
        (["--solver=arpack"], ["solver", "krylov"]),
        (["--metrik=boc"], ["metrik", "metric"]),
        (["--data_dir=somewhere"], ["--data_dir", "samples"]),
        (["extra"], ["extra", "--data_dir"]),
        (["--checkpoint=nowhere"], ["nowhere", "owner/name"]),
        (["--features_dir=nowhere"], ["--features_dir=nowhere", "no such folder"]),
        (["--features_dir=.", "--checkpoint=random"], ["exclude each other"]),
        (["--dataset=voc"], ["voc", "--data_dir"]),
        (["--dataset=voc", "--data_dir=nowhere"], ["nowhere", "no such folder"]),
        (["--dataset=voc", "--data_dir=."], ["JPEGImages", "--data_dir"]),
        (["--dataset=coco", "--data_dir=."], ["instances.json", "--annotations"]),
        (["--dataset=folder", "--num_instances=1"], ["no images given"]),
        (["--dataset=folder", "--num_instances=1", "--data_dir=nowhere"], ["nowhere"]),
        (["--dataset=folder", "--paper_filter", "--data_dir=."], ["no images"]),
        (["--frames=nowhere"], ["--frames", "nowhere"]),
        (["--limit=99999999999999999999"], ["limit"]),
        (["--checkpoint="], ["--checkpoint is empty"]),
        (["--output_dir="], ["--output_dir is empty"]),
        (["--features_dir="], ["--features_dir is empty"]),
    ],
)
def test_wrong_flags(world, tmp_path, monkeypatch, flags, words):
    monkeypatch.chdir(tmp_path)
    assert_refused(run("instance", tmp_path / "out", *flags), *words)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("data_dir", "words"),
    [
        ("empty", ["empty", "no images"]),
        ("*.jpg", ["*.jpg", "no images"]),
    ],
)
def test_wrong_photographs(world, tmp_path, monkeypatch, data_dir, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    flags = ["--num_instances=2", "--dataset=folder", f"--data_dir={data_dir}"]
    assert_refused(run("instance", tmp_path / "out", *flags), *words)


def test_results_that_cannot_be_written(world, voc, tmp_path):
    (tmp_path / "file").write_text("in the way")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        finished = run("instance", folder, *voc[1], world.checkpoint)
        assert_refused(finished, folder, "choose another folder (--output_dir)")
    # In the middle of a run: it ends, since no later image would fare better.
    out = tmp_path / "out"
    assert run("fgbg", out, *voc[1], world.checkpoint, "--limit=1").status == 0
    (out / "labels").write_text("in the way")
    finished = run("fgbg", out, *voc[1], world.checkpoint, "--limit=1", "--save=labels")
    assert_refused(finished, "labels", "choose another folder (--output_dir)")


@pytest.mark.parametrize("most", [0, 100, 1500, 3000])
def test_a_full_disk(world, voc_flags, voc_run, tmp_path, most):
    """Programs are compiled already, for `voc_run`: JAX would warn that it cannot keep them."""
    with no_file_longer_than(most):
        finished = run("instance", tmp_path / "out", *voc_flags, "--save=labels,overlays,coco")
    assert finished.status == 2 and finished.stdout == ""
    (line,) = finished.stderr.splitlines()
    assert line.startswith(f"error: cannot write {tmp_path}/out/") and "free some space" in line


def test_a_report_on_a_full_disk(voc_run, tmp_path):
    command = [sys.executable, "-m", "experiments.report", str(voc_run.folder)]
    ended = subprocess.run(
        ["sh", "-c", 'ulimit -f 8; exec "$@"', "sh", *command, f"--output={tmp_path}/a.html"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 2 and ended.stdout == ""
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"error: cannot write {tmp_path}/a") and "free some space" in line


def test_no_image_passes_the_filters(world, voc, tmp_path):
    folder, flags = voc
    (folder / "ImageSets" / "Segmentation" / "val.txt").write_text("2007_000002\n")
    finished = run("instance", tmp_path / "out", *flags, world.checkpoint, "--paper_filter")
    assert_refused(finished, "no image that passes")


def test_a_checkpoint_that_is_not_here(world, tmp_path):
    flags = ["--dataset=folder", f"--data_dir={world.photos}", "--num_instances=2"]
    home = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "home")}
    finished = finish(start("instance", tmp_path / "out", *flags, **home), tmp_path / "out")
    assert_refused(finished, "facebook/dino-vits16", "hf download", "load that folder")


def test_random_weights_are_announced(world, tmp_path, monkeypatch):
    monkeypatch.setattr("experiments.loop.backbone.VIT_S16", tiny_config(world))
    finished = run("fgbg", tmp_path, "--checkpoint=random", "--limit=1", "--image_size=112")
    assert finished.status == 0
    (line,) = finished.stderr.splitlines()
    assert "random weights" in line and "--checkpoint" in line
    assert finished.summary["backbone"] == "random"


def tiny_config(world):
    from specjax.models.checkpoints.huggingface import config_of

    path = pathlib.Path(world.checkpoint.removeprefix("--checkpoint=")) / "config.json"
    return config_of(json.loads(path.read_text()), source=str(path))
