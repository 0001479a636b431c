"""The parts of a page about a run other than scores and pictures."""

from experiments.reporting.runs import read_run
from experiments.reporting.sections import overview_row
from tests.support.report_runs import write_page, write_run


def test_failures_configuration_and_versions(tmp_path):
    failures = [{"id": f"image {number}", "error": "cannot decode"} for number in range(203)]
    run = write_run(tmp_path / "run", {"boc": {"a": 0.5}}, failures=failures)
    page = write_page([run], tmp_path / "report.html")
    table = page.tables["203 images failed"]
    assert table[:2] == [["image", "error"], ["image 0", "cannot decode"]] and len(table) == 201
    assert "3 more are in summary.json." in page.text and "No image failed." not in page.text
    assert ["jax", "0.0"] in page.tables["Versions"]
    assert ["total", "1.5"] in page.tables["Seconds by stage"]
    assert ["settings", "boc"] in page.tables["Configuration"]
    assert ["dataset", '{"name": "voc"}'] in page.tables["Configuration"]
    assert page.tables["Runs"][1][-1] == "203"
    whole = write_run(tmp_path / "whole", {"boc": {"a": 0.5}})
    assert "No image failed." in write_page([whole], tmp_path / "whole.html").text


def test_facts_and_warnings(tmp_path):
    run = write_run(tmp_path / "run", {"boc": {"a": 0.5, "b": 0}}, warnings=["N=9 is used"])
    text = " ".join(write_page([run], tmp_path / "report.html").text.split())
    assert "Warning: N=9 is used" in text and f"folder{run}" in text
    assert "images2 (0 more failed)" in text and "protocolpaper" in text and "UTC" in text


def test_a_remark_on_several_scores_appears_once(tmp_path):
    run = write_run(tmp_path / "run", {"boc": {"a": 0.5, "b": 0.7}})
    page = write_page([run], tmp_path / "report.html")
    assert {"mIoU, mean over images", "F-score, mean over images"} <= page.tables.keys()
    assert page.text.count("tend to be too narrow") == 1


def test_the_row_in_the_table_of_all_runs(tmp_path):
    scores = {"dot": {"a": 0.5}, "boc": {"a": 0.5, "b": 1.0}, "l1": {"a": 0.75}}
    assert overview_row(read_run(write_run(tmp_path, scores))) == [
        *("voc", "random", "mIoU 75.00 % (boc)", "2", "0")
    ]
