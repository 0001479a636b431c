"""Means and printed tables."""

import random

from experiments.results.tables import mean, render


def test_means_do_not_depend_on_the_order():
    values = [random.Random(0).random() for _ in range(1000)]
    expected = mean(values)
    for seed in range(20):
        random.Random(seed).shuffle(values)
        assert mean(iter(values)) == expected
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


def test_other_numbers_have_four_digits():
    assert render([{"mr": 1.0745859, "n": 7}], {"mr": "mR", "n": "n"}).endswith("1.075  7")
