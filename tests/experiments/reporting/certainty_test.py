"""Intervals and comparisons of runs whose scores are known."""

from experiments.reporting.results import comparison_table, interval_table
from experiments.reporting.runs import read_run
from tests.support.report_runs import write_page, write_run


def intervals(run, score="miou"):
    return interval_table(run, score, seed=0, resamples=400)


def comparison(run):
    return comparison_table(run, "miou", seed=0, resamples=400)


def test_scores_intervals_and_comparison(tmp_path):
    scores = {"dot": {"a": 0.1, "b": 0.3}, "boc": {"a": 0.2, "b": 0.6}}
    run = read_run(write_run(tmp_path, scores))
    table, found = intervals(run)
    # Of four draws of two images one is twice the lower, and one twice the higher.
    assert table.caption == "mIoU, mean over images"
    assert table.headings == ["setting", "mean %", "95 % interval", "images"]
    assert table.rows == [
        ["dot", "20.00", "10.00 to 30.00", "2"],
        ["boc", "40.00", "20.00 to 60.00", "2"],
    ]
    assert list(found) == ["dot", "boc"]
    assert [round(100 * bound, 9) for bound in found["boc"]] == [40, 20, 60]
    compared = comparison(run)
    assert compared.caption == "mIoU, difference from boc in percentage points"
    assert compared.headings == ["setting", "points", "95 % interval", "p", "p (Holm)", "images"]
    assert compared.rows == [["dot", "-20.00", "-30.00 to -10.00", "0.500", "0.500", "2"]]
    assert compared.remarks == ["With 2 images the test cannot give a p below 0.5."]


def test_the_page_shows_them(tmp_path):
    scores = {"dot": {"a": 0.1, "b": 0.3}, "boc": {"a": 0.2, "b": 0.6}}
    page = write_page([write_run(tmp_path / "run", scores)], tmp_path / "report.html")
    assert page.tables["mIoU, mean over images"][1] == ["dot", "20.00", "10.00 to 30.00", "2"]
    assert page.tables["mIoU, difference from boc in percentage points"][1][:2] == ["dot", "-20.00"]
    assert "With 2 images the test cannot give a p below 0.5." in page.text
    assert "All images are treated as drawn independently" in page.text
    for name in ("png", "svg", "csv"):
        assert (tmp_path / "report_plots" / f"run1_intervals.{name}").stat().st_size


def test_frames_are_drawn_by_video(tmp_path):
    scores = {"boc": {"v/0": 0.2, "v/1": 0.4, "w/0": 0.9}, "l2": {"v/0": 0, "v/1": 0, "w/0": 0}}
    run = read_run(write_run(tmp_path, scores, dataset="ytvis"))
    table, _ = intervals(run)
    assert table.headings[-2:] == ["images", "videos"]
    # Twice v is 0.3, twice w 0.9.
    assert table.rows[0] == ["boc", "50.00", "30.00 to 90.00", "3", "2"]
    assert table.remarks == ["Intervals of only 2 videos tend to be too narrow."]
    compared = comparison(run)
    assert compared.rows == [["l2", "-50.00", "-90.00 to -30.00", "0.500", "0.500", "3", "2"]]
    page = write_page([tmp_path], tmp_path / "report.html")
    assert "whole videos are drawn" in page.text and "only 2 videos" in page.text


def test_settings_with_the_same_scores_share_a_row(tmp_path):
    scores = {name: {"a": 0.5, "b": value} for name, value in (("x", 0.1), ("y", 0.2), ("z", 0.1))}
    run = read_run(write_run(tmp_path, scores))
    names = [[row[0] for row in intervals(run, score)[0].rows] for score in ("miou", "f_score")]
    assert names == [["x and 1 more with the same scores", "y"], ["all settings"]]
    assert list(intervals(run)[1]) == ["x", "y", "z"]


def test_no_interval_where_the_lines_cover_other_images_than_the_summary(tmp_path):
    scores = {"boc": {"a": 0.1, "b": 0.3}, "dot": {"a": 0.2, "b": 0.6}}
    # As after all images, and then the first alone.
    results = [
        {"metric": "boc", "miou": 0.1, "images": 1},
        {"metric": "dot", "miou": 0.4, "images": 2},
    ]
    run = read_run(write_run(tmp_path, scores, results=results))
    table, found = intervals(run)
    assert list(found) == ["dot"] and [row[0] for row in table.rows] == ["dot"]
    assert any("No interval for boc" in remark for remark in table.remarks)
    assert comparison(run) is None
    # The lines' mean, of another number of images.
    results = [{"metric": "boc", "miou": 0.2, "images": 1}, results[1]]
    run = read_run(write_run(tmp_path, scores, results=results))
    assert list(intervals(run)[1]) == ["dot"]
    # A mean that is not the lines'.
    results = [{**results[1], "metric": "boc"}, {**results[1], "miou": 0.41}]
    run = read_run(write_run(tmp_path, scores, results=results))
    assert not intervals(run)[1]


def test_one_image(tmp_path):
    page = write_page([write_run(tmp_path / "run", {"boc": {"a": 0.5}})], tmp_path / "report.html")
    assert page.tables["mIoU, mean over images"][1] == ["boc", "50.00", "-", "1"]
    assert "There is no interval for a single image." in page.text
    assert not (tmp_path / "report_plots").exists()


def test_settings_without_a_common_image(tmp_path):
    run = read_run(write_run(tmp_path, {"boc": {"a": 0.5, "b": 1}, "dot": {"c": 0.5, "d": 1}}))
    compared = comparison(run)
    assert compared.rows == [] and compared.remarks == []
