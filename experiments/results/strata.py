"""MIoU of images grouped by overlap and size ratio of their instances (Tables III and IV).

Instance maps are int32 `[H, W]` at image resolution: 0 is background, 1 and above are instances,
`VOID` is neither. A stratum includes its lower bound and excludes its upper bound.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.ndimage

from experiments.datasets.records import compact_ids
from experiments.results import published
from experiments.results.tables import columns, mean, render


class Stratum(NamedTuple):
    """A range of a measure, `low <= value < high`; without upper bound if `high` is None."""

    low: float
    high: float | None

    def holds(self, value: float) -> bool:
        """Whether the range includes a value."""
        return self.low <= value and (self.high is None or value < self.high)

    def __str__(self) -> str:
        return f">={self.low:.2f}" if self.high is None else f"{self.low:.2f}-{self.high:.2f}"


# The paper's strata, by the key of the measure in `per_image.jsonl`.
STRATA = {
    "mbor": (Stratum(0.01, 0.14), Stratum(0.14, 0.34), Stratum(0.34, None)),
    "size_ratio": (Stratum(1.26, 1.64), Stratum(1.64, None)),
}
NAMES = {"mbor": "MBOR", "size_ratio": "size ratio"}
_COLUMNS = columns("metric images miou published difference")


def mbor(instances: np.ndarray) -> float | None:
    """The area within two or more bounding boxes of instances over the area within any, 0 to 1.

    That is, the union of the pairwise intersections of the boxes over the union of the boxes; None
    if there is no instance.
    """
    boxes = scipy.ndimage.find_objects(np.maximum(compact_ids(instances), 0))
    cover = np.zeros(instances.shape, np.int32)
    for box in boxes:
        cover[box] += 1
    return int(np.count_nonzero(cover > 1)) / int(np.count_nonzero(cover)) if boxes else None


def size_ratio(instances: np.ndarray) -> float | None:
    """The sum of the areas of the instances over the largest area; None if there is no instance.

    It is 1 for a single instance, and the number of instances if all have the same area.
    """
    _, areas = np.unique(instances[instances > 0], return_counts=True)
    return int(areas.sum()) / int(areas.max()) if areas.size else None


def measures(instances: np.ndarray | None) -> dict[str, float | None]:
    """Both measures by their keys; None without annotation."""
    if instances is None:
        return dict.fromkeys(STRATA)
    return {"mbor": mbor(instances), "size_ratio": size_ratio(instances)}


def scores(lines: Sequence[dict], metric: str, *, papers_setting: bool) -> dict[str, Any]:
    """MIoU by stratum of each measure, over the images that have an mIoU.

    `by_mbor` and `by_size_ratio` hold for each stratum `low`, `high`, `images`, `miou` (None
    without an image) and `published` (None except in the paper's setting and for its metrics).
    `strata_left_out` counts for each measure the images `below` its lowest stratum, and those
    `not_recorded`: an older version of this program wrote their lines, without the measure.
    """
    scored = [line for line in lines if line.get("miou") is not None]
    result: dict[str, list[dict[str, float | None]]] = {}
    left_out: dict[str, dict[str, int]] = {}
    for measure, strata in STRATA.items():
        known = [line for line in scored if line.get(measure) is not None]
        papers: Sequence[float | None] = [None] * len(strata)
        if papers_setting:
            papers = published.BY_STRATUM[measure].get(metric, papers)
        result[f"by_{measure}"] = []
        for stratum, value in zip(strata, papers, strict=True):
            mious = [line["miou"] for line in known if stratum.holds(line[measure])]
            entry = {"images": len(mious), "miou": mean(mious), "published": value}
            result[f"by_{measure}"].append({**stratum._asdict(), **entry})
        below = sum(line[measure] < strata[0].low for line in known)
        left_out[measure] = {"below": below, "not_recorded": len(scored) - len(known)}
    return {**result, "strata_left_out": left_out}


def report(results: Sequence[dict]) -> list[str]:
    """A table for each measure, with a row for each stratum and metric, and its remarks."""
    texts = []
    for measure, strata in STRATA.items():
        rows: list[dict[str, Any]] = []
        for (index, stratum), result in itertools.product(enumerate(strata), results):
            entry = result[f"by_{measure}"][index]
            row = {"stratum": str(stratum), "metric": result["metric"], **entry}
            row |= published.compared(entry["miou"], entry["published"])
            rows.append(row if entry["images"] else {**row, "miou": "no image"})
        table = render(rows, {"stratum": NAMES[measure], **_COLUMNS})
        texts.append("\n".join([table, *remarks_by(results, measure)]))
    return texts


def remarks_by(results: Sequence[Mapping[str, Any]], measure: str) -> Iterable[str]:
    """Remarks on the bounds of the strata of a measure, and on images in no stratum."""
    counts = [result["strata_left_out"][measure] for result in results]
    yield "a stratum includes its lower bound and excludes its upper bound"
    if below := max(count["below"] for count in counts):
        yield f"images below {STRATA[measure][0].low}, in no stratum: {below}"
    if missing := max(count["not_recorded"] for count in counts):
        yield (
            f"images whose {NAMES[measure]} an earlier version of this program did not record, in"
            f" no stratum: {missing}; a run with --overwrite or another --output_dir records it"
        )
