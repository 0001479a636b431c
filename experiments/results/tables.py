"""Results as a plain text table, and the means they consist of."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

# These keys hold fractions, which tables print in percent, or differences of such, in points.
_FRACTIONS = (
    "miou", "miou_instances", "f_score", "f_score_raw", "published", "published_raw",
    "best_channel_miou", "method_miou",
)  # fmt: skip
_DIFFERENCES = ("difference", "difference_raw")


def mean(values: Iterable[float]) -> float | None:
    """Arithmetic mean, the same in any order of the values; None of nothing."""
    values = list(values)
    return math.fsum(values) / len(values) if values else None


def render(results: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> str:
    """A table with one row per result; fractions in percent, a dash where there is no value.

    Other numbers that are not whole have four digits.
    """
    rows = [list(columns.values())]
    rows += [[as_text(key, result.get(key)) for key in columns] for result in results]
    widths = [max(len(row[i]) for row in rows) for i in range(len(columns))]
    lines = [
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def as_text(key: str, value: Any) -> str:
    """A value as tables show it, by the key it has in a result."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    if key in _DIFFERENCES:
        return f"{100 * value:+.2f}"
    if key in _FRACTIONS:
        return f"{100 * value:.2f}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
