"""A run's scores with their intervals, and its settings compared with one of them."""

import math
from collections.abc import Iterable, Mapping, Sequence

from experiments.reporting.page import Table
from experiments.reporting.runs import Run
from experiments.results.statistics import Interval, compare, interval, sample
from experiments.results.tables import SCORES, mean

# The others are compared with the first of these that a run has: they are what the paper proposes.
_REFERENCES = ("boc", "NCR+DCR+BoC")
_FEW = 20  # fewer units than this say little about how much units vary
_SAME = 1e-9  # two means of the same numbers differ by less


def scores_of(run: Run, score: str) -> tuple[dict[str, Mapping[str, float]], list[str]]:
    """A score by setting and image, and the settings whose lines do not belong to the summary."""
    # The lines of a folder may cover more images than its last run did.
    matching, differing = {}, []
    for setting, expected in run.means(score).items():
        values = run.values(setting, score)
        whole = values and len(values) == run.results[setting].get("images")
        if whole and math.isclose(mean(values.values()), expected, rel_tol=0, abs_tol=_SAME):
            matching[setting] = values
        else:
            differing.append(setting)
    return matching, differing


def interval_table(
    run: Run, score: str, *, seed: int, resamples: int
) -> tuple[Table, dict[str, Interval]]:
    """The intervals of a score as a table, and by setting."""
    scores, differing = scores_of(run, score)
    # Settings with the same scores share a row: the foreground does not depend on the metric.
    groups: dict[frozenset, list[str]] = {}
    for setting, values in scores.items():
        groups.setdefault(frozenset(values.items()), []).append(setting)
    units, rows, intervals, fewest = run.units(), [], {}, math.inf
    for settings in groups.values():
        values = sample(scores[settings[0]], units)
        found = interval(values, seed=seed, resamples=resamples)
        intervals.update(dict.fromkeys(settings, found))
        fewest = min(fewest, len(values.sums))
        name = settings[0]
        if 1 < len(settings) == len(scores):
            name = "all settings"
        elif len(settings) > 1:
            name += f" and {len(settings) - 1} more with the same scores"
        counts = _counts(run, int(values.counts.sum()), len(values.sums))
        rows.append([name, f"{100 * found.mean:.2f}", _range(found), *counts])
    headings = ["setting", "mean %", "95 % interval", *_counts(run, "images", "videos")]
    remarks = list(_remarks(run, fewest, differing))
    table = Table(f"{SCORES[score]}, mean over images", headings, rows, remarks)
    return table, {setting: intervals[setting] for setting in scores}


def comparison_table(run: Run, score: str, *, seed: int, resamples: int) -> Table | None:
    """Each setting less the reference; None where there are not two settings."""
    scores, _ = scores_of(run, score)
    if len(scores) < 2:
        return None
    reference = next((name for name in _REFERENCES if name in scores), next(iter(scores)))
    compared = compare(scores, reference, run.units(), seed=seed, resamples=resamples)
    rows = []
    for setting, (difference, *ps, images, units) in compared.items():
        row = [setting, f"{100 * difference.mean:+.2f}", _range(difference, sign="+")]
        rows.append([*row, *map(_probability, ps), *_counts(run, images, units)])
    fewest = min((found.units for found in compared.values()), default=math.inf)
    smallest = 2.0 ** (1 - fewest)
    remark = f"With {fewest} {run.unit} the test cannot give a p below {smallest:g}."
    headings = ["setting", "points", "95 % interval", "p", "p (Holm)"]
    headings += _counts(run, "images", "videos")
    caption = f"{SCORES[score]}, difference from {reference} in points"
    return Table(caption, headings, rows, [remark] if smallest > 0.05 else [])


def _counts(run: Run, images: object, videos: object) -> list[str]:
    """The last cells of a row: videos are counted only where there are any."""
    return [str(images), str(videos)] if run.unit == "videos" else [str(images)]


def _remarks(run: Run, fewest: float, differing: Sequence[str]) -> Iterable[str]:
    if fewest < 2:
        yield f"There is no interval for a single {run.unit[:-1]}."
    elif fewest < _FEW:
        yield f"Intervals of only {fewest} {run.unit} tend to be too narrow."
    if differing:
        yield (
            f"No interval for {', '.join(differing)}: per_image.jsonl covers other images than"
            " summary.json does, as after a run with a smaller --limit."
        )


def _range(bounds: Interval, *, sign: str = "") -> str:
    ends = [f"{100 * end:{sign}.2f}" for end in bounds[1:] if end is not None]
    return " to ".join(ends) or "-"


def _probability(p: float | None) -> str:
    return "-" if p is None else "<0.001" if p < 0.001 else f"{p:.3f}"
