"""Means, tables as text, and the column lists of all binaries."""

import random

from experiments.results import tables
from experiments.results.tables import as_text, mean, render


def test_a_mean_is_the_same_in_any_order():
    values = [1e16, 1.0, -1e16, 0.1] * 25
    random.Random(0).shuffle(values)
    assert mean(values) == mean(sorted(values)) == mean(iter(values)) == 27.5 / 100
    assert mean([]) is None


def test_tables_print_percent():
    columns = {"metric": "metric", "miou": "mIoU %", "images": "images"}
    results = [
        {"metric": "boc", "miou": 0.34406, "images": 3, "more": 1},
        {"metric": "mahalanobis", "miou": None, "images": 0},
    ]
    assert render(results, columns) == (
        "     metric  mIoU %  images\n"
        "-----------  ------  ------\n"
        "        boc   34.41       3\n"
        "mahalanobis       -       0"
    )
    assert render([], columns) == "metric  mIoU %  images\n------  ------  ------"


def test_tables_print_differences_in_points_and_words_as_they_are():
    columns = {"miou": "mIoU %", "published": "published", "difference": "difference"}
    results = [
        {"miou": 0.34, "published": 0.3441, "difference": -0.0041},
        {"miou": "no image", "published": 0.3, "difference": None},
        {"miou": 0.5, "published": None, "difference": 0.0},
    ]
    assert render(results, columns).splitlines()[2:] == [
        "   34.00      34.41       -0.41",
        "no image      30.00           -",
        "   50.00          -       +0.00",
    ]


def test_other_values():
    assert as_text("mr", 1.0745859) == "1.075" and as_text("n", 7) == "7"
    assert as_text("ncr", True) == "yes" and as_text("boc", False) == "no"


FIRST = ("metric", "M", "name", "figure", "method")


def test_headings():
    assert tables.columns("M miou f_score_raw") == {
        "M": "M",
        "miou": "mIoU %",
        "f_score_raw": "F % raw",
    }
    assert list(tables.SCORED["fgbg"].values()) == [
        *("M", "protocol", "F %", "published", "difference"),
        *("F % raw", "published raw", "difference", "images", "instances"),
    ]
    for table in (*tables.SCORED.values(), *tables.UNSCORED.values()):
        assert all(table.values()) and next(iter(table)) in FIRST


def test_fractions_have_headings_in_percent():
    """All but the published ones, which stand beside one of ours."""
    shown = {key: text for table in tables.SCORED.values() for key, text in table.items()}
    percent = {key for key, heading in shown.items() if "%" in heading}
    assert percent == {*tables.FRACTIONS} - {"published", "published_raw"}
    assert {*tables.DIFFERENCES, *tables.FRACTIONS} <= shown.keys()


def test_tables_without_annotation_hold_no_scores():
    for binary, table in tables.UNSCORED.items():
        assert "images_without_instances" in table and not table.keys() & {*tables.FRACTIONS}
        assert table.keys() - {"images_without_instances"} < tables.SCORED[binary].keys()
