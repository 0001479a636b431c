"""Numbers and ids as annotation tools write them."""

import math

import pytest

from experiments.datasets import values


@pytest.mark.parametrize(
    ("value", "expected"),
    [(3, 3), (3.0, 3), ("3", 3), (" -3.50 ", -3.5), ("1e2", 100), (".5", 0.5), (10**400, 10**400)],
)
def test_numbers(value, expected):
    found = values.number(value)
    assert found == expected and isinstance(found, type(expected))


@pytest.mark.parametrize(
    "value", [None, True, [], {}, "", "x", "1,5", "0x1", "1_0", "\u0661", "9" * 100, "nan", "1e999"]
)  # fmt: skip
def test_no_numbers(value):
    assert values.number(value) is values.whole(value) is None


@pytest.mark.parametrize("value", [math.nan, math.inf, 2.5])
def test_not_whole(value):
    assert values.whole(value) is None


def test_flags():
    assert [values.flag(value) for value in (None, False, 0, 0.0, "0", "false", "")] == [False] * 7
    assert [values.flag(value) for value in (True, 1, 1.0, "1", "True", 2)] == [True] * 6
    assert [values.flag(value) for value in ("perhaps", [], {}, math.nan)] == [None] * 4


def test_ids():
    assert {values.identity(value) for value in (7, 7.0, "7", " 007")} == {7}
    assert values.identity("frame_7") == "frame_7"
    assert [values.identity(value) for value in (None, True, [], "", " ", 1.5)] == [None] * 6
