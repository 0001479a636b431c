"""Folders of runs that a report can read, and folders that it refuses."""

import pytest

from experiments.reporting.runs import read_run
from specjax import SpecjaxError
from tests.support.report_runs import write_run

SCORES = {"boc": {"a": 0.5, "b/c.d": 1.0}, "M=3": {"a": 0.0}}


def test_a_run(tmp_path):
    run = read_run(write_run(tmp_path / "run", SCORES))
    assert (run.binary, run.dataset, run.backbone) == ("instance", "voc", "random")
    assert list(run.results) == ["boc", "M=3"] and run.results["M=3"]["miou"] == 0
    assert run.values("boc", "miou") == SCORES["boc"]
    assert run.values("M=3", "f_score_raw") == {"a": 0.25}
    assert run.values("boc", "best_channel_miou") == {}
    assert list(run.scores["boc"]) == ["a", "b/c.d"]
    assert run.units() == {"a": "a", "b/c.d": "b/c.d"} and run.unit == "images"
    assert read_run(tmp_path / "run" / "summary.json").folder == tmp_path / "run"


def test_the_main_score_and_its_best_setting(tmp_path):
    run = read_run(write_run(tmp_path, SCORES))
    assert run.main_score == "miou" and run.means("miou") == {"boc": 0.75, "M=3": 0.0}
    assert run.best_setting == "boc"
    # A score is there where any setting has it; of equal means the first counts.
    results = [{"miou": None, "f_score": 0.5}, {"f_score": 0.5}]
    run = read_run(write_run(tmp_path, SCORES, results=results))
    assert run.main_score == "f_score" and run.best_setting == "boc"
    run = read_run(write_run(tmp_path, SCORES, results=[{}, {"miou": 0}]))
    assert run.main_score == "miou" and run.best_setting == "M=3"
    run = read_run(write_run(tmp_path, SCORES, results=[{}, {}]))
    assert run.main_score is None and run.best_setting == "boc"


def test_frames_of_videos(tmp_path):
    scores = {"boc": {"v/00": 0.5, "v/05": 0.5, "w/x/00": 1.0}}
    run = read_run(write_run(tmp_path, scores, dataset="ytvis"))
    assert run.unit == "videos" and run.units() == {"v/00": "v", "v/05": "v", "w/x/00": "w/x"}


def test_pictures_are_in_the_folder(tmp_path):
    run = read_run(write_run(tmp_path / "run", SCORES))
    for name in ("overlays_boc/a.png", "overlays_M3/b/c.d.png"):
        path = tmp_path / "run" / name
        path.parent.mkdir(parents=True)
        path.touch()
    (tmp_path / "secret.png").touch()
    (tmp_path / "run" / "overlays_boc" / "link.png").symlink_to(tmp_path / "secret.png")
    folder = tmp_path / "run"
    assert run.picture("overlays", "boc", "a") == folder / "overlays_boc" / "a.png"
    assert run.picture("overlays", "M=3", "b/c.d") == folder / "overlays_M3" / "b" / "c.d.png"
    for stranger in ("b", "../../secret", str(tmp_path / "secret"), "link", "\0", "x" * 999):
        assert run.picture("overlays", "boc", stranger) is None


def test_what_is_no_run(tmp_path):
    def assert_refused(path, *words):
        with pytest.raises(SpecjaxError) as error:
            read_run(path)
        assert "\n" not in str(error.value)
        assert all(str(word) in str(error.value) for word in words)

    assert_refused(tmp_path / "absent", tmp_path / "absent", "no such folder", "--output_dir")
    assert_refused(tmp_path, tmp_path, "not the folder of a run", "--output_dir")
    (tmp_path / "run.json").write_text("{}")
    assert_refused(tmp_path, tmp_path, "not finished", "continues")
