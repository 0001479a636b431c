"""Runs that were interrupted, extended, repeated or mixed up."""

import json
import os
import pathlib
import shutil
import signal
import time

import numpy as np
import pytest
from PIL import Image

from experiments.runs.folder import RunFolder
from tests.support.run_binary import assert_refused, finish, run, start
from tests.support.tiny_checkpoint import write_checkpoint


@pytest.fixture(scope="module")
def flags(world):
    return world.flags("voc")


@pytest.fixture(scope="module")
def done(world, flags, tmp_path_factory):
    """A finished run, not to be changed."""
    return run("instance", tmp_path_factory.mktemp("done") / "run", *flags, "--save=labels")


@pytest.fixture
def copy(done, tmp_path):
    """A copy of it."""
    return shutil.copytree(done.folder, tmp_path / "copy")


def contents(folder):
    """The bytes of every file that holds results, by name."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    names = {str(path.relative_to(folder)): path.read_bytes() for path in files}
    del names["summary.json"]
    return names


def repeated(world, folder, times):
    """The three scenes under many names."""
    source = world.folder / "voc"
    for name in ("JPEGImages", "SegmentationObject", "ImageSets/Segmentation"):
        (folder / name).mkdir(parents=True)
    ids = []
    for index in range(times):
        for record_id in world.maps["voc"]:
            ids.append(f"{record_id}_{index:02d}")
            for name, suffix in (("JPEGImages", ".jpg"), ("SegmentationObject", ".png")):
                os.link(source / name / (record_id + suffix), folder / name / (ids[-1] + suffix))
    listing = folder / "ImageSets" / "Segmentation" / "val.txt"
    listing.write_text("\n".join(ids))
    return ids


def test_a_killed_run_continues(world, tmp_path):
    ids = repeated(world, tmp_path / "many", 8)
    flags = [world.checkpoint, "--N=16", "--image_size=112", "--save=labels"]
    flags += ["--dataset=voc", f"--data_dir={tmp_path / 'many'}"]
    folder = tmp_path / "killed"
    lines = folder / "per_image.jsonl"
    process = start("instance", folder, *flags)
    while process.poll() is None and not (lines.exists() and lines.read_bytes().count(b"\n") > 2):
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    assert finish(process, folder).status == -signal.SIGKILL
    # As if the kill had hit in the middle of a line.
    lines.write_bytes(lines.read_bytes() + b'{"id": "2007_0000')
    before = lines.read_bytes()
    count = before.count(b"\n")
    assert 2 < count < len(ids)
    assert not (folder / "summary.json").exists()

    resumed = run("instance", folder, *flags)
    assert resumed.status == 0 and resumed.stderr == ""
    whole = run("instance", tmp_path / "whole", *flags)
    assert lines.read_bytes().startswith(before[: before.rindex(b"\n") + 1])
    assert len(resumed.lines) == len(ids)
    assert resumed.lines == whole.lines
    assert resumed.summary["results"] == whole.summary["results"]
    for record_id in ids:
        name = f"labels/{record_id}.png"
        assert (folder / name).read_bytes() == (whole.folder / name).read_bytes()


@pytest.mark.parametrize("cut", [1, 40])
def test_a_cut_last_line_is_done_again(flags, done, copy, cut):
    lines = copy / "per_image.jsonl"
    lines.write_bytes(lines.read_bytes()[:-cut])
    (copy / "labels" / "2007_000001.png").unlink()
    finished = run("instance", copy, *flags, "--save=labels")
    assert finished.status == 0
    assert contents(copy) == contents(done.folder)
    assert finished.summary["results"] == done.summary["results"]


def test_nothing_is_done_twice(flags, done, copy):
    stamps = {path: path.stat().st_mtime_ns for path in copy.rglob("*.png")}
    assert len(stamps) == 3
    finished = run("instance", copy, *flags, "--save=labels")
    assert finished.summary["results"] == done.summary["results"]
    assert "foreground" not in finished.summary["seconds"]
    assert contents(copy) == contents(done.folder)
    assert {path: path.stat().st_mtime_ns for path in copy.rglob("*.png")} == stamps


def test_a_larger_limit_extends(flags, done, tmp_path):
    small = run("instance", tmp_path, *flags, "--limit=1", "--save=labels")
    assert small.summary["results"][0]["images"] == 1
    larger = run("instance", tmp_path, *flags, "--limit=1000000", "--save=labels")
    assert larger.summary["results"] == done.summary["results"]
    assert contents(tmp_path) == contents(done.folder)
    # A smaller limit afterwards tells of those images alone, and forgets none.
    again = run("instance", tmp_path, *flags, "--limit=1", "--save=labels")
    assert again.summary["results"] == small.summary["results"]
    assert again.lines == done.lines


def test_an_added_metric_and_an_added_save(flags, done, copy):
    finished = run("instance", copy, *flags, "--metric=l2", "--save=tokens,coco")
    assert finished.status == 0
    assert [result["metric"] for result in finished.summary["results"]] == ["boc", "l2"]
    assert finished.summary["results"][0] == done.summary["results"][0]
    # A second metric has folders of its own, and leaves the first one's files alone.
    new, old = contents(copy), contents(done.folder)
    assert {name: new[name] for name in old if name.endswith(".png")} == {
        name: old[name] for name in old if name.endswith(".png")
    }
    # Two metrics are drawn side by side.
    plots = {name for name in new if name.startswith("strata_")}
    assert len(plots) == 6
    added = sorted(set(new) - set(old) - plots)
    assert added[:3] == ["coco_l2.json", "coco_results_l2.json", "segments.jsonl"]
    assert added[3:] == [f"tokens_l2/2007_00000{index}.png" for index in range(3)]
    finished = run("instance", copy, *flags, "--metric=boc,l2", "--save=labels")
    for record_id in ("2007_000000", "2007_000001"):
        boc, l2 = (copy / name / f"{record_id}.png" for name in ("labels", "labels_l2"))
        assert boc.read_bytes() == (done.folder / "labels" / f"{record_id}.png").read_bytes()
        with Image.open(l2) as labels, Image.open(copy / "tokens_l2" / l2.name) as tokens:
            assert set(np.unique(labels)) == set(np.unique(tokens))
    assert len(finished.lines) == 6


def test_lines_of_an_earlier_version_have_no_strata(flags, done, copy):
    lines = [json.loads(line) for line in (copy / "per_image.jsonl").read_text().splitlines()]
    for line in lines:
        del line["mbor"], line["size_ratio"]
    (copy / "per_image.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    finished = run("instance", copy, *flags, "--metric=boc,l2")
    assert finished.status == 0, finished.stderr
    boc, l2 = finished.summary["results"]
    assert boc["miou"] == done.summary["results"][0]["miou"]
    for measure in ("mbor", "size_ratio"):
        assert boc["strata_left_out"][measure] == {"below": 0, "not_recorded": 3}
        assert l2["strata_left_out"][measure]["not_recorded"] == 0
        assert sum(stratum["images"] for stratum in boc[f"by_{measure}"]) == 0
    assert finished.stdout.count("an earlier version of this program did not record") == 2
    assert "an earlier version" not in done.stdout


def test_plots_belong_to_the_run(flags, tmp_path):
    for name in ("strata_mbor.png", "strata_size_ratio.csv"):
        (tmp_path / name).write_text("mine")
        assert_refused(run("instance", tmp_path, *flags), name, "choose another --output_dir")
        (tmp_path / name).unlink()
    run("instance", tmp_path, *flags, "--metric=boc,l2")
    assert len(list(tmp_path.glob("strata_*.*"))) == 6
    run("instance", tmp_path, *flags, "--metric=boc", "--N=3", "--overwrite")
    assert not list(tmp_path.glob("strata_*.*"))


def test_fgbg_takes_more_numbers_of_channels(world, flags, tmp_path):
    first = run("fgbg", tmp_path, *flags, "--M=C/3")
    second = run("fgbg", tmp_path, *flags, "--M=C")
    assert [result["M"] for result in second.summary["results"]] == [16, 48]
    assert second.summary["results"][0] == first.summary["results"][0]


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("--M=15", ["M was 16, now 15"]),
        ("--N=3", ["N was 16, now 3"]),
        ("--bins=31", ["bins was 30, now 31"]),
        ("--protocol=reference", ['protocol was "paper", now "reference"']),
        ("--num_instances=3", ['num_instances was "oracle", now 3']),
        ("--image_size=128", ["image_size was 112, now 128"]),
        ("--pos_interpolation=hf", ['pos_interpolation was "dino", now "hf"']),
        ("--seed=1", ["seed was 0, now 1"]),
        ("--solver=eigh", ['solver was "auto", now "eigh"']),
        ("--paper_filter", ["dataset was", "paper_filter"]),
        ("--checkpoint=OTHER", ["checkpoint was"]),
        ("--data_dir=OTHER", ["dataset was", "data_dir"]),
    ],
)
def test_another_configuration_is_not_mixed_in(world, flags, done, copy, tmp_path, flag, words):
    if flag == "--checkpoint=OTHER":
        flag = f"--checkpoint={write_checkpoint(tmp_path / 'other', seed=1)}"
    elif flag == "--data_dir=OTHER":
        flag = f"--data_dir={shutil.copytree(world.folder / 'voc', tmp_path / 'voc')}"
    finished = run("instance", copy, *flags, flag)
    assert_refused(finished, copy, *words, "--output_dir", "--overwrite")
    assert contents(copy) == contents(done.folder)
    assert finished.summary == done.summary


def test_another_binary_is_not_mixed_in(flags, copy):
    assert_refused(run("fgbg", copy, *flags), copy, 'binary was "instance", now "fgbg"')


def test_features_belong_to_the_configuration(world, flags, done, copy, tmp_path):
    run("fgbg", tmp_path / "other", *flags, "--save=features")
    others = [flag for flag in flags if flag != world.checkpoint]
    others.append(f"--features_dir={tmp_path / 'other' / 'features'}")
    assert_refused(run("instance", copy, *others), copy, "checkpoint was", "features_dir was null")


def test_overwriting(flags, done, copy):
    (copy / "notes.txt").write_text("mine")
    finished = run("instance", copy, *flags, "--N=3", "--limit=1", "--overwrite")
    assert finished.status == 0 and [line["N"] for line in finished.lines.values()] == [3]
    assert (copy / "notes.txt").read_text() == "mine"
    assert not (copy / "labels").exists()


@pytest.mark.parametrize("overwrite", [[], ["--overwrite"]])
@pytest.mark.parametrize("name", ["labels/mine.png", "summary.json", "coco.json"])
def test_files_of_others_are_left_alone(flags, tmp_path, name, overwrite):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine")
    finished = run("instance", tmp_path, *flags, "--save=labels,coco", *overwrite)
    assert_refused(finished, tmp_path, name.split("/")[0], "choose another --output_dir")
    assert (tmp_path / name).read_text() == "mine"


def test_results_do_not_go_among_the_images(world, flags, tmp_path):
    photos = shutil.copytree(world.photos, tmp_path / "photos")
    flags = [world.checkpoint, "--num_instances=3"]
    for folder in (photos, photos / "results"):
        assert_refused(run("segment", folder, *flags, photos), photos, "--output_dir outside")
    assert not (photos / "results").exists()


def test_overwriting_does_not_delete_what_is_read(flags, world, tmp_path):
    run("fgbg", tmp_path, *flags, "--save=features", "--limit=1")
    others = [flag for flag in flags if flag != world.checkpoint]
    others += [f"--features_dir={tmp_path / 'features'}", "--overwrite", "--limit=1"]
    assert_refused(run("fgbg", tmp_path, *others), "--overwrite might delete", "features")
    assert (tmp_path / "features" / "2007_000000.npz").exists()


def test_overwriting_does_not_delete_annotations(world, tmp_path):
    source = world.folder / "coco"
    (annotations,) = source.rglob("*.json")
    shutil.copy(annotations, tmp_path / "coco_gt.json")
    flags = ["--dataset=coco", f"--data_dir={source}", world.checkpoint, "--N=16", "--limit=1"]
    flags.append(f"--annotations={tmp_path / 'coco_gt.json'}")
    assert run("fgbg", tmp_path, *flags).status == 0
    assert_refused(run("fgbg", tmp_path, *flags, "--overwrite"), "might delete", "coco_gt.json")


def test_a_name_is_no_path_that_overwriting_might_delete(world, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for flags in ([], ["--overwrite"]):
        finished = run("fgbg", ".", "--limit=1", "--image_size=112", *flags)
        assert finished.status == 0, finished.stderr


def test_other_colours_are_another_run(world, flags, tmp_path):
    folder = pathlib.Path(world.checkpoint.removeprefix("--checkpoint="))
    copy = shutil.copytree(folder, tmp_path / "checkpoint")
    others = [flag for flag in flags if flag != world.checkpoint] + [f"--checkpoint={copy}"]
    assert run("fgbg", tmp_path / "out", *others, "--limit=1").status == 0
    colours = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
    (copy / "preprocessor_config.json").write_text(json.dumps(colours))
    finished = run("fgbg", tmp_path / "out", *others)
    assert_refused(finished, tmp_path / "out", "colours was", "--output_dir")


def test_one_process_at_a_time(flags, done, copy):
    identity = json.loads((copy / "run.json").read_text())["identity"]
    with RunFolder(copy, identity, [], overwrite=False):
        finished = run("instance", copy, *flags, "--overwrite")
    assert_refused(finished, "another process is writing", copy)
    assert contents(copy) == contents(done.folder)
    assert run("instance", copy, *flags).status == 0


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("per_image.jsonl", "not a line of ours\n"),
        ("per_image.jsonl", '{"id": "a"}\n'),
        ("per_image.jsonl", "[1]\n"),
        ("run.json", "{"),
        ("run.json", "[]"),
    ],
)
def test_damaged_files(flags, copy, name, text):
    (copy / name).write_text(text)
    assert_refused(run("instance", copy, *flags), copy / name, "--overwrite")
    finished = run("instance", copy, *flags, "--overwrite", "--limit=1")
    assert finished.status == 0 and len(finished.lines) == 1


def test_a_failed_image_is_tried_again(world, tmp_path):
    photos = shutil.copytree(world.photos, tmp_path / "photos")
    whole = (photos / "2007_000001.jpg").read_bytes()
    (photos / "2007_000001.jpg").write_bytes(whole[:200])
    flags = [world.checkpoint, "--N=16", "--image_size=112", "--num_instances=3", "--save="]
    finished = run("segment", tmp_path / "out", *flags, photos)
    assert finished.status == 1 and len(finished.lines) == 2
    (photos / "2007_000001.jpg").write_bytes(whole)
    finished = run("segment", tmp_path / "out", *flags, photos)
    assert finished.status == 0 and len(finished.lines) == 3
    assert finished.summary["failures"] == []
