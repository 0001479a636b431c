from fractions import Fraction

import pytest

from experiments.loop.flags import (
    channel_count,
    deviation_counts,
    figure_names,
    instance_count,
    metric_names,
)
from specjax.affinity import METRICS
from specjax.errors import SpecjaxError


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("128", 128), ("1", 1), ("C", 384), ("1C", 384), ("C/3", 128), ("3C/4", 288),
        ("C/5", 76), ("C/7", 54), ("C/11", 34), (" C/2 ", 192), ("2C/3", 256), ("999", 999),
    ],
)  # fmt: skip
def test_channel_counts(text, number):
    assert channel_count(text).of(384) == number


def test_shares_are_exact():
    # In floating point 29 * (1 / 29) * 29 may fall below 29.
    for denominator in range(1, 400):
        for numerator in range(1, denominator + 1):
            count = channel_count(f"{numerator}C/{denominator}")
            assert count.share == Fraction(numerator, denominator)
        assert count.of(384) == 384


@pytest.mark.parametrize(
    "text",
    ["", "0", "-1", "C/0", "0C", "0C/3", "4C/3", "2C", "c/3", "C/", "/3", "C/3/4", "1.5", "C*3",
     "1e3", "1234567", "C/1234567", "NaN"],
)  # fmt: skip
def test_other_texts_are_no_channel_counts(text):
    with pytest.raises(SpecjaxError, match=r"--M=.*C/3"):
        channel_count(text)


def test_instance_counts():
    assert instance_count("oracle") is None
    assert instance_count("1") == 1 and instance_count("254") == 254
    for text in ("0", "255", "-1", "", "three", "1.0", "Oracle", "9" * 50):
        with pytest.raises(SpecjaxError, match="--num_instances="):
            instance_count(text)


def test_metric_names():
    assert metric_names(["boc"]) == ("boc",)
    assert metric_names([" l2", "boc", "l2 ", ""]) == ("l2", "boc")
    assert metric_names(["boc", "all"]) == tuple(METRICS) and len(METRICS) == 9
    for names in (["euclid"], ["boc", "Boc"], [], ["", " "]):
        with pytest.raises(SpecjaxError, match=r"--metric.*braycurtis"):
            metric_names(names)


def test_deviation_counts():
    assert deviation_counts("60") == (60,)
    assert deviation_counts("60, 20,60,5") == (60, 20, 5)
    for text in ("", "0", "5,", "-1", "1.5", "C/3", "1e2", "1234567"):
        with pytest.raises(SpecjaxError, match=r"--N=.*20,40,60"):
            deviation_counts(text)


def test_figure_names():
    known = {"toy": "a toy", "variance": "mR"}
    assert figure_names(["variance", " toy", "toy", ""], known) == ("toy", "variance")
    for names in (["Toy"], ["toy", "all"], [], [" "]):
        with pytest.raises(SpecjaxError, match=r"--figure.*toy, variance"):
            figure_names(names, known)
