"""Flaws that can be seen in a segmentation, each by a rule on the token grid.

An image can have several. Only tokens that count in scores are looked at; the shares below are of
these. `FLAWS` has the rules in words.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from experiments.results.tables import columns, render

FLAWS = {
    "swapped": "the complement of the foreground overlaps the annotated instances better (IoU) than"
    " the foreground does",
    "fills": "an annotated instance covers more than half of the image, and the IoU of the"
    " foreground with the annotated instances is below 0.5",
    "missed": "less than a tenth of an annotated instance is foreground",
    "merged": "one cluster covers more than half of each of two annotated instances",
    "split": "two clusters each cover at least a quarter of one annotated instance",
}


def flaws(labels: np.ndarray, instances: np.ndarray, counted: np.ndarray) -> list[str]:
    """The flaws of one image, in the order of `FLAWS`.

    Args:
        labels: int32 [tokens], clusters 1, 2, ... on the foreground, 0 on the background.
        instances: int32 [tokens], annotated instances 1, 2, ..., 0 on the background.
        counted: bool [tokens], the tokens that count in scores.
    """
    shape = int(instances.max(initial=0)) + 1, int(labels.max(initial=0)) + 1
    # Tokens of each annotated instance (rows, 0 is background) in each cluster (columns).
    table = np.zeros(shape, np.int64)
    np.add.at(table, (instances[counted], labels[counted]), 1)
    inside = table[1:, 1:][table[1:].any(axis=1)]
    areas = table[1:].sum(axis=1)
    areas = areas[areas > 0]
    if not areas.size:
        return []
    foreground = _iou(inside.sum(), table[0, 1:].sum(), areas.sum())
    background = _iou(table[1:, 0].sum(), table[0, 0], areas.sum())
    found = {
        "swapped": background > foreground,
        "fills": 2 * areas.max() > table.sum() and foreground < 0.5,
        "missed": (10 * inside.sum(axis=1) < areas).any(),
        "merged": ((2 * inside > areas[:, None]).sum(axis=0) >= 2).any(),
        "split": ((4 * inside >= areas[:, None]).sum(axis=1) >= 2).any(),
    }
    return [name for name in FLAWS if found[name]]


def counts(lines: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """The number of images with each flaw."""
    found = [line["flaws"] for line in lines if line.get("flaws") is not None]
    return {name: sum(name in names for names in found) for name in FLAWS}


def report(results: Sequence[Mapping[str, Any]]) -> str:
    """How many images have each flaw, as a table with a row for each result."""
    rows = [{**result, **result["flaws"]} for result in results]
    shown = columns(" ".join(["metric", "images", *FLAWS]))
    return f"Images with flaws that can be seen:\n{render(rows, shown)}"


def _iou(inside: int, outside: int, area: int) -> float:
    """The IoU of a mask that has `inside` tokens in a region of `area` tokens, others outside."""
    return inside / (area + outside)
