"""The binary's messages about what it cannot score."""

import json
import shutil

import numpy as np
import pytest

from tests.support.run_binary import assert_refused
from tests.support.scores import entry, run_scores


def test_mistakes(world, finished_run, scored, tmp_path):
    output, voc = tmp_path / "scores.json", f"--data_dir={world.folder / 'voc'}"
    (tmp_path / "empty").mkdir()
    for arguments, words in {
        (): ["no results given"],
        (tmp_path / "empty", "--dataset=voc", voc): ["empty", "--save=coco"],
        (tmp_path / "empty",): ["--dataset"],
        (finished_run, "--output=scores.txt"): ["scores.txt", ".json"],
        (finished_run, "--dataset="): ["--dataset"],
        (finished_run, "--dataset=folder", voc): ["no annotation"],
        (tmp_path / "none.json", "--dataset=voc", voc): ["none.json", "no such file"],
    }.items():
        assert_refused(run_scores(output, *arguments), *words)
    wrong = [entry("2007_000000", np.ones((9, 9), bool))]
    assert_refused(scored(wrong, "--dataset=voc", voc), "results.json", "entry 0", "[9, 9]")
    assert not output.exists()


@pytest.mark.parametrize(
    "config", [None, 7, {"dataset": {"name": "voc", "data_dir": 7}}, {"dataset": {"name": "x"}}]
)
def test_a_damaged_summary(finished_run, tmp_path, config):
    other = shutil.copytree(finished_run, tmp_path / "run")
    (other / "summary.json").write_text(json.dumps({"config": config}))
    assert_refused(run_scores(tmp_path / "scores.json", other))


def test_a_list_of_frames_must_be_given_again(world, finished_run, tmp_path):
    other = shutil.copytree(finished_run, tmp_path / "run")
    summary = json.loads((other / "summary.json").read_text())
    summary["config"]["dataset"]["frames_sha256"] = "0" * 64
    (other / "summary.json").write_text(json.dumps(summary))
    assert_refused(run_scores(tmp_path / "scores.json", other), "--frames")


def test_results_that_are_replaced(finished_run, tmp_path):
    path = tmp_path / "results.json"
    path.write_text("[]")
    assert_refused(run_scores(path, path), "replace")
    assert path.read_text() == "[]"
