"""The settings of Table V and the two tables that show them."""

from collections.abc import Mapping, Sequence
from typing import Any

# Whether NCR, DCR and BoC are on in the instance stage.
SETTINGS = {
    "none": (False, False, False),
    "NCR": (True, False, False),
    "NCR+DCR": (True, True, False),
    "BoC": (False, False, True),
    "NCR+BoC": (True, False, True),
    "NCR+DCR+BoC": (True, True, True),
}
# Ends the name of a setting whose foreground is found on all channels.
ALL_CHANNELS = "+foregroundC"


def both_tables(results: Sequence[Mapping[str, Any]]) -> tuple[list, list]:
    """The six results of each table; those with NCR are in both. KeyError if one is missing."""
    found = {result["setting"]: result for result in results}
    second = [found.get(name + ALL_CHANNELS, found[name]) for name in SETTINGS]
    return [found[name] for name in SETTINGS], second
