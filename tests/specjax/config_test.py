import dataclasses

import pytest

from specjax import PAPER, PROTOCOLS, REFERENCE, Config, EntropyRule, SpecjaxError, channel_count


def test_the_two_protocols_are_named():
    assert PROTOCOLS == {"paper": PAPER, "reference": REFERENCE}


def test_what_the_paper_says():
    assert PAPER.foreground_entropy == PAPER.instance_entropy == EntropyRule()
    assert not PAPER.normalize_before_foreground_selection
    assert (PAPER.foreground_median, PAPER.region_area) == (5, "tokens")
    assert PAPER.break_sign_ties


def test_what_the_released_code_does():
    assert REFERENCE.foreground_entropy == EntropyRule(True, 0.0, 5.0)
    assert REFERENCE.instance_entropy == EntropyRule(True, 1e-6, None)
    assert REFERENCE.normalize_before_foreground_selection
    assert (REFERENCE.foreground_median, REFERENCE.region_area) == (3, "contour")
    assert not REFERENCE.break_sign_ties


def test_a_protocol_is_data():
    """A static argument of jitted functions: hashable, never changed, replaced as a whole."""
    assert hash(PAPER) != hash(REFERENCE)
    with pytest.raises(dataclasses.FrozenInstanceError):
        PAPER.foreground_median = 3
    mine = dataclasses.replace(PAPER, name="mine", foreground_median=3)
    assert mine != PAPER and mine.region_area == PAPER.region_area


def test_the_papers_settings_are_the_defaults():
    assert Config() == Config(128, 60, 30, "boc", PAPER, "auto", 10)
    assert Config(M=40, N=40).N == 40


@pytest.mark.parametrize(
    ("parameter", "value", "reason"),
    [
        *((name, 0, "at least 1") for name in ("M", "N", "bins", "restarts")),
        ("M", -1, "at least 1"),
        ("M", True, "integer"),
        ("N", 129, "N=129 is more than M=128"),
        ("metric", "euclid", "unknown metric 'euclid': choose one of boc"),
        ("solver", "lobpcg", "unknown solver 'lobpcg': choose one of auto, eigh, krylov"),
    ],
)
def test_settings_that_are_refused(parameter, value, reason):
    """Values are checked when a config is made, also from another one."""
    for make in (Config, lambda **changes: dataclasses.replace(Config(), **changes)):
        with pytest.raises(SpecjaxError, match=reason) as error:
            make(**{parameter: value})
        assert error.value.parameter == parameter
        assert "\n" not in str(error.value) and "--" not in str(error.value)


@pytest.mark.parametrize(
    ("parameter", "value", "reason"),
    [
        ("M", "C/3", "'C/3': it must be an integer"),
        ("bins", 30.0, "integer"),
        ("metric", ("boc",), "unknown metric"),
        ("protocol", "paper", "must be a Protocol"),
    ],
)
def test_types_that_are_refused(parameter, value, reason):
    """Checked by themselves: in the tests, annotations are checked before."""
    config = object.__new__(Config)
    for field in dataclasses.fields(Config):
        object.__setattr__(config, field.name, value if field.name == parameter else field.default)
    with pytest.raises(SpecjaxError, match=reason) as error:
        config.__post_init__()
    assert error.value.parameter == parameter


@pytest.mark.parametrize(
    ("count", "channels", "expected"),
    [
        ("C", 384, 384),
        ("C/3", 384, 128),
        ("3C/4", 384, 288),
        (" C/7 ", 384, 54),
        ("1C/2", 9, 4),
        ("128", 384, 128),
        (128, 384, 128),
        ("048", 48, 48),
    ],
)
def test_channel_counts(count, channels, expected):
    assert channel_count(count, channels) == expected


@pytest.mark.parametrize("count", ["", "c/3", "C/", "C/0", "-C", "C3", "1.5", "C/3/2", "-1", "1e2"])
def test_what_is_no_channel_count(count):
    with pytest.raises(SpecjaxError, match="give a number of channels, or a share") as error:
        channel_count(count, 384)
    assert error.value.parameter == "M"


@pytest.mark.parametrize("count", ["0", 0, "385", 385, "4C/3", "0C", "C/400"])
def test_channel_counts_out_of_range(count):
    with pytest.raises(SpecjaxError, match=r"is out of range.* C=384") as error:
        channel_count(count, 384)
    assert error.value.parameter == "M"
