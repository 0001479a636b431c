"""Runs that were interrupted, extended or repeated."""

import json
import os
import shutil
import signal

import numpy as np
import pytest
from PIL import Image

from tests.support.run_binary import contents, run, stalled, wait_for_lines
from tests.support.tiny_datasets import repeat_voc


def test_a_killed_run_continues(world, tmp_path):
    ids = repeat_voc(world.folder / "voc", tmp_path / "many", 4)
    flags = [world.checkpoint, "--image_size=112", "--save=labels"]
    flags += ["--dataset=voc", f"--data_dir={tmp_path / 'many'}"]
    folder = tmp_path / "killed"
    lines = folder / "per_image.jsonl"
    # Two batches of four are done, the third lacks its last image.
    with stalled("fgbg", folder, *flags, image=ids[11]) as process:
        wait_for_lines(lines, 8, process)
    assert process.returncode == -signal.SIGKILL
    before = lines.read_bytes()
    assert before.count(b"\n") == 8
    # As if the kill had hit in the middle of a line.
    lines.write_bytes(before + b'{"id": "2007_0000')
    assert not (folder / "summary.json").exists()

    resumed = run("fgbg", folder, *flags)
    assert resumed.status == 0 and resumed.stderr == ""
    whole = run("fgbg", tmp_path / "whole", *flags)
    assert lines.read_bytes().startswith(before)
    assert len(resumed.lines) == len(ids)
    assert resumed.summary["results"] == whole.summary["results"]
    assert contents(folder) == contents(whole.folder)


@pytest.mark.parametrize("cut", [1, 40])
def test_a_cut_last_line_is_done_again(voc_flags, voc_run, voc_copy, cut):
    lines = voc_copy / "per_image.jsonl"
    lines.write_bytes(lines.read_bytes()[:-cut])
    (voc_copy / "labels" / "2007_000001.png").unlink()
    finished = run("instance", voc_copy, *voc_flags, "--save=labels")
    assert finished.status == 0
    assert contents(voc_copy) == contents(voc_run.folder)
    assert finished.summary["results"] == voc_run.summary["results"]


def test_nothing_is_done_twice(voc_flags, voc_run, voc_copy):
    stamps = {path: path.stat().st_mtime_ns for path in voc_copy.rglob("*.png")}
    assert len(stamps) == 3
    finished = run("instance", voc_copy, *voc_flags, "--save=labels")
    assert finished.summary["results"] == voc_run.summary["results"]
    assert "foreground" not in finished.summary["seconds"]
    assert contents(voc_copy) == contents(voc_run.folder)
    assert {path: path.stat().st_mtime_ns for path in voc_copy.rglob("*.png")} == stamps


def test_what_changed_is_done_again(world, voc_flags, voc_run, tmp_path):
    voc = shutil.copytree(world.folder / "voc", tmp_path / "voc")
    flags = [*(f for f in voc_flags if "data_dir" not in f), f"--data_dir={voc}"]
    save = "--save=labels,coco,features"
    first = run("instance", tmp_path / "out", *flags, "--metric=boc,l2", save)
    files, before = contents(first.folder), first.summary["results"][0]

    # A corrected mask changes one line, a replaced photograph its files too.
    mask = voc / "SegmentationObject" / "2007_000000.png"
    Image.open(mask).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(mask)
    photo = voc / "JPEGImages" / "2007_000001.jpg"
    Image.open(photo).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(photo)
    again = run("instance", tmp_path / "out", *flags, save)
    fresh = run("instance", tmp_path / "fresh", *flags, save)
    assert again.summary["results"][0] == fresh.summary["results"][0]
    assert again.summary["results"][0] != before
    for key, line in fresh.lines.items():
        assert [again.lines[key][name] for name in ("ious", "read")] == [line["ious"], line["read"]]
    assert ("2007_000002", "l2") in again.lines and ("2007_000001", "l2") not in again.lines
    missing = "l2: 2 of 3 images are not in its scores"
    assert any(warning.startswith(missing) for warning in again.summary["warnings"])
    for name in ("labels_boc/2007_000001.png", "features/2007_000001.npz"):
        made = (fresh.folder / name.replace("labels_boc", "labels")).read_bytes()
        assert (again.folder / name).read_bytes() == made != files[name]
    assert not (again.folder / "labels_l2" / "2007_000001.png").exists()

    # Nothing of a mask that can no longer be read stays.
    mask.write_bytes(b"no mask")
    broken = run("instance", tmp_path / "out", *flags, "--metric=boc,l2", save)
    assert broken.status == 1 and broken.summary["results"][0]["images"] == 2
    assert {key[0] for key in broken.lines} == {"2007_000001", "2007_000002"}
    assert not (again.folder / "labels_boc" / "2007_000000.png").exists()

    # Times alone change nothing.
    os.utime(voc / "SegmentationObject" / "2007_000002.png", (1e9, 1e9))
    before = (again.folder / "labels_boc" / "2007_000002.png").stat().st_mtime_ns
    run("instance", tmp_path / "out", *flags, save)
    assert (again.folder / "labels_boc" / "2007_000002.png").stat().st_mtime_ns == before


def test_ids_stay_when_images_are_added(world, tmp_path):
    """And new images get longer ids, where one clashes with an image that has its id already."""
    photos = shutil.copytree(world.photos, tmp_path / "photos")
    flags = [world.checkpoint, "--N=16", "--num_instances=3", "--save=labels,coco"]
    flags += ["--dataset=folder", f"--data_dir={photos}"]
    first = run("instance", tmp_path / "out", *flags)
    lines, files = first.lines, contents(first.folder)
    pictures = {name for name in files if name.endswith(".png")}
    with Image.open(photos / "2007_000000.jpg") as image:
        image.rotate(180).save(photos / "2007_000000.png")
    (photos / "day" / "2007_000001.jpg").parent.mkdir()
    shutil.copy(photos / "2007_000001.jpg", photos / "day")
    again = run("instance", tmp_path / "out", *flags)
    new = ["2007_000000.png", "day/2007_000001"]
    assert {key[0] for key in again.lines} - {key[0] for key in lines} == {*new}
    assert {key: again.lines[key] for key in lines} == lines
    after = contents(again.folder)
    assert {name: after[name] for name in pictures} == {name: files[name] for name in pictures}
    assert after.keys() - files.keys() == {f"labels/{name}.png" for name in new}
    images = json.loads((again.folder / "coco.json").read_text())["images"]
    assert {"2007_000000.jpg", "2007_000000.png"} <= {image["file_name"] for image in images}
    # A list of frames chooses the same images, whatever ids they have.
    (tmp_path / "frames.txt").write_text("2007_000000.jpg\nday/2007_000001\n")
    frames = [*flags, "--overwrite", f"--frames={tmp_path / 'frames.txt'}"]
    for again in (frames, [flag for flag in frames if flag != "--overwrite"]):
        chosen = run("instance", tmp_path / "out", *again)
        assert {key[0] for key in chosen.lines} == {"2007_000000.jpg", "day/2007_000001"}
    # Ids of images that are gone are free again.
    (photos / "2007_000000.jpg").unlink()
    fresh = run("instance", tmp_path / "fresh", *flags)
    assert "2007_000000" in {key[0] for key in fresh.lines}


def test_changed_features_are_read_again(voc_flags, tmp_path):
    stored = tmp_path / "made" / "features"
    made = run("instance", tmp_path / "made", *voc_flags, "--save=features")
    flags = [f for f in voc_flags if "checkpoint" not in f] + [
        f"--features_dir={stored}",
        "--save=",
    ]
    first = run("instance", tmp_path / "out", *flags)
    assert first.status == 0 == made.status
    before = first.lines
    with np.load(stored / "2007_000000.npz") as content:
        changed = {**content, "features": content["features"][::-1]}
    np.savez(stored / "2007_000000.npz", **changed)
    again = run("instance", tmp_path / "out", *flags)
    differing = [key for key, line in again.lines.items() if line != before[key]]
    assert differing == [("2007_000000", "boc")]


def test_a_larger_limit_extends(voc_flags, voc_run, tmp_path):
    small = run("instance", tmp_path, *voc_flags, "--limit=1", "--save=labels")
    assert small.summary["results"][0]["images"] == 1
    larger = run("instance", tmp_path, *voc_flags, "--limit=1000000", "--save=labels")
    assert larger.summary["results"] == voc_run.summary["results"]
    assert contents(tmp_path) == contents(voc_run.folder)
    # A smaller limit afterwards reports only its images, and deletes nothing.
    again = run("instance", tmp_path, *voc_flags, "--limit=1", "--save=labels")
    assert again.summary["results"] == small.summary["results"]
    assert again.lines == voc_run.lines


def test_an_added_metric_and_an_added_save(voc_flags, voc_run, voc_copy):
    finished = run("instance", voc_copy, *voc_flags, "--metric=l2", "--save=tokens,coco")
    assert finished.status == 0
    assert [result["metric"] for result in finished.summary["results"]] == ["boc", "l2"]
    assert finished.summary["results"][0] == voc_run.summary["results"][0]
    # A second metric has folders of its own, and leaves the first one's files alone.
    new, old = contents(voc_copy), contents(voc_run.folder)
    assert {name: new[name] for name in old if name.endswith(".png")} == {
        name: old[name] for name in old if name.endswith(".png")
    }
    # Two metrics are drawn side by side.
    plots = {name for name in new if name.startswith("strata_")}
    assert len(plots) == 6
    added = sorted(set(new) - set(old) - plots)
    assert added[:3] == ["coco_l2.json", "coco_results_l2.json", "segments.jsonl"]
    assert added[3:] == [f"tokens_l2/2007_00000{index}.png" for index in range(3)]
    finished = run("instance", voc_copy, *voc_flags, "--metric=boc,l2", "--save=labels")
    for record_id in ("2007_000000", "2007_000001"):
        boc, l2 = (voc_copy / name / f"{record_id}.png" for name in ("labels", "labels_l2"))
        assert boc.read_bytes() == (voc_run.folder / "labels" / f"{record_id}.png").read_bytes()
        with Image.open(l2) as labels, Image.open(voc_copy / "tokens_l2" / l2.name) as tokens:
            assert set(np.unique(labels)) == set(np.unique(tokens))
    assert len(finished.lines) == 6


def test_lines_of_an_earlier_version_have_no_strata(voc_flags, voc_run, voc_copy):
    lines = [json.loads(line) for line in (voc_copy / "per_image.jsonl").read_text().splitlines()]
    for line in lines:
        del line["mbor"], line["size_ratio"]
    (voc_copy / "per_image.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    finished = run("instance", voc_copy, *voc_flags, "--metric=boc,l2", "--save=labels")
    assert finished.status == 0, finished.stderr
    boc, l2 = finished.summary["results"]
    assert boc["miou"] == voc_run.summary["results"][0]["miou"]
    for measure in ("mbor", "size_ratio"):
        assert boc["strata_left_out"][measure] == {"below": 0, "not_recorded": 3}
        assert l2["strata_left_out"][measure]["not_recorded"] == 0
        assert sum(stratum["images"] for stratum in boc[f"by_{measure}"]) == 0
    assert finished.stdout.count("an earlier version of this program did not record") == 2
    assert "an earlier version" not in voc_run.stdout


def test_fgbg_takes_more_numbers_of_channels(world, voc_flags, tmp_path):
    first = run("fgbg", tmp_path, *voc_flags, "--M=C/3")
    second = run("fgbg", tmp_path, *voc_flags, "--M=C")
    assert [result["M"] for result in second.summary["results"]] == [16, 48]
    assert second.summary["results"][0] == first.summary["results"][0]


def test_a_failed_image_is_tried_again(world, tmp_path):
    photos = shutil.copytree(world.photos, tmp_path / "photos")
    whole = (photos / "2007_000001.jpg").read_bytes()
    (photos / "2007_000001.jpg").write_bytes(whole[:200])
    flags = [world.checkpoint, "--N=16", "--image_size=112", "--num_instances=3", "--save="]
    flags += ["--dataset=folder", f"--data_dir={photos}"]
    finished = run("instance", tmp_path / "out", *flags)
    assert finished.status == 1 and len(finished.lines) == 2
    (photos / "2007_000001.jpg").write_bytes(whole)
    finished = run("instance", tmp_path / "out", *flags)
    assert finished.status == 0 and len(finished.lines) == 3
    assert finished.summary["failures"] == []
