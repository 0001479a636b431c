"""Folders that a report is made of, and those that it cannot be made of."""

import json

import pytest

from experiments.reporting.runs import read_run
from specjax.errors import SpecjaxError
from tests.support.report_runs import write_run

SCORES = {"boc": {"a": 0.5, "b/c.d": 1.0}, "M=3": {"a": 0.0}}


def test_a_run(tmp_path):
    run = read_run(write_run(tmp_path / "run", SCORES))
    assert run.binary == "instance" and run.settings == ["boc", "M=3"]
    assert run.scores["boc"]["miou"] == SCORES["boc"]
    assert run.scores["M=3"]["f_score_raw"] == {"a": 0.25}
    assert run.scores["boc"]["best_channel_miou"] == {}
    assert run.images == {"boc": ["a", "b/c.d"], "M=3": ["a"]}
    assert run.units() == {"a": "a", "b/c.d": "b/c.d"} and not run.in_videos
    assert read_run(tmp_path / "run" / "summary.json").folder == tmp_path / "run"


def test_frames_of_videos(tmp_path):
    scores = {"boc": {"v/00": 0.5, "v/05": 0.5, "w/x/00": 1.0}}
    run = read_run(write_run(tmp_path, scores, dataset="ytvis"))
    assert run.in_videos and run.units() == {"v/00": "v", "v/05": "v", "w/x/00": "w/x"}


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


def test_a_line_that_is_not_whole_is_not_there_yet(tmp_path):
    write_run(tmp_path, SCORES)
    with (tmp_path / "per_image.jsonl").open("a") as stream:
        stream.write('{"id": "later", "sett')
    assert read_run(tmp_path).images["M=3"] == ["a"]


def test_of_two_lines_the_first_counts(tmp_path):
    write_run(tmp_path, SCORES)
    with (tmp_path / "per_image.jsonl").open("a") as stream:
        stream.write('{"id": "a", "setting": "boc", "miou": 0.125}\n')
        stream.write('{"id": "a", "setting": "of another", "miou": 0.125}\n')
    assert read_run(tmp_path).scores["boc"]["miou"] == SCORES["boc"]


def assert_refused(path, *words):
    with pytest.raises(SpecjaxError) as error:
        read_run(path)
    assert "\n" not in str(error.value)
    for word in words:
        assert str(word) in str(error.value)


def test_what_is_no_run(tmp_path):
    assert_refused(tmp_path / "absent", tmp_path / "absent", "no such folder", "--output_dir")
    assert_refused(tmp_path, tmp_path, "not the folder of a run", "--output_dir")
    (tmp_path / "run.json").write_text("{}")
    assert_refused(tmp_path, tmp_path, "not finished", "continues")


@pytest.mark.parametrize("name", ["summary.json", "per_image.jsonl", "run.json"])
@pytest.mark.parametrize(
    "content", [b"{\n", b"\xff\n", b"[1]\n", b"NaN\n", b"[" * 99999 + b"\n", None]
)
def test_damaged_files(tmp_path, name, content):
    write_run(tmp_path, SCORES)
    if content is None:
        (tmp_path / name).unlink()
        (tmp_path / name).mkdir()
        assert_refused(tmp_path, tmp_path / name, "cannot read")
    else:
        (tmp_path / name).write_bytes(content)
        assert_refused(tmp_path, tmp_path / name)


@pytest.mark.parametrize(
    "line",
    [
        {"id": 3, "setting": "boc"},
        {"id": "z", "setting": None},
        {"id": "z", "setting": "boc", "miou": "0.5"},
        {"id": "z", "setting": "boc", "miou": True},
        {"id": "z", "setting": "boc", "f_score": 1.5},
        {"id": "z", "setting": "boc", "f_score": [0.5]},
    ],
)
def test_lines_of_other_shapes(tmp_path, line):
    write_run(tmp_path, SCORES)
    with (tmp_path / "per_image.jsonl").open("a") as stream:
        stream.write(json.dumps(line) + "\n")
    assert_refused(tmp_path, "per_image.jsonl", "damaged", "--overwrite")


@pytest.mark.parametrize(
    "changes",
    [
        {"results": []},
        {"results": [3, 4]},
        {"results": [{"miou": "high"}, {}]},
        {"results": [{"images": []}, {}]},
        {"results": [{"miou": 1e300}, {}]},
        {"results": [{"by_mbor": 3}, {}]},
        {"results": [{"by_mbor": [{"low": 1}]}, {}]},
        {"results": [{"metric": "boc", "strata_left_out": {}, "by_mbor": []}, {}]},
        {"config": {"binary": "instance", "dataset": "voc", "settings": ["boc", "M=3"]}},
        {"config": {"binary": "instance", "dataset": {}, "settings": ["boc", "boc"]}},
        {"config": {"binary": "instance", "dataset": {}, "settings": ["boc"]}},
        {"config": {"binary": "instance", "dataset": {}, "settings": [{}, []]}},
        {"config": {"binary": "pretrain", "dataset": {}, "settings": ["boc", "M=3"]}},
        {"config": {"binary": [], "dataset": {}, "settings": ["boc", "M=3"]}},
        {"config": None},
        {"failures": ["a"]},
        {"failures": None},
        {"warnings": "many"},
        {"versions": []},
        {"seconds": 3},
    ],
)
def test_summaries_of_other_shapes(tmp_path, changes):
    write_run(tmp_path, SCORES, **changes)
    assert_refused(tmp_path, "summary.json")
