"""Scores as text: a table by masks and by boxes, and one of the scores of single predictions."""

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.evaluating.evaluation import KINDS, SINGLE
from experiments.results.tables import render

_AVERAGES = {
    "AP": "AP",
    "AP50": "AP50",
    "AP75": "AP75",
    "AP_small": "small",
    "AP_medium": "medium",
    "AP_large": "large",
    "AR1": "AR@1",
    "AR10": "AR@10",
    "AR100": "AR@100",
}
_SINGLE = dict(zip(SINGLE, ("CorLoc", "IoU", "accuracy", "max F"), strict=True))


def tables(report: Mapping[str, Any]) -> list[str]:
    """The tables of an `evaluate`, in percent, and what they are of."""
    results = report["results"]
    averages = [
        {"name": result["name"], "by": kind}
        | {key: _percent(result[kind][key]) for key in _AVERAGES}
        for result in results
        for kind in KINDS
        if result[kind] is not None
    ]
    first = render(averages, {"name": "results", "by": "by", **_AVERAGES})
    shown = [key for key in _SINGLE if any(result[key] is not None for result in results)]
    of = f"{report['dataset']['name']}: {report['images']} images, {report['objects']} objects"
    of += f", {report['ignored_regions']} ignored regions; all scores in percent"
    if not shown:
        return [first, of]
    singles = [
        {"name": result["name"]}
        | {key: _with_interval(result[key], result["intervals"].get(key)) for key in shown}
        for result in results
    ]
    headings = {"name": "results", **{key: _SINGLE[key] for key in shown}}
    return [first, render(singles, headings), of]


def _percent(score: float | None) -> str | None:
    return None if score is None else f"{100 * score:.2f}"


def _with_interval(score: float | None, interval: Sequence[float] | None) -> str | None:
    text = _percent(score)
    if text is None or interval is None:
        return text
    return f"{text} [{100 * interval[0]:.1f}, {100 * interval[1]:.1f}]"
