import dataclasses

import pytest

from specjax.channels import EntropyRule
from specjax.protocol import PAPER, PROTOCOLS, REFERENCE


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
