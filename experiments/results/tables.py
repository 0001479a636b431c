"""Results as a table of plain text: the columns for each binary, and the means in them.

Columns are keys of a result, in order, with their headings.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

# Scores, as fractions: a line has that of one image, a result their mean. The first of them that a
# run has is its main score.
SCORES = {
    "miou": "mIoU",
    "f_score": "F-score",
    "f_score_raw": "F-score without post-processing",
    "best_channel_miou": "mIoU of the best channel",
    "method_miou": "mIoU of the method",
}
# Tables show fractions in percent, and differences in percentage points.
FRACTIONS = (*SCORES, "miou_instances", "published", "published_raw")
DIFFERENCES = ("difference", "difference_raw")

# Headings that differ from the key.
_HEADINGS = {
    "name": "on",
    "ncr": "NCR",
    "dcr": "DCR",
    "boc": "BoC",
    "foreground_M": "foreground M",
    "miou": "mIoU %",
    "miou_instances": "mIoU % (instances)",
    "f_score": "F %",
    "f_score_raw": "F % raw",
    "published_raw": "published raw",
    "difference_raw": "difference",
    "best_channel_miou": "best channel mIoU %",
    "method_miou": "method mIoU %",
    "mr": "mR",
    "seconds": "s per image",
    "objects": "objects per image",
    "images_left_out": "left out",
    "images_without_instances": "images",
}


def columns(keys: str) -> dict[str, str]:
    """Columns from keys that are separated by spaces."""
    return {key: _HEADINGS.get(key, key) for key in keys.split()}


_SCORES = "miou published difference miou_instances f_score"
_RAW = "f_score_raw published_raw difference_raw"
_INSTANCE = columns(f"metric M N protocol {_SCORES} f_score_raw images instances")
# By the binary's name.
SCORED = {
    "instance": _INSTANCE,
    "segment": _INSTANCE,
    "fgbg": columns(f"M protocol f_score published difference {_RAW} images instances"),
    "ablation": columns(f"name ncr dcr boc foreground_M M N {_SCORES} images"),
    "compare": columns("method miou miou_instances f_score objects seconds images instances"),
    "sweep": columns(f"M N protocol {_SCORES} images instances"),
    "channels": columns("figure M N best_channel_miou method_miou images images_left_out"),
    "similarity": columns("metric M N mr intra inter images images_left_out"),
}
# Without annotation no image is scored, and all count as images without annotated instances.
_UNSCORED_INSTANCE = columns("metric M N protocol images_without_instances")
UNSCORED = {
    "instance": _UNSCORED_INSTANCE,
    "segment": _UNSCORED_INSTANCE,
    "fgbg": columns("M protocol images_without_instances"),
}


def columns_of(binary: str, *, scored: bool) -> dict[str, str]:
    """The columns of a binary's table; `scored` says whether any image is scored."""
    return SCORED[binary] if scored else UNSCORED.get(binary, SCORED[binary])


def mean(values: Iterable[float]) -> float | None:
    """The arithmetic mean, the same for any order of the values; None if there are none."""
    values = list(values)
    return math.fsum(values) / len(values) if values else None


def render(results: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> str:
    """A table with a row for each result: fractions in percent, a dash for a missing value.

    Other numbers that are not integers have four digits.
    """
    rows = [list(columns.values())]
    rows += [[as_text(key, result.get(key)) for key in columns] for result in results]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rows.insert(1, ["-" * width for width in widths])
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    )


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown, from the texts of its cells."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def as_text(key: str, value: Any) -> str:
    """A value as tables show it, which depends on its key in the result."""
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
