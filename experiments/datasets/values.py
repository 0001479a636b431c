"""Values of JSON files as annotation tools write them: numbers as text, whole numbers as floats.

Each function returns None for a value that does not mean what is asked for.
"""

import math
import re

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_MAX_LETTERS = 60  # of a number as text
_FLAGS = {"": False, "false": False, "no": False, "true": True, "yes": True}


def number(value: object) -> int | float | None:
    """A finite number, also as text; an `int` if it is whole."""
    if isinstance(value, str) and len(value) <= _MAX_LETTERS and _NUMBER.fullmatch(value.strip()):
        digits = value.strip().lstrip("+-").isdecimal()
        value = int(value) if digits else float(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return int(value) if value.is_integer() else value
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def whole(value: object) -> int | None:
    """A whole number."""
    found = number(value)
    return found if isinstance(found, int) else None


def flag(value: object) -> bool | None:
    """Yes or no: a truth value, a number or a word; no for a missing value."""
    if value is None or isinstance(value, bool):
        return bool(value)
    found = number(value)
    if found is not None:
        return found != 0
    return _FLAGS.get(value.strip().lower()) if isinstance(value, str) else None


def identity(value: object) -> int | str | None:
    """An id that equals every other way to write it: 7, 7.0, "7" and "007" are one."""
    found = whole(value)
    return found if found is not None or not isinstance(value, str) else value.strip() or None
