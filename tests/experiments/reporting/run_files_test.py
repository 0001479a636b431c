"""The files of a run: what is read from them, and what is refused."""

import json

import pytest

from experiments.reporting.runs import fits, read_run
from specjax import SpecjaxError
from tests.support.report_runs import write_run

SCORES = {"boc": {"a": 0.5, "b/c.d": 1.0}, "M=3": {"a": 0.0}}
LEFT_OUT = {key: {"below": 0, "not_recorded": 0} for key in ("mbor", "size_ratio")}
STRATUM = {"images": 1, "miou": 0.5, "published": None}
STRATA = {
    "metric": "boc",
    "strata_left_out": LEFT_OUT,
    "by_mbor": [STRATUM] * 3,
    "by_size_ratio": [STRATUM] * 2,
}


@pytest.mark.parametrize(
    ("shape", "good", "bad"),
    [
        (str, ["", "a"], [None, 1, ["a"]]),
        (int, [0, -3], [True, 1.0, "1", None]),
        (None, [None], [0, "", {}, False]),
        (lambda value: value == 3, [3], [4]),
        ((str, None), ["a", None], [0, []]),
        ([str, ...], [[], ["a"], ["a", "b"]], [None, "ab", {}, [1], ["a", None]]),
        ([str, int], [["a", 1]], [[], ["a"], [1, "a"], ["a", 1, 1], None, {}]),
        ({"a": int}, [{"a": 1}, {"a": 1, "b": []}], [{}, {"a": "1"}, {"b": 1}, [], None]),
        ({"a": (int, None)}, [{}, {"a": None}, {"a": 1}], [{"a": ""}, None]),
        ([({"a": str}, {"b": [int, ...]}), ...], [[{"a": ""}, {"b": [1]}]], [[{"b": [""]}], [3]]),
    ],
)
def test_shapes(shape, good, bad):
    assert all(fits(value, shape) for value in good)
    assert not any(fits(value, shape) for value in bad)


def test_a_line_that_is_not_whole_is_not_there_yet(tmp_path):
    write_run(tmp_path, SCORES)
    with (tmp_path / "per_image.jsonl").open("a") as stream:
        stream.write('{"id": "later", "sett')
    assert list(read_run(tmp_path).scores["M=3"]) == ["a"]


def test_of_two_lines_the_first_counts(tmp_path):
    write_run(tmp_path, SCORES)
    with (tmp_path / "per_image.jsonl").open("a") as stream:
        stream.write('{"id": "a", "setting": "boc", "miou": 0.125}\n')
        stream.write('{"id": "a", "setting": "of another", "miou": 0.125}\n')
    run = read_run(tmp_path)
    assert run.values("boc", "miou") == SCORES["boc"] and list(run.scores) == list(SCORES)


def assert_refused(path, *words):
    with pytest.raises(SpecjaxError) as error:
        read_run(path)
    assert "\n" not in str(error.value)
    for word in words:
        assert str(word) in str(error.value)


@pytest.mark.parametrize("name", ["summary.json", "per_image.jsonl", "run.json"])
@pytest.mark.parametrize(
    "content",
    [b"{\n", b"\xff\n", b"[1]\n", b"NaN\n", b"[" * 99999 + b"\n", b"9" * 9999 + b"\n", None],
)
def test_damaged_files(tmp_path, name, content):
    write_run(tmp_path, SCORES)
    if content is None:
        (tmp_path / name).unlink()
        (tmp_path / name).mkdir()
        assert_refused(tmp_path, tmp_path / name, "cannot read")
    else:
        (tmp_path / name).write_bytes(content)
        assert_refused(tmp_path, tmp_path / name, "damaged", "another version", "--overwrite")


def test_the_setting_of_plain_names_is_a_text(tmp_path):
    write_run(tmp_path, SCORES)
    (tmp_path / "run.json").write_text('{"plain_names": 3}')
    assert_refused(tmp_path, "run.json", "damaged")


@pytest.mark.parametrize(
    "line",
    [
        {"id": 3, "setting": "boc"},
        {"id": "z", "setting": None},
        {"setting": "boc"},
        {"id": "z", "setting": "boc", "miou": "0.5"},
        {"id": "z", "setting": "boc", "miou": True},
        {"id": "z", "setting": "boc", "miou": float("nan")},
        {"id": "z", "setting": "boc", "f_score": 1.5},
        {"id": "z", "setting": "boc", "f_score": [0.5]},
        {"id": "z", "setting": "of another", "f_score": -0.5},
    ],
)
def test_lines_of_other_shapes(tmp_path, line):
    write_run(tmp_path, SCORES)
    with (tmp_path / "per_image.jsonl").open("a") as stream:
        stream.write(json.dumps(line) + "\n")
    assert_refused(tmp_path, "per_image.jsonl", "damaged", "--overwrite")


def test_results_with_strata_and_of_other_keys(tmp_path):
    results = [STRATA, {"mr": 0.5, "by_instances": [{"images": 1}], "new": [[]], "by_mbor": None}]
    assert list(read_run(write_run(tmp_path, SCORES, results=results)).results) == ["boc", "M=3"]


@pytest.mark.parametrize(
    "changes",
    [
        {"results": []},
        {"results": [{}]},
        {"results": [3, 4]},
        {"results": [{"miou": "high"}, {}]},
        {"results": [{"images": []}, {}]},
        {"results": [{"setting": []}, {}]},
        {"results": [{"miou": 1e300}, {}]},
        {"results": [{"published": 10**30}, {}]},
        {"results": [{"miou": float("nan")}, {}]},
        {"results": [{"difference_raw": "1"}, {}]},
        {"results": [{**STRATA, "by_mbor": 3}, {}]},
        {"results": [{**STRATA, "by_mbor": [STRATUM] * 2}, {}]},
        {"results": [{**STRATA, "by_size_ratio": [STRATUM, {"low": 1}]}, {}]},
        {"results": [{**STRATA, "by_size_ratio": None}, {}]},
        {"results": [{**STRATA, "strata_left_out": {}}, {}]},
        {"results": [{**STRATA, "strata_left_out": {**LEFT_OUT, "mbor": {"below": 0}}}, {}]},
        {"results": [{**STRATA, "metric": None}, {}]},
        {"config": {"dataset": "voc"}},
        {"config": {"dataset": {}}},
        {"config": {"settings": ["boc", "boc"]}},
        {"config": {"settings": ["boc"]}},
        {"config": {"settings": [{}, []]}},
        {"config": {"binary": []}},
        {"config": {"backbone": None}},
        {"config": {"checkpoint": 3}},
        {"failures": ["a"]},
        {"failures": [{"id": "a"}]},
        {"failures": None},
        {"warnings": "many"},
        {"versions": []},
        {"seconds": 3},
    ],
)
def test_summaries_of_other_shapes(tmp_path, changes):
    write_run(tmp_path, SCORES, **changes)
    assert_refused(tmp_path, "summary.json", "damaged", "--overwrite")


def test_the_summary_of_another_program(tmp_path):
    write_run(tmp_path, SCORES, config={"binary": "pretrain"})
    assert_refused(tmp_path, "summary.json", "instance, segment, fgbg")
    (tmp_path / "summary.json").write_text('{"config": null}')
    assert_refused(tmp_path, "summary.json", "damaged")
