"""The plots of a run's folder, with their numbers."""

import csv
import itertools
import pathlib
from collections.abc import Iterator

from experiments.reporting.parts import Picture, Plots, Table
from experiments.reporting.pictures import Album, Refused
from experiments.reporting.runs import Run, is_inside

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


def plots_of(run: Run, album: Album) -> Plots:
    """All plots in the folder and in its `figures/`, and the first sheets of channels."""
    pictures, remarks = [], []
    for stem in _stems(run.folder):
        name = stem.relative_to(run.folder)
        svg, png, table = (stem.with_name(f"{stem.name}.{kind}") for kind in ("svg", "png", "csv"))
        caption = _CAPTIONS.get(stem.name, stem.name.replace("_", " "))
        try:
            source = album.plot(svg, png)
        except Refused as reason:
            remarks.append(f"{name} is not shown: {reason}.")
            continue
        numbers = read_table(table, "The numbers in it") if is_inside(table, run.folder) else None
        alt = f"Plot: {caption}" + ("; its numbers follow" if numbers else "")
        pictures.append(Picture(source, alt, f"{caption}.", table=numbers))
    sheets = sorted((run.folder / "figures" / "channels").rglob("*.png"))
    for path in [path for path in sheets if is_inside(path, run.folder)][:_MOST_SHEETS]:
        image = path.relative_to(run.folder / "figures" / "channels").as_posix()
        caption = f"All channels of {image.removesuffix('.png')} by entropy, and the selected ones"
        try:
            source, size = album.photograph(path)
        except Refused as reason:
            remarks.append(f"The sheet of channels {image} is not shown: {reason}.")
            continue
        pictures.append(Picture(source, f"Sheet: {caption}", f"{caption}.", size))
    if len(sheets) > _MOST_SHEETS:
        remarks.append(f"{len(sheets) - _MOST_SHEETS} more sheets of channels are in the folder.")
    return Plots(pictures, remarks)


def _stems(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """Plots without their ending: what there is a table of beside an SVG or a PNG."""
    for place in (folder, folder / "figures"):
        for path in sorted(place.glob("*.csv")):
            stem = path.with_suffix("")
            drawn = [stem.with_name(f"{stem.name}.{kind}") for kind in ("svg", "png")]
            if any(is_inside(path, folder) for path in drawn):
                yield stem


def read_table(path: pathlib.Path, caption: str) -> Table | None:
    """The first rows of a table of numbers; None where it is none."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            return None
        with path.open(newline="", encoding="utf-8") as stream:
            headings, *rows = itertools.islice(csv.reader(stream), _MOST_ROWS + 2)
    except (OSError, ValueError, csv.Error):  # not a table, or empty
        return None
    rows = [row for row in rows if len(row) == len(headings)]
    more = [f"More rows are in {path.name}."] if len(rows) > _MOST_ROWS else []
    return Table(caption, headings, rows[:_MOST_ROWS], more)
