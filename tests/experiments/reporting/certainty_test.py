"""The tables of a page, of runs whose scores are known."""

from experiments.reporting.certainty import comparison_table, interval_table
from experiments.reporting.page import numeric_columns
from experiments.reporting.parts import Table
from experiments.reporting.runs import read_run
from tests.support.report_runs import write_page, write_run

STRATA = {
    "strata_left_out": {
        "mbor": {"below": 2, "not_recorded": 0}, "size_ratio": {"below": 0, "not_recorded": 1},
    },
    "by_mbor": [
        {"low": low, "high": None, "images": 3, "miou": 0.5, "published": 0.34}
        for low in (0.01, 0.14, 0.34)
    ],
    "by_size_ratio": [
        {"low": low, "high": None, "images": 0, "miou": None, "published": None}
        for low in (1.26, 1.64)
    ],
}  # fmt: skip


def test_scores_intervals_and_comparison(tmp_path):
    scores = {"dot": {"a": 0.1, "b": 0.3}, "boc": {"a": 0.2, "b": 0.6}}
    results = [
        {"metric": "dot", "miou": 0.2, "published": 0.3271, "difference": -0.1271, "images": 2},
        {"metric": "boc", "miou": 0.4, "published": 0.3441, "difference": 0.0559, "images": 2},
    ]
    run = write_run(tmp_path / "run", scores, results=results)
    page = write_page([run], tmp_path / "report.html")
    assert page.tables["Scores"] == [
        ["metric", "mIoU %", "published", "difference", "images"],
        ["dot", "20.00", "32.71", "-12.71", "2"],
        ["boc", "40.00", "34.41", "+5.59", "2"],
    ]
    # Of four draws of two images one is twice the lower, and one twice the higher.
    assert page.tables["mIoU, mean over images"] == [
        ["setting", "mean %", "95 % interval", "images"],
        ["dot", "20.00", "10.00 to 30.00", "2"],
        ["boc", "40.00", "20.00 to 60.00", "2"],
    ]
    assert page.tables["mIoU, difference from boc in points"] == [
        ["setting", "points", "95 % interval", "p", "p (Holm)", "images"],
        ["dot", "-20.00", "-30.00 to -10.00", "0.500", "0.500", "2"],
    ]
    assert "With 2 images the test cannot give a p below 0.5." in page.text
    assert "Published: YouTube-VIS 2019 (10,285 frames)" in page.text
    assert "Every image counts as drawn independently" in page.text
    assert page.tables["Runs"][1] == [
        "1. instance on voc", "voc", "random", "mIoU 40.00 % (boc)", "2", "0",
    ]  # fmt: skip
    for name in ("png", "svg", "csv"):
        assert (tmp_path / "report_plots" / f"run1_intervals.{name}").stat().st_size


def test_frames_are_drawn_by_video(tmp_path):
    scores = {"boc": {"v/0": 0.2, "v/1": 0.4, "w/0": 0.9}, "l2": {"v/0": 0, "v/1": 0, "w/0": 0}}
    run = read_run(write_run(tmp_path, scores, dataset="ytvis"))
    table, _ = interval_table(run, "miou", seed=0, resamples=400)
    assert table.headings[-2:] == ["images", "videos"]
    # Twice v is 0.3, twice w 0.9.
    assert table.rows[0] == ["boc", "50.00", "30.00 to 90.00", "3", "2"]
    compared = comparison_table(run, "miou", seed=0, resamples=400)
    assert compared.rows == [["l2", "-50.00", "-90.00 to -30.00", "0.500", "0.500", "3", "2"]]
    page = write_page([tmp_path], tmp_path / "report.html")
    assert "whole videos are drawn" in page.text and "2 videos only" in page.text


def test_settings_with_the_same_scores_share_a_row(tmp_path):
    scores = {name: {"a": 0.5, "b": value} for name, value in (("x", 0.1), ("y", 0.2), ("z", 0.1))}
    run = read_run(write_run(tmp_path, scores))
    names = [
        [row[0] for row in interval_table(run, score, seed=0, resamples=400)[0].rows]
        for score in ("miou", "f_score")
    ]
    assert names == [["x, 1 more alike", "y"], ["all 3 settings alike"]]


def test_no_interval_for_other_images_than_the_summarys(tmp_path):
    scores = {"boc": {"a": 0.1, "b": 0.3}, "dot": {"a": 0.2, "b": 0.6}}
    # As after all images, and then the first alone.
    results = [
        {"metric": "boc", "miou": 0.1, "images": 1}, {"metric": "dot", "miou": 0.4, "images": 2},
    ]  # fmt: skip
    run = read_run(write_run(tmp_path, scores, results=results))
    table, found = interval_table(run, "miou", seed=0, resamples=400)
    assert list(found) == ["dot"] and [row[0] for row in table.rows] == ["dot"]
    assert any("No interval for boc" in remark for remark in table.remarks)
    assert comparison_table(run, "miou", seed=0, resamples=400) is None
    # The lines' mean, of another number of images.
    results = [{"metric": "boc", "miou": 0.2, "images": 1}, results[1]]
    run = read_run(write_run(tmp_path, scores, results=results))
    assert list(interval_table(run, "miou", seed=0, resamples=400)[1]) == ["dot"]
    # A mean that is not the lines'.
    results = [{**results[1], "metric": "boc"}, {**results[1], "miou": 0.41}]
    run = read_run(write_run(tmp_path, scores, results=results))
    assert not interval_table(run, "miou", seed=0, resamples=400)[1]


def test_one_image(tmp_path):
    page = write_page([write_run(tmp_path / "run", {"boc": {"a": 0.5}})], tmp_path / "report.html")
    assert page.tables["mIoU, mean over images"][1] == ["boc", "50.00", "-", "1"]
    assert "One image alone has no interval." in page.text
    assert not (tmp_path / "report_plots").exists()


def test_strata(tmp_path):
    results = [{"metric": "boc", "miou": 0.5, "images": 2, **STRATA}]
    run = write_run(tmp_path / "run", {"boc": {"a": 0.4, "b": 0.6}}, results=results)
    page = write_page([run], tmp_path / "report.html")
    groups, headings, row = page.tables["mIoU by MBOR"]
    assert groups == [
        "", "MBOR 0.01-0.14 (images: 3)", "MBOR 0.14-0.34 (images: 3)", "MBOR >=0.34 (images: 3)",
    ]  # fmt: skip
    assert headings == ["metric", *["mIoU %", "published", "difference"] * 3]
    assert row == ["boc", *["50.00", "34.00", "+16.00"] * 3]
    assert page.tables["mIoU by size ratio"][1:] == [["metric", "mIoU %", "mIoU %"], ["boc", *"--"]]
    assert "Images below 0.01, in no stratum: 2." in page.text


def test_both_tables_of_an_ablation(tmp_path):
    names = ["none", "NCR", "NCR+DCR", "BoC", "NCR+BoC", "NCR+DCR+BoC"]
    settings = [*names, "none+foregroundC", "BoC+foregroundC"]
    scores = {name: {"a": 0.5, "b": place / 10} for place, name in enumerate(settings)}
    results = [
        {"setting": name, "name": name, "ncr": "NCR" in name, "images": 2,
         "miou": sum(scores[name].values()) / 2, "published": 0.3}
        for name in settings
    ]  # fmt: skip
    run = write_run(tmp_path / "run", scores, binary="ablation", results=results)
    page = write_page([run], tmp_path / "report.html")
    first = page.tables["Foreground with NCR in all settings"]
    second = page.tables["Foreground without NCR where the setting is without it"]
    assert [row[0] for row in first] == ["on", *names]
    assert first[2] == ["NCR", "yes", "30.00", "30.00", "2"]
    assert [row[0] for row in second[1:]] == ["none+foregroundC", *names[1:3], "BoC+foregroundC",
                                              *names[4:]]  # fmt: skip
    rows = page.tables["mIoU, difference from NCR+DCR+BoC in points"][1:]
    assert [row[0] for row in rows] == [name for name in settings if name != "NCR+DCR+BoC"]
    # Without one of the settings: what there is.
    del scores["NCR"], results[1]
    write_run(run, scores, binary="ablation", results=results)
    assert len(write_page([run], tmp_path / "report.html").tables["Scores"]) == 8


def test_columns_of_numbers():
    rows = [["1", "+1.20", "5.00 to -6.1", "-", "x", "-"], ["2", "<0.001", "-", "-", "7", "1e-05"]]
    table = Table("", list("abcdef"), rows)
    assert numeric_columns(table) == [False, True, True, False, False, True]
