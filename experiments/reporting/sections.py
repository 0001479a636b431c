"""All that the page says of one run."""

import dataclasses
import datetime
import json
import pathlib
from typing import Any

from experiments.plots import forest
from experiments.reporting.certainty import (
    NAMES,
    comparison_table,
    forest_rows,
    interval_table,
    main_score,
)
from experiments.reporting.gallery import gallery_of
from experiments.reporting.parts import Picture, Section, Table
from experiments.reporting.pictures import Album, Refused
from experiments.reporting.plots import plots_of, read_table
from experiments.reporting.results import Layout, backbone_of, tables_of
from experiments.reporting.run_files import SCORES
from experiments.reporting.runs import Run
from experiments.results.statistics import LEVEL, RESAMPLES

# More failures than this are counted, not listed.
_MOST_FAILURES = 200


def section_of(
    run: Run,
    number: int,
    layout: Layout,
    album: Album,
    *,
    plots: pathlib.Path,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> tuple[Section, list[pathlib.Path]]:
    """The section of a run, and the plots that were written for it.

    Args:
        run: the run.
        number: its place on the page, from 1.
        layout: of its tables.
        album: where its pictures go.
        plots: folder of the plots that are made for the page.
        seed: of resampling.
        resamples: how many.
    """
    score, certainty, written, picture = main_score(run), [], [], None
    for name in SCORES:
        table, found = interval_table(run, name, seed=seed, resamples=resamples)
        # What is said of several scores is said once.
        said = {remark for earlier in certainty for remark in earlier.remarks}
        remarks = [remark for remark in table.remarks if remark not in said]
        table = dataclasses.replace(table, remarks=remarks)
        if table.rows or table.remarks:
            certainty.append(table)
        if name == score and len(found) > 1:
            rows = forest_rows(run, name, found)
            stem = plots / f"run{number}_intervals"
            written = forest.write(stem, rows, score=NAMES[name], level=LEVEL)
            picture = _forest(album, written, NAMES[name])
    if score is not None:
        compared = comparison_table(run, score, seed=seed, resamples=resamples)
        certainty += [compared] if compared else []
    section = Section(
        anchor=f"run{number}",
        title=f"{number}. {run.binary} on {run.dataset}",
        facts=_facts(run),
        warnings=run.summary["warnings"],
        results=tables_of(run, layout),
        certainty=certainty,
        forest=picture,
        plots=plots_of(run, album),
        gallery=gallery_of(run, album),
        failures=_failures(run),
        details=_details(run),
    )
    return section, written


def overview_row(run: Run) -> list[str]:
    """The run in the table of all: dataset, backbone, highest score and its setting, images."""
    score, best, images = main_score(run), "-", 0
    if score is not None:
        scored = [
            (result[score], setting, result.get("images"))
            for setting, result in zip(run.settings, run.results, strict=True)
            if result.get(score) is not None
        ]
        value, setting, images = max(scored, key=lambda found: found[0])
        best = f"{NAMES[score]} {100 * value:.2f} % ({setting})"
    counted = images or max(len(found) for found in run.images.values())
    return [run.dataset, backbone_of(run), best, str(counted), str(len(run.summary["failures"]))]


OVERVIEW_HEADINGS = ("dataset", "backbone", "highest score", "images", "failures")


def _forest(album: Album, written: list[pathlib.Path], name: str) -> Picture | None:
    png, svg, numbers = written
    try:
        source = album.plot(svg, png)
    except Refused:
        return None
    table = read_table(numbers, "The numbers in it")
    caption = f"{name} of each setting with its interval."
    return Picture(source, f"Plot: {caption} Its numbers follow", caption, table=table)


def _facts(run: Run) -> list[tuple[str, str]]:
    config = run.summary["config"]
    written = (run.folder / "summary.json").stat().st_mtime
    finished = datetime.datetime.fromtimestamp(written, datetime.UTC)
    images = len({image for images in run.images.values() for image in images})
    return [
        ("dataset", run.dataset),
        ("backbone", backbone_of(run)),
        ("protocol", _text(config.get("protocol"))),
        ("images", f"{images} ({len(run.summary['failures'])} more failed)"),
        ("finished", f"{finished:%Y-%m-%d %H:%M} UTC"),
        ("folder", str(run.folder)),
    ]


def _failures(run: Run) -> Table | None:
    failures = run.summary["failures"]
    if not failures:
        return None
    rows = [
        [_text(failure.get("id")), _text(failure.get("error"))]
        for failure in failures[:_MOST_FAILURES]
    ]
    more = len(failures) - len(rows)
    remarks = [f"{more} more are in summary.json."] if more else []
    return Table(f"{len(failures)} images failed", ["image", "error"], rows, remarks)


def _details(run: Run) -> list[Table]:
    summary = run.summary
    return [
        _pairs("Configuration", "key", summary["config"]),
        _pairs("Versions", "of", summary["versions"]),
        _pairs("Seconds by stage", "stage", summary["seconds"]),
    ]


def _pairs(caption: str, heading: str, values: dict[str, Any]) -> Table:
    rows = [[key, _text(value)] for key, value in values.items()]
    return Table(caption, [heading, "value"], rows)


def _text(value: Any) -> str:
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
