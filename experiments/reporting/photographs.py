"""The table of a study on photographs, in Markdown: scores with intervals, and paired tests."""

import pathlib
from collections.abc import Mapping

from experiments.reporting.results import percent, probability
from experiments.reporting.runs import Run, read_run
from experiments.reporting.studies import Row, Study
from experiments.results.flaws import FLAWS
from experiments.results.statistics import Interval, compare, interval, sample
from experiments.results.tables import SCORES, markdown

# A difference of this many standard errors is found with a probability of 0.8 by a test at 0.05:
# the 0.975 quantile of the normal distribution plus the 0.8 quantile. An interval of 95 % is
# twice 1.96 standard errors wide.
_DETECTED, _WIDTH = 1.960 + 0.842, 2 * 1.960


def render(study: Study, folders: Mapping[str, pathlib.Path], *, seed: int, resamples: int) -> str:
    """The table of a study on one set.

    Scores are in percent with their interval. The difference of the first score from the first row
    is in percentage points, with its interval, its p-value adjusted for all rows of the table, and
    the smallest difference that this many images could show.

    Args:
        study: the study.
        folders: the folder of each run, by `Row.run_name`.
        seed: seed of the resampling.
        resamples: number of resamples.
    """
    runs = {name: read_run(folder) for name, folder in folders.items()}
    found = {row.name: _setting(row, runs[row.run_name]) for row in study.rows}
    scores = {
        score: {name: run.values(setting, score) for name, (run, setting) in found.items()}
        for score in study.scores
    }
    units = {image: unit for run in runs.values() for image, unit in run.units().items()}
    options = {"seed": seed, "resamples": resamples}
    main, (first, *_) = scores[study.scores[0]], found
    compared = compare(main, first, units, **options)
    lines = []
    for name, values in main.items():
        means = [interval(sample(of[name], units), **options) for of in scores.values()]
        line = [name, str(len(values)), *map(_with_range, means)]
        if name in compared:
            difference, _, p, *_ = compared[name]
            line += [_with_range(difference, "+"), probability(p), _detectable(difference)]
        lines.append(line + [""] * (len(study.scores) + 5 - len(line)))
    header = ["", "images", *(f"{SCORES[score]} %" for score in study.scores)]
    header += [f"difference from {first}", "p", "detectable"]
    return markdown(header, lines)


def flaws(study: Study, folders: Mapping[str, pathlib.Path]) -> str:
    """How many images have each flaw, for the rows of a study on one set."""
    lines = []
    for row in study.rows:
        result = read_run(folders[row.run_name]).results[str(row.setting)]
        counts = [str(result["flaws"][name]) for name in FLAWS]
        lines.append([row.name, str(result["images"]), *counts])
    return markdown(["", "images", *FLAWS], lines)


def _setting(row: Row, run: Run) -> tuple[Run, str]:
    """The run of a row, and the name of its setting."""
    setting = row.setting
    return run, run.config["settings"][setting] if isinstance(setting, int) else setting


def _with_range(found: Interval, sign: str = "") -> str:
    return f"{100 * found.mean:{sign}.1f} ({percent(found, sign=sign, digits=1)})"


def _detectable(difference: Interval) -> str:
    if difference.low is None or difference.high is None:
        return "-"
    return f"{100 * (difference.high - difference.low) / _WIDTH * _DETECTED:.1f}"
