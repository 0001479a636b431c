"""A run's scores as tables, beside the published ones."""

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.reporting.page import Table
from experiments.reporting.runs import Run
from experiments.results import published, strata
from experiments.results.tables import as_text, columns

# Columns of the configuration, which go last where all rows share them.
_CONFIGURED = ("M", "N", "protocol")
_ABLATION = (
    "Foreground with NCR in all settings",
    "Foreground without NCR where the setting is without it",
)


def tables_of(run: Run) -> list[Table]:
    """The tables that the run printed."""
    results = list(run.results.values())
    scored = any(result.get("images") for result in results)
    shown = columns_of(run.binary, scored=scored)
    parts = {"Scores": results}
    if run.binary == "ablation":
        with contextlib.suppress(KeyError):  # a row of them is missing
            parts = dict(zip(_ABLATION, published.both_ablations(results), strict=True))
    tables = [_table(caption, part, shown) for caption, part in parts.items()]
    if scored:
        tables[-1] = tables[-1]._replace(remarks=[_remark(run)])
    if scored and all(result.get("by_mbor") for result in results):
        tables += [_by_stratum(results, measure) for measure in strata.STRATA]
    return tables


def _table(caption: str, results: Sequence[Mapping[str, Any]], headings: dict[str, str]) -> Table:
    """Columns that are empty in every row are left out."""
    keys = [key for key in headings if any(row.get(key) is not None for row in results)]
    one = {key for key in keys if all(row.get(key) == results[0].get(key) for row in results)}
    common = [key for key in keys[1:] if key in _CONFIGURED and key in one]
    keys = [key for key in keys if key not in common] + common
    rows = [[as_text(key, row.get(key)) for key in keys] for row in results]
    return Table(caption, [headings[key] for key in keys], rows)


def _by_stratum(results: Sequence[Mapping[str, Any]], measure: str) -> Table:
    """A row for each metric, and columns for each stratum, as the paper has it."""
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
    headings = ["metric", *list(headings.values()) * len(names)]
    remarks = list(map(_sentence, strata.remarks_by(results, measure)))
    return Table(f"mIoU by {strata.NAMES[measure]}", headings, rows, remarks, groups)


def _remark(run: Run) -> str:
    """What the published numbers were measured on, and ours."""
    if run.binary == "similarity":
        return "mR is a ratio of two means; no interval is computed for it."
    if run.binary == "channels":
        return "The paper shows these figures without their numbers."
    keys = ("published", "published_raw")
    if all(result.get(key) is None for result in run.results.values() for key in keys):
        measured_on = "the paper has no number for these settings"
    elif run.binary == "fgbg":
        measured_on = published.FOREGROUND_MEASURED_ON[published.closest(run.dataset)]
    else:
        measured_on = published.INSTANCES_MEASURED_ON
    ours = {"dataset": run.dataset, "backbone": run.backbone}
    size = run.config.get("image_size")
    return _sentence(published.remark(measured_on, **ours, image_size=size))


def _sentence(remark: str) -> str:
    return f"{remark[0].upper()}{remark[1:]}."
