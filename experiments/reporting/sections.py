"""The section of the page about one run."""

import contextlib
import datetime
import json
import pathlib
from collections.abc import Mapping
from typing import Any

from experiments.plots import forest
from experiments.reporting.gallery import gallery_of
from experiments.reporting.page import Table
from experiments.reporting.pictures import Album, Refused, picture_of, plots_of
from experiments.reporting.results import comparison_table, interval_table, tables_of
from experiments.reporting.runs import Run
from experiments.results.statistics import LEVEL
from experiments.results.tables import SCORES
from experiments.runs.names import SUMMARY

_MOST_FAILURES = 200  # more are counted but not listed
OVERVIEW_HEADINGS = ("dataset", "backbone", "highest score", "images", "failures")


def section_of(
    run: Run, number: int, album: Album, *, plots: pathlib.Path, seed: int, resamples: int
) -> tuple[dict[str, Any], list[pathlib.Path]]:
    """The section of run `number`, as variables of `page.html`; and the plots that it wrote."""
    certainty, written, picture, remarks = [], [], None, set()
    for score in SCORES:
        table, intervals = interval_table(run, score, seed=seed, resamples=resamples)
        # A remark on several scores appears once.
        new = [remark for remark in table.remarks if remark not in remarks]
        remarks.update(new)
        if table.rows or new:
            certainty.append(table._replace(remarks=new))
        if score == run.main_score and len(intervals) > 1:
            stem = plots / f"run{number}_intervals"
            rows = [
                forest.Row(setting, *found, run.results[setting].get("published"))
                for setting, found in intervals.items()
            ]
            written = forest.write(stem, rows, score=SCORES[score], level=LEVEL)
            caption = f"{SCORES[score]} of each setting with its interval"
            with contextlib.suppress(Refused):
                picture = picture_of(stem, plots, caption, album)
    if run.main_score is not None:
        compared = comparison_table(run, run.main_score, seed=seed, resamples=resamples)
        certainty += [compared] if compared else []
    section = {
        "anchor": f"run{number}",
        "title": f"{number}. {run.binary} on {run.dataset}",
        "facts": _facts(run),
        "warnings": run.summary["warnings"],
        "results": tables_of(run),
        "certainty": certainty,
        "forest": picture,
        "plots": plots_of(run, album),
        "gallery": gallery_of(run, album),
        "failures": _failures(run.summary["failures"]),
        "details": [
            _pairs("Configuration", "key", run.config),
            _pairs("Versions", "name", run.summary["versions"]),
            _pairs("Seconds by stage", "stage", run.summary["seconds"]),
        ],
    }
    return section, written


def overview_row(run: Run) -> list[str]:
    """The row of the run in the table of runs, under `OVERVIEW_HEADINGS`."""
    best, images = "-", max(map(len, run.scores.values()))
    if run.main_score is not None:
        result = run.results[run.best_setting]
        mean, images = 100 * result[run.main_score], result.get("images") or images
        best = f"{SCORES[run.main_score]} {mean:.2f} % ({run.best_setting})"
    return [run.dataset, run.backbone, best, str(images), str(len(run.summary["failures"]))]


def _facts(run: Run) -> list[tuple[str, str]]:
    written = (run.folder / SUMMARY).stat().st_mtime
    finished = datetime.datetime.fromtimestamp(written, datetime.UTC)
    return [
        ("dataset", run.dataset),
        ("backbone", run.backbone),
        ("protocol", _text(run.config.get("protocol"))),
        ("images", f"{len(run.units())} ({len(run.summary['failures'])} more failed)"),
        ("finished", f"{finished:%Y-%m-%d %H:%M} UTC"),
        ("folder", str(run.folder)),
    ]


def _failures(failures: list[dict[str, str]]) -> Table | None:
    if not failures:
        return None
    rows = [[failure["id"], failure["error"]] for failure in failures[:_MOST_FAILURES]]
    more = len(failures) - len(rows)
    remarks = [f"{more} more are in summary.json."] if more else []
    return Table(f"{len(failures)} images failed", ["image", "error"], rows, remarks)


def _pairs(caption: str, heading: str, values: Mapping[str, Any]) -> Table:
    rows = [[key, _text(value)] for key, value in values.items()]
    return Table(caption, [heading, "value"], rows)


def _text(value: Any) -> str:
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
