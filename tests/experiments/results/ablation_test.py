"""Table V's settings and its two tables."""

import pytest

from experiments.results.ablation import ALL_CHANNELS, SETTINGS, both_tables
from experiments.results.published import ablation


def test_settings_are_named_by_what_is_on():
    for name, switches in SETTINGS.items():
        parts = [part for part, on in zip(("NCR", "DCR", "BoC"), switches, strict=True) if on]
        assert name == ("+".join(parts) or "none")
        assert 0.3 < ablation(name) < 0.35


def test_settings_with_ncr_are_in_both_tables():
    names = [*SETTINGS, f"none{ALL_CHANNELS}", f"BoC{ALL_CHANNELS}"]
    results = [{"setting": name, "place": place} for place, name in enumerate(names)]
    first, second = both_tables(list(reversed(results)))
    assert [result["place"] for result in first] == [0, 1, 2, 3, 4, 5]
    assert [result["place"] for result in second] == [6, 1, 2, 7, 4, 5]
    with pytest.raises(KeyError, match="NCR"):
        both_tables([result for result in results if result["setting"] != "NCR"])
