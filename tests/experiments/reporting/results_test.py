"""The tables of scores of runs with known results."""

from experiments.reporting.results import tables_of
from experiments.reporting.runs import read_run
from tests.support.report_runs import write_page, write_run

STRATA = {
    "strata_left_out": {
        "mbor": {"below": 2, "not_recorded": 0},
        "size_ratio": {"below": 0, "not_recorded": 1},
    },
    "by_mbor": [
        {"low": low, "high": None, "images": 3, "miou": 0.5, "published": 0.34}
        for low in (0.01, 0.14, 0.34)
    ],
    "by_size_ratio": [
        {"low": low, "high": None, "images": 0, "miou": None, "published": None}
        for low in (1.26, 1.64)
    ],
}
NAMES = ["none", "NCR", "NCR+DCR", "BoC", "NCR+BoC", "NCR+DCR+BoC"]


def tables(folder, scores, **changes):
    found = tables_of(read_run(write_run(folder, scores, **changes)))
    return {table.caption: table for table in found}


def test_scores_beside_the_published(tmp_path):
    scores = {"dot": {"a": 0.1, "b": 0.3}, "boc": {"a": 0.2, "b": 0.6}}
    results = [
        {"metric": "dot", "miou": 0.2, "published": 0.3271, "difference": -0.1271, "images": 2},
        {"metric": "boc", "miou": 0.4, "published": 0.3441, "difference": 0.0559, "images": 2},
    ]
    (table,) = tables(tmp_path, scores, results=results).values()
    assert table.headings == ["metric", "mIoU %", "published", "difference", "images"]
    assert table.rows == [
        ["dot", "20.00", "32.71", "-12.71", "2"],
        ["boc", "40.00", "34.41", "+5.59", "2"],
    ]
    (remark,) = table.remarks
    assert remark.startswith("Published: YouTube-VIS 2019 (10,285 frames)")
    assert remark.endswith("; here: dataset voc, backbone random.")
    page = write_page([tmp_path], tmp_path / "report.html")
    assert page.tables["Scores"] == [table.headings, *table.rows]
    assert page.tables["Runs"][1] == [
        *("1. instance on voc", "voc", "random", "mIoU 40.00 % (boc)", "2", "0")
    ]


def test_what_all_rows_share_comes_last(tmp_path):
    scores = {"M=4,N=2": {"a": 0.5}, "M=4,N=3": {"a": 0.5}}
    results = [
        {"M": 4, "N": N, "protocol": "paper", "miou": 0.5, "f_score": None, "images": 1}
        for N in (2, 3)
    ]
    config = {"image_size": 112, "checkpoint": "0123456789abcdef"}
    run = write_run(tmp_path, scores, binary="sweep", results=results, config=config)
    (table,) = tables_of(read_run(run))
    # The first column stays; the F-score, which no row has, is left out.
    assert table.headings == ["M", "N", "mIoU %", "images", "protocol"]
    assert table.rows == [["4", N, "50.00", "1", "paper"] for N in "23"]
    assert table.remarks == [
        "Published: the paper has no number for these settings; here: dataset voc, backbone random"
        " (SHA-256 0123456789ab…), short side 112 pixels."
    ]


def test_figures_have_a_remark_of_their_own(tmp_path):
    results = [{"metric": "boc", "mr": 0.123456, "images": 2}]
    table = tables(tmp_path, {"boc": {"a": 1}}, binary="similarity", results=results)["Scores"]
    assert table.rows == [["boc", "0.1235", "2"]] and "no interval" in table.remarks[0]
    results = [{"figure": "oracle", "best_channel_miou": 0.5, "images": 2}]
    table = tables(tmp_path, {"oracle": {"a": 1}}, binary="channels", results=results)["Scores"]
    assert table.rows == [["oracle", "50.00", "2"]] and "without their numbers" in table.remarks[0]


def test_results_without_a_value(tmp_path):
    (table,) = tables(tmp_path, {"boc": {"a": 1}}, results=[{"images": 3}]).values()
    assert (table.headings, table.rows) == (["images"], [["3"]])
    (table,) = tables(tmp_path, {"boc": {"a": 1}}, results=[{}]).values()
    assert (table.headings, table.rows, table.remarks) == ([], [[]], ())


def test_strata(tmp_path):
    results = [{"metric": "boc", "miou": 0.5, "images": 2, **STRATA}]
    run = write_run(tmp_path / "run", {"boc": {"a": 0.4, "b": 0.6}}, results=results)
    page = write_page([run], tmp_path / "report.html")
    groups, headings, row = page.tables["mIoU by MBOR"]
    assert groups == [
        "",
        "MBOR 0.01-0.14 (images: 3)",
        "MBOR 0.14-0.34 (images: 3)",
        "MBOR >=0.34 (images: 3)",
    ]
    assert headings == ["metric", *["mIoU %", "published", "difference"] * 3]
    assert row == ["boc", *["50.00", "34.00", "+16.00"] * 3]
    assert page.tables["mIoU by size ratio"][1:] == [["metric", "mIoU %", "mIoU %"], ["boc", *"--"]]
    assert "Images below 0.01, in no stratum: 2." in page.text


def test_strata_with_different_numbers_of_images(tmp_path):
    other = {**STRATA, "by_size_ratio": [{"images": 7, "miou": 0.25, "published": None}] * 2}
    results = [
        {"metric": metric, "miou": 0.5, "images": 1, **strata}
        for metric, strata in (("boc", STRATA), ("dot", other))
    ]
    table = tables(tmp_path, {"boc": {"a": 0.5}, "dot": {"a": 0.5}}, results=results)[
        "mIoU by size ratio"
    ]
    assert table.groups[1] == ("size ratio 1.26-1.64", 2)
    assert table.headings == ["metric", *["mIoU %", "images"] * 2]
    assert table.rows == [["boc", *["-", "0"] * 2], ["dot", *["25.00", "7"] * 2]]


def test_both_tables_of_an_ablation(tmp_path):
    settings = [*NAMES, "none+foregroundC", "BoC+foregroundC"]
    scores = {name: {"a": 0.5, "b": place / 10} for place, name in enumerate(settings)}
    results = [
        {
            **{"setting": name, "name": name, "ncr": "NCR" in name, "images": 2},
            **{"miou": sum(scores[name].values()) / 2, "published": 0.3},
        }
        for name in settings
    ]
    run = write_run(tmp_path / "run", scores, binary="ablation", results=results)
    page = write_page([run], tmp_path / "report.html")
    first = page.tables["Foreground with NCR in all settings"]
    second = page.tables["Foreground without NCR in the settings without NCR"]
    assert [row[0] for row in first] == ["on", *NAMES]
    assert first[2] == ["NCR", "yes", "30.00", "30.00", "2"]
    assert [row[0] for row in second[1:]] == [
        *("none+foregroundC", *NAMES[1:3], "BoC+foregroundC", *NAMES[4:])
    ]
    rows = page.tables["mIoU, difference from NCR+DCR+BoC in percentage points"][1:]
    assert [row[0] for row in rows] == [name for name in settings if name != "NCR+DCR+BoC"]
    # Without one of the settings: what there is.
    del scores["NCR"], results[1]
    found = tables(run, scores, binary="ablation", results=results)
    assert list(found) == ["Scores"] and len(found["Scores"].rows) == 7
