"""The plots of a run's folder, with their numbers."""

import csv
import itertools
import pathlib

from experiments.reporting.page import Picture, Table
from experiments.reporting.pictures import Album, Refused
from experiments.reporting.runs import Run, is_inside
from experiments.runs.names import FIGURES

# What is drawn, by the file's stem.
_CAPTIONS = {
    "strata_mbor": "mIoU by metric and by how much the instances' boxes overlap (MBOR)",
    "strata_size_ratio": "mIoU by metric and by size ratio of the instances",
    "foreground_curve": "F-score by number of channels, with and without post-processing",
    "heat_map": "mIoU over M and N",
    "oracle": "mIoU of the best single channel and of the method, by number of instances",
    "deviation": "Standard deviation and difference between instances, by rank of the channel",
    "toy": "Three made-up pixels and their similarities",
    "variance": "mR: variance of similarities within instances over that between them",
}
# Sheets of channels are large.
_MOST_SHEETS = 3
_MOST_ROWS, _MOST_BYTES = 100, 2**20


def plots_of(run: Run, album: Album) -> tuple[list[Picture], list[str]]:
    """All plots in the folder and in its `figures/`, the first sheets of channels, and remarks."""
    pictures, remarks = [], []
    figures = run.folder / FIGURES
    for path in [*sorted(run.folder.glob("*.csv")), *sorted(figures.glob("*.csv"))]:
        stem = path.with_suffix("")
        if not _files(stem, run.folder).keys() & {"svg", "png"}:
            continue
        try:
            caption = _CAPTIONS.get(stem.name, stem.name.replace("_", " "))
            pictures.append(picture_of(stem, run.folder, caption, album))
        except Refused as reason:
            remarks.append(f"{stem.relative_to(run.folder)} is not shown: {reason}.")
    folder = figures / "channels"
    sheets = sorted(folder.rglob("*.png"))
    for path in [path for path in sheets if is_inside(path, run.folder)][:_MOST_SHEETS]:
        image = path.relative_to(folder).as_posix().removesuffix(".png")
        caption = f"All channels of {image} by entropy, and the selected ones"
        try:
            sheet = album.photograph(path, alt=f"Sheet: {caption}", caption=f"{caption}.")
            pictures.append(sheet)
        except Refused as reason:
            remarks.append(f"The sheet of channels of {image} is not shown: {reason}.")
    if len(sheets) > _MOST_SHEETS:
        remarks.append(f"The folder has {len(sheets) - _MOST_SHEETS} more sheets of channels.")
    return pictures, remarks


def picture_of(stem: pathlib.Path, folder: pathlib.Path, caption: str, album: Album) -> Picture:
    """A plot, with the numbers in it where they are readable; raises `Refused`.

    `stem` is its path without ending; its files must be in the folder, with links followed.
    """
    files = _files(stem, folder)
    source = album.plot(files.get("svg"), files.get("png"))
    numbers = read_table(files["csv"]) if "csv" in files else None
    alt = f"Plot: {caption}" + ("; its numbers follow" if numbers else "")
    return Picture(source, alt, f"{caption}.", table=numbers)


def _files(stem: pathlib.Path, folder: pathlib.Path) -> dict[str, pathlib.Path]:
    paths = {kind: stem.with_name(f"{stem.name}.{kind}") for kind in ("svg", "png", "csv")}
    return {kind: path for kind, path in paths.items() if is_inside(path, folder)}


def read_table(path: pathlib.Path) -> Table | None:
    """The first rows of a plot's numbers; None where the file is no table."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            return None
        with path.open(newline="", encoding="utf-8") as stream:
            headings, *rows = itertools.islice(csv.reader(stream), _MOST_ROWS + 2)
    except (OSError, ValueError, csv.Error):  # no table, or an empty file
        return None
    rows = [row for row in rows if len(row) == len(headings)]
    more = [f"More rows are in {path.name}."] if len(rows) > _MOST_ROWS else []
    return Table("The plot's numbers", headings, rows[:_MOST_ROWS], more)
