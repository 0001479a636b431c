"""Means, and tables as text."""

import random

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
