"""A run's scores as tables, the published ones beside them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from experiments.reporting.parts import Table
from experiments.reporting.runs import Run
from experiments.results import published, strata
from experiments.results.tables import as_text

# Of the columns, those that are no scores.
_SETTINGS = ("M", "N", "protocol")


class Layout(NamedTuple):
    """How a binary shows its results.

    Attributes:
        columns: keys of a result, with their headings.
        unscored: the same where nothing is annotated.
        split: from the results to tables by caption; one of all where None.
    """

    columns: Mapping[str, str]
    unscored: Mapping[str, str] | None = None
    split: Callable[[Sequence[dict]], Mapping[str, Sequence[dict]]] | None = None


def tables_of(run: Run, layout: Layout) -> list[Table]:
    """The tables that the run printed."""
    scored = any(result.get("images") for result in run.results)
    columns = layout.columns if scored or not layout.unscored else layout.unscored
    split = layout.split(run.results) if layout.split else {"Scores": run.results}
    *first, last = split.items()
    tables = [_table(caption, results, columns) for caption, results in first]
    tables.append(_table(*last, columns, _remark(run) if scored else ()))
    if scored and all("by_mbor" in result for result in run.results):
        for measure in strata.STRATA:
            tables.append(_by_stratum(run.results, measure))
    return tables


def backbone_of(run: Run) -> str:
    """What computed the features, as far as the run knows: a file by its fingerprint."""
    config = run.summary["config"]
    kind, checkpoint = str(config.get("backbone")), config.get("checkpoint")
    return f"{kind} (SHA-256 {checkpoint[:12]}…)" if isinstance(checkpoint, str) else kind


def _table(
    caption: str,
    results: Sequence[Mapping[str, Any]],
    columns: Mapping[str, str],
    remarks: Sequence[str] = (),
) -> Table:
    """Columns that are empty in every row are left out; settings that all share come last."""
    kept = [key for key in columns if any(result.get(key) is not None for result in results)]
    common = [key for key in _SETTINGS if key in kept[1:] and _is_shared(results, key)]
    kept = [key for key in kept if key not in common] + common
    rows = [[as_text(key, result.get(key)) for key in kept] for result in results]
    return Table(caption, [columns[key] for key in kept], rows, remarks)


def _is_shared(results: Sequence[Mapping[str, Any]], key: str) -> bool:
    return all(result.get(key) == results[0].get(key) for result in results)


def _by_stratum(results: Sequence[Mapping[str, Any]], measure: str) -> Table:
    """A row for each metric, and columns for each stratum, as the paper has it."""
    rows = [[result["metric"]] for result in results]
    known = any(
        entry["published"] is not None for result in results for entry in result[f"by_{measure}"]
    )
    keys = ("miou", "published", "difference") if known else ("miou",)
    names = [f"{strata.NAMES[measure]} {stratum}" for stratum in strata.STRATA[measure]]
    counts = [{result[f"by_{measure}"][place]["images"] for result in results}
              for place in range(len(names))]  # fmt: skip
    if all(len(found) == 1 for found in counts):
        names = [f"{name} (images: {found.pop()})"
                 for name, found in zip(names, counts, strict=True)]  # fmt: skip
    else:
        keys = (*keys, "images")
    for row, result in zip(rows, results, strict=True):
        for entry in result[f"by_{measure}"]:
            compared = {**entry, **published.compared(entry["miou"], entry["published"])}
            row += [as_text(key, compared[key]) for key in keys]
    remarks = strata.remarks_by(results, measure)
    return Table(
        f"mIoU by {strata.NAMES[measure]}",
        ["metric", *[{"miou": "mIoU %"}.get(key, key) for key in keys] * len(names)],
        rows,
        [f"{remark[0].upper()}{remark[1:]}." for remark in remarks],
        groups=[("", 1), *((name, len(keys)) for name in names)],
    )


def _remark(run: Run) -> list[str]:
    """What the published numbers are of, and what ours are of."""
    if run.binary == "similarity":
        return ["mR is a ratio of two means; no interval is computed for it."]
    if run.binary == "channels":
        return ["The paper shows these figures without their numbers."]
    size = run.summary["config"].get("image_size")
    scaled = "" if size is None else f", short side {size} pixels"
    here = f"Here: dataset {run.dataset}, backbone {backbone_of(run)}{scaled}."
    keys = ("published", "published_raw")
    if not any(result.get(key) is not None for result in run.results for key in keys):
        return [f"The paper has no number for these settings. {here}"]
    measured_on = published.INSTANCES_MEASURED_ON
    if run.binary == "fgbg":
        measured_on = published.FOREGROUND_MEASURED_ON[published.closest(run.dataset)]
    return [f"Published: {measured_on}. {here}"]
