"""The folder of a run: other runs and files in it are refused; what overwriting deletes."""

import json
import pathlib
import shutil

import pytest

from experiments.runs.folder import RunFolder
from tests.support.run_binary import assert_refused, contents, run
from tests.support.tiny_checkpoint import write_checkpoint


def test_plots_belong_to_the_run(voc_flags, tmp_path):
    for name in ("strata_mbor.png", "strata_size_ratio.csv"):
        (tmp_path / name).write_text("mine")
        refused = run("instance", tmp_path, *voc_flags)
        assert_refused(refused, name, "choose another folder (--output_dir)")
        (tmp_path / name).unlink()
    run("instance", tmp_path, *voc_flags, "--metric=l2,dot")
    assert len(list(tmp_path.glob("strata_*.*"))) == 6
    run("instance", tmp_path, *voc_flags, "--metric=boc", "--N=3", "--overwrite")
    assert not list(tmp_path.glob("strata_*.*"))


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("--M=15", ["M was 16, now 15"]),
        ("--N=3", ["N was 16, now 3"]),
        ("--bins=31", ["bins was 30, now 31"]),
        ("--protocol=reference", ['protocol was "paper", now "reference"']),
        ("--num_instances=3", ['num_instances was "oracle", now 3']),
        ("--image_size=128", ["image_size was 112, now 128"]),
        ("--pos_interpolation=hf", ['pos_interpolation was "auto", now "hf"']),
        ("--seed=1", ["seed was 0, now 1"]),
        ("--solver=krylov", ['solver was "eigh", now "krylov"']),
        ("--paper_filter", ["dataset was", "paper_filter"]),
        ("--checkpoint=OTHER", ["checkpoint was"]),
        ("--data_dir=OTHER", ["dataset was", "data_dir"]),
    ],
)
def test_another_configuration_is_not_mixed_in(
    world, voc_flags, voc_run, voc_copy, tmp_path, flag, words
):
    if flag == "--checkpoint=OTHER":
        flag = f"--checkpoint={write_checkpoint(tmp_path / 'other', seed=1)}"
    elif flag == "--data_dir=OTHER":
        flag = f"--data_dir={shutil.copytree(world.folder / 'voc', tmp_path / 'voc')}"
    finished = run("instance", voc_copy, *voc_flags, flag)
    assert_refused(finished, voc_copy, *words, "choose another folder, or overwrite (--output_dir)")
    assert contents(voc_copy) == contents(voc_run.folder)
    assert finished.summary == voc_run.summary


def test_another_binary_is_not_mixed_in(voc_flags, voc_copy):
    assert_refused(run("fgbg", voc_copy, *voc_flags), voc_copy, 'binary was "instance", now "fgbg"')


def test_features_belong_to_the_configuration(world, voc_flags, voc_run, voc_copy, tmp_path):
    run("fgbg", tmp_path / "other", *voc_flags, "--save=features")
    others = [flag for flag in voc_flags if flag != world.checkpoint]
    others.append(f"--features_dir={tmp_path / 'other' / 'features'}")
    assert_refused(
        run("instance", voc_copy, *others), voc_copy, "checkpoint was", "features_dir was null"
    )


def test_overwriting(voc_flags, voc_run, voc_copy):
    (voc_copy / "notes.txt").write_text("mine")
    finished = run("instance", voc_copy, *voc_flags, "--N=3", "--limit=1", "--overwrite")
    assert finished.status == 0 and [line["N"] for line in finished.lines.values()] == [3]
    assert (voc_copy / "notes.txt").read_text() == "mine"
    assert not (voc_copy / "labels").exists()


@pytest.mark.parametrize("overwrite", [[], ["--overwrite"]])
@pytest.mark.parametrize("name", ["labels/mine.png", "summary.json", "coco.json"])
def test_files_of_others_are_left_alone(voc_flags, tmp_path, name, overwrite):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine")
    finished = run("instance", tmp_path, *voc_flags, "--save=labels,coco", *overwrite)
    assert_refused(finished, tmp_path, name.split("/")[0], "choose another folder (--output_dir)")
    assert (tmp_path / name).read_text() == "mine"


def test_results_do_not_go_among_the_images(world, tmp_path):
    photos = shutil.copytree(world.photos, tmp_path / "photos")
    flags = [world.checkpoint, "--num_instances=3", "--dataset=folder", f"--data_dir={photos}"]
    for folder in (photos, photos / "results"):
        assert_refused(run("instance", folder, *flags), photos, "--output_dir outside")
    assert not (photos / "results").exists()


def test_overwriting_does_not_delete_what_is_read(voc_flags, world, tmp_path):
    run("fgbg", tmp_path, *voc_flags, "--save=features", "--limit=1")
    others = [flag for flag in voc_flags if flag != world.checkpoint]
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


def test_a_name_is_no_path_that_overwriting_might_delete(world, voc_flags, tmp_path, monkeypatch):
    run("fgbg", tmp_path / "features", *voc_flags, "--save=features", "--limit=1")
    # The checkpoint is "auto" then.
    others = [flag for flag in voc_flags if flag != world.checkpoint]
    others += [f"--features_dir={tmp_path / 'features' / 'features'}", "--limit=1"]
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path / "out")
    for more in ([], ["--overwrite"]):
        finished = run("fgbg", ".", *others, *more)
        assert finished.status == 0, finished.stderr


def test_other_colours_are_another_run(world, voc_flags, tmp_path):
    folder = pathlib.Path(world.checkpoint.removeprefix("--checkpoint="))
    copy = shutil.copytree(folder, tmp_path / "checkpoint")
    others = [flag for flag in voc_flags if flag != world.checkpoint] + [f"--checkpoint={copy}"]
    assert run("fgbg", tmp_path / "out", *others, "--limit=1").status == 0
    colours = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
    (copy / "preprocessor_config.json").write_text(json.dumps(colours))
    finished = run("fgbg", tmp_path / "out", *others)
    assert_refused(finished, tmp_path / "out", "colours was", "--output_dir")


def test_one_process_at_a_time(voc_flags, voc_run, voc_copy):
    identity = json.loads((voc_copy / "run.json").read_text())["identity"]
    with RunFolder(voc_copy, identity, [], overwrite=False):
        finished = run("instance", voc_copy, *voc_flags, "--overwrite")
    assert_refused(finished, "another process is writing", voc_copy)
    assert contents(voc_copy) == contents(voc_run.folder)
    assert run("instance", voc_copy, *voc_flags).status == 0


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
def test_damaged_files(voc_flags, voc_copy, name, text):
    (voc_copy / name).write_text(text)
    refused = run("instance", voc_copy, *voc_flags)
    assert_refused(
        refused, voc_copy / name, "overwrite it, or choose another folder (--output_dir)"
    )
    finished = run("instance", voc_copy, *voc_flags, "--overwrite", "--limit=1")
    assert finished.status == 0 and len(finished.lines) == 1
