"""Results as a plain text table, and the means they consist of."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from experiments.results.columns import DIFFERENCES, FRACTIONS


def mean(values: Iterable[float]) -> float | None:
    """Arithmetic mean, the same in any order of the values; None where there are none."""
    values = list(values)
    return math.fsum(values) / len(values) if values else None


def render(results: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> str:
    """A table with one row per result; fractions in percent, a dash where there is no value.

    Other numbers that are not whole have four digits.
    """
    rows = [list(columns.values())]
    rows += [[as_text(key, result.get(key)) for key in columns] for result in results]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rows.insert(1, ["-" * width for width in widths])
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    )


def as_text(key: str, value: Any) -> str:
    """A value as tables show it, by the key it has in a result."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    if key in DIFFERENCES:
        return f"{100 * value:+.2f}"
    if key in FRACTIONS:
        return f"{100 * value:.2f}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
