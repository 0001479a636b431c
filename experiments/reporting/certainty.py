"""A run's scores with their intervals, and its settings against one of them."""

import math
from collections.abc import Iterable, Mapping, Sequence

from experiments.plots.forest import Row
from experiments.reporting.parts import Table
from experiments.reporting.run_files import SCORES
from experiments.reporting.runs import Run
from experiments.results.statistics import Interval, compare, interval, sample
from experiments.results.tables import mean

NAMES = {
    "miou": "mIoU",
    "f_score": "F-score",
    "f_score_raw": "F-score without post-processing",
    "best_channel_miou": "mIoU of the best channel",
    "method_miou": "mIoU of the method",
}
# What others are compared with, where a run has it: what the paper proposes.
_REFERENCES = ("boc", "NCR+DCR+BoC")
# Fewer units than this say little of how much such units vary.
_FEW = 20
# Two means of the same numbers.
_SAME = 1e-9


def main_score(run: Run) -> str | None:
    """What the run is about, the first of `SCORES` that it has."""
    found = (
        score for score in SCORES if any(result.get(score) is not None for result in run.results)
    )
    return next(found, None)


def scores_of(run: Run, score: str) -> tuple[dict[str, Mapping[str, float]], list[str]]:
    """A score by setting and image, where lines and summary tell of the same images.

    And the settings where they do not: the folder's lines may be of more images than the last run
    was of.
    """
    found, differing = {}, []
    for setting, result in zip(run.settings, run.results, strict=True):
        lines, told = run.scores[setting][score], result.get(score)
        if told is None:
            continue
        same = len(lines) == result.get("images") and lines
        if same and math.isclose(mean(lines.values()), told, rel_tol=0, abs_tol=_SAME):
            found[setting] = lines
        else:
            differing.append(setting)
    return found, differing


def intervals_of(
    run: Run, score: str, *, seed: int, resamples: int
) -> tuple[dict[str, Interval], list[str]]:
    """The interval of each setting, and those that cannot have one."""
    scores, differing = scores_of(run, score)
    units, found = run.units(), {}
    for alike in _alike(scores):
        one = interval(sample(scores[alike[0]], units), seed=seed, resamples=resamples)
        found.update(dict.fromkeys(alike, one))
    return {setting: found[setting] for setting in scores}, differing


def forest_rows(run: Run, score: str, intervals: Mapping[str, Interval]) -> list[Row]:
    """What is drawn of a score: a row for each setting that has an interval."""
    theirs = {
        setting: result.get("published") if score == main_score(run) else None
        for setting, result in zip(run.settings, run.results, strict=True)
    }
    return [Row(setting, *found, theirs[setting]) for setting, found in intervals.items()]


def interval_table(run: Run, score: str, *, seed: int, resamples: int) -> tuple[Table, dict]:
    """The intervals of a score as a table, and by setting."""
    found, differing = intervals_of(run, score, seed=seed, resamples=resamples)
    units, rows, fewest = run.units(), [], math.inf
    for alike in _alike({setting: run.scores[setting][score] for setting in found}):
        images, each = run.scores[alike[0]][score], found[alike[0]]
        own = len({units[image] for image in images})
        fewest = min(fewest, own)
        counts = [str(len(images))] + ([str(own)] if run.in_videos else [])
        if 1 < len(alike) == len(found):
            name = f"all {len(alike)} settings alike"
        else:
            name = alike[0] + (f", {len(alike) - 1} more alike" if len(alike) > 1 else "")
        rows.append([name, _percent(each.mean), _range(each), *counts])
    remarks = list(_remarks(run, fewest, differing))
    counted = ["images"] + (["videos"] if run.in_videos else [])
    headings = ["setting", "mean %", "95 % interval", *counted]
    return Table(f"{NAMES[score]}, mean over images", headings, rows, remarks), found


def comparison_table(run: Run, score: str, *, seed: int, resamples: int) -> Table | None:
    """Each setting less the reference; None where there are not two settings."""
    scores, _ = scores_of(run, score)
    if len(scores) < 2:
        return None
    reference = next((name for name in _REFERENCES if name in scores), next(iter(scores)))
    found = compare(scores, reference, run.units(), seed=seed, resamples=resamples)
    rows = []
    for setting, each in found.items():
        counts = [str(each.images)] + ([str(each.units)] if run.in_videos else [])
        difference = f"{100 * each.difference.mean:+.2f}"
        p_values = [_probability(each.p), _probability(each.p_adjusted)]
        rows.append([setting, difference, _range(each.difference, sign="+"), *p_values, *counts])
    counted = ["images"] + (["videos"] if run.in_videos else [])
    headings = ["setting", "points", "95 % interval", "p", "p (Holm)", *counted]
    remarks = []
    fewest = min((each.units for each in found.values()), default=0)
    if 2 ** (1 - fewest) > 0.05:
        remarks.append(
            f"With {fewest} {_unit(run)} the test cannot give a p below {2.0 ** (1 - fewest):g}."
        )
    return Table(f"{NAMES[score]}, difference from {reference} in points", headings, rows, remarks)


def _alike(scores: Mapping[str, Mapping[str, float]]) -> list[list[str]]:
    """Settings with the same scores together: the foreground's do not depend on the metric."""
    groups: list[list[str]] = []
    for setting, own in scores.items():
        group = next((group for group in groups if scores[group[0]] == own), None)
        if group is None:
            groups.append([setting])
        else:
            group.append(setting)
    return groups


def _remarks(run: Run, fewest: float, differing: Sequence[str]) -> Iterable[str]:
    if fewest < 2:
        yield f"One {_unit(run)[:-1]} alone has no interval."
    elif fewest < _FEW:
        yield f"There are {fewest} {_unit(run)} only: intervals of so few tend to be too narrow."
    if differing:
        yield (
            f"No interval for {', '.join(differing)}: per_image.jsonl tells of other images than"
            " summary.json does, as after a run with a smaller --limit."
        )


def _unit(run: Run) -> str:
    return "videos" if run.in_videos else "images"


def _percent(share: float) -> str:
    return f"{100 * share:.2f}"


def _range(of: Interval, *, sign: str = "") -> str:
    if of.low is None or of.high is None:
        return "-"
    return f"{100 * of.low:{sign}.2f} to {100 * of.high:{sign}.2f}"


def _probability(p: float | None) -> str:
    if p is None:
        return "-"
    return "<0.001" if p < 0.001 else f"{p:.3f}"
