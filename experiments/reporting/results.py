"""Tables of a run's scores: beside the published ones, with intervals, and with tests."""

import contextlib
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from experiments.reporting.page import Table
from experiments.reporting.runs import Run
from experiments.results import published, strata
from experiments.results.statistics import Interval, compare, interval, sample
from experiments.results.tables import SCORES, as_text, columns, columns_of, mean

# Columns of the configuration, which come last if they are the same in all rows.
_CONFIGURED = ("M", "N", "protocol")
_ABLATION = (
    "Foreground with NCR in all settings",
    "Foreground without NCR in the settings without NCR",
)
# What the paper proposes: other settings are compared with the first of these that a run has.
_REFERENCES = ("boc", "NCR+DCR+BoC")
_FEW = 20  # with fewer units, their variation is not well known
_SAME = 1e-9  # two means of the same numbers differ by less


def tables_of(run: Run) -> list[Table]:
    """The tables that the run printed."""
    results = list(run.results.values())
    scored = any(result.get("images") for result in results)
    shown = columns_of(run.binary, scored=scored)
    parts = {"Scores": results}
    if run.binary == "ablation":
        with contextlib.suppress(KeyError):  # if a result is missing
            parts = dict(zip(_ABLATION, published.both_ablations(results), strict=True))
    tables = [_table(caption, part, shown) for caption, part in parts.items()]
    if scored:
        tables[-1] = tables[-1]._replace(remarks=[_remark_on_published(run)])
    if scored and all(result.get("by_mbor") for result in results):
        tables += [_by_stratum(results, measure) for measure in strata.STRATA]
    return tables


def _table(caption: str, results: Sequence[Mapping[str, Any]], headings: dict[str, str]) -> Table:
    """Columns that are empty in every row are left out."""
    keys = [key for key in headings if any(row.get(key) is not None for row in results)]
    same = {key for key in keys if all(row.get(key) == results[0].get(key) for row in results)}
    common = [key for key in keys[1:] if key in _CONFIGURED and key in same]
    keys = [key for key in keys if key not in common] + common
    rows = [[as_text(key, row.get(key)) for key in keys] for row in results]
    return Table(caption, [headings[key] for key in keys], rows)


def _by_stratum(results: Sequence[Mapping[str, Any]], measure: str) -> Table:
    """A row for each metric, and columns for each stratum, as in the paper."""
    key = f"by_{measure}"
    names = [f"{strata.NAMES[measure]} {stratum}" for stratum in strata.STRATA[measure]]
    known = any(entry["published"] is not None for result in results for entry in result[key])
    headings = columns("miou published difference" if known else "miou")
    counts = [{result[key][index]["images"] for result in results} for index in range(len(names))]
    if all(len(found) == 1 for found in counts):
        named = zip(names, counts, strict=True)
        names = [f"{name} (images: {min(found)})" for name, found in named]
    else:
        headings |= columns("images")
    rows = [[result["metric"]] for result in results]
    for row, result in zip(rows, results, strict=True):
        for entry in result[key]:
            entry = {**entry, **published.compared(entry["miou"], entry["published"])}
            row += [as_text(heading, entry[heading]) for heading in headings]
    groups = [("", 1), *((name, len(headings)) for name in names)]
    row_of_headings = ["metric", *list(headings.values()) * len(names)]
    remarks = list(map(_sentence, strata.remarks_by(results, measure)))
    return Table(f"mIoU by {strata.NAMES[measure]}", row_of_headings, rows, remarks, groups)


def _remark_on_published(run: Run) -> str:
    """What the published numbers were measured on, and ours."""
    if run.binary == "similarity":
        return "mR is a ratio of two means; this report computes no interval for it."
    if run.binary == "channels":
        return "The paper shows these figures without their numbers."
    keys = ("published", "published_raw")
    if all(result.get(key) is None for result in run.results.values() for key in keys):
        measured_on = "the paper has no number for these settings"
    elif run.binary == "fgbg":
        measured_on = published.FOREGROUND_MEASURED_ON[published.closest(run.dataset)]
    else:
        measured_on = published.INSTANCES_MEASURED_ON
    size = run.config.get("image_size")
    remark = published.remark(
        measured_on, dataset=run.dataset, backbone=run.backbone, image_size=size
    )
    return _sentence(remark)


def _sentence(remark: str) -> str:
    return f"{remark[0].upper()}{remark[1:]}."


def scores_of(run: Run, score: str) -> tuple[dict[str, Mapping[str, float]], list[str]]:
    """A score by setting and image, and the settings whose lines do not match the summary."""
    # The lines of a folder may cover more images than its last run.
    matching: dict[str, Mapping[str, float]] = {}
    differing = []
    for setting, expected in run.means(score).items():
        values = run.values(setting, score)
        complete = len(values) == run.results[setting].get("images")
        found = mean(values.values()) if complete else None
        if found is not None and math.isclose(found, expected, rel_tol=0, abs_tol=_SAME):
            matching[setting] = values
        else:
            differing.append(setting)
    return matching, differing


def interval_table(
    run: Run, score: str, *, seed: int, resamples: int
) -> tuple[Table, dict[str, Interval]]:
    """The intervals of a score, as a table and by setting."""
    scores, differing = scores_of(run, score)
    # Settings with equal scores share a row, as the foreground does not depend on the metric.
    groups: dict[frozenset, list[str]] = {}
    for setting, values in scores.items():
        groups.setdefault(frozenset(values.items()), []).append(setting)
    units, rows, intervals, fewest = run.units(), [], {}, math.inf
    for settings in groups.values():
        by_unit = sample(scores[settings[0]], units)
        found = interval(by_unit, seed=seed, resamples=resamples)
        intervals.update(dict.fromkeys(settings, found))
        fewest = min(fewest, len(by_unit.sums))
        name = settings[0]
        if 1 < len(settings) == len(scores):
            name = "all settings"
        elif len(settings) > 1:
            name += f" and {len(settings) - 1} more with the same scores"
        counts = _counts(run, int(by_unit.counts.sum()), len(by_unit.sums))
        rows.append([name, f"{100 * found.mean:.2f}", percent(found), *counts])
    headings = ["setting", "mean %", "95 % interval", *_counts(run, "images", "videos")]
    remarks = list(_remarks_on_intervals(run, fewest, differing))
    table = Table(f"{SCORES[score]}, mean over images", headings, rows, remarks)
    return table, {setting: intervals[setting] for setting in scores}


def comparison_table(run: Run, score: str, *, seed: int, resamples: int) -> Table | None:
    """Each setting minus the reference; None if there are fewer than two settings."""
    scores, _ = scores_of(run, score)
    if len(scores) < 2:
        return None
    reference = next((name for name in _REFERENCES if name in scores), next(iter(scores)))
    compared = compare(scores, reference, run.units(), seed=seed, resamples=resamples)
    rows = []
    for setting, (difference, *ps, images, units) in compared.items():
        row = [setting, f"{100 * difference.mean:+.2f}", percent(difference, sign="+")]
        rows.append([*row, *map(probability, ps), *_counts(run, images, units)])
    fewest = min((found.units for found in compared.values()), default=math.inf)
    smallest = 2.0 ** (1 - fewest)
    remark = f"With {fewest} {run.unit} the test cannot give a p below {smallest:g}."
    headings = ["setting", "points", "95 % interval", "p", "p (Holm)"]
    headings += _counts(run, "images", "videos")
    caption = f"{SCORES[score]}, difference from {reference} in percentage points"
    return Table(caption, headings, rows, [remark] if smallest > 0.05 else [])


def _counts(run: Run, images: object, videos: object) -> list[str]:
    """The last cells of a row; the number of videos only if there are any."""
    return [str(images), str(videos)] if run.unit == "videos" else [str(images)]


def _remarks_on_intervals(run: Run, fewest: float, differing: Sequence[str]) -> Iterable[str]:
    if fewest < 2:
        yield f"There is no interval for a single {run.unit[:-1]}."
    elif fewest < _FEW:
        yield f"Intervals of only {fewest} {run.unit} tend to be too narrow."
    if differing:
        yield (
            f"No interval for {', '.join(differing)}: per_image.jsonl and summary.json cover"
            " different images, as after a run with a smaller --limit."
        )


def percent(bounds: Interval, *, sign: str = "", digits: int = 2) -> str:
    """The ends of an interval in percent; a dash if it has none."""
    ends = [f"{100 * end:{sign}.{digits}f}" for end in bounds[1:] if end is not None]
    return " to ".join(ends) or "-"


def probability(p: float | None) -> str:
    """A p-value as tables show it."""
    return "-" if p is None else "<0.001" if p < 0.001 else f"{p:.3f}"
