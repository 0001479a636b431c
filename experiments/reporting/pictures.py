"""Pictures as `data:` addresses, within a budget that keeps the page small; the plots of a run.

Plots are included unchanged. Photographs are encoded again, so that nothing but a picture gets into
the page. A browser runs no script of an SVG in an `img` element.
"""

import base64
import csv
import io
import itertools
import pathlib
import warnings

from PIL import Image

from experiments.reporting.page import Picture, Table
from experiments.reporting.runs import Run, is_inside
from experiments.runs.names import FIGURES

BUDGET = 16 * 2**20  # bytes of all pictures of a page, before encoding as text
_LARGEST_SVG, _LARGEST_PNG = 2**19, 2**20  # bytes; PNG is used if the SVG is larger
_WIDTH, _HEIGHT = 3200, 1600  # largest size of photographs, in pixels; rows of panels are wide
_QUALITY = 85
_MOST_SHEETS = 3  # of channels, which are large
_MOST_ROWS, _MOST_BYTES = 100, 2**20
# The captions of plots, by the stem of their files.
_CAPTIONS = {
    "strata_mbor": "mIoU by metric and by the overlap of the instances' boxes (MBOR)",
    "strata_size_ratio": "mIoU by metric and by the size ratio of the instances",
    "foreground_curve": "F-score by number of channels, with and without post-processing",
    "heat_map": "mIoU over M and N",
    "oracle": "mIoU of the best single channel and of the method, by number of instances",
    "deviation": "Standard deviation and difference between instances, by channel rank",
    "toy": "Three made-up pixels and their similarities",
    "variance": "mR: variance of similarities within instances over that between them",
}


class Refused(Exception):
    """The reason why a picture is not in the page, as a short phrase."""


class Album:
    """The pictures of one page, within its budget; both methods raise `Refused`."""

    def __init__(self, budget: int = BUDGET):
        self.left = budget  # bytes that may still be added

    def plot(self, svg: pathlib.Path | None, png: pathlib.Path | None) -> str:
        """The address of a plot as SVG, or as PNG if the SVG is too large or missing."""
        for path, largest, kind in ((svg, _LARGEST_SVG, "svg+xml"), (png, _LARGEST_PNG, "png")):
            try:
                if path and path.stat().st_size <= largest:
                    return self._address(path.read_bytes(), kind)
            except OSError as error:
                raise Refused(f"it cannot be read: {error.strerror}") from error
        raise Refused("it is too large")

    def photograph(self, path: pathlib.Path, *, alt: str, caption: str = "") -> Picture:
        """A picture as JPEG, scaled down if it is large."""
        try:
            # Pillow only warns about a picture that would fill the memory.
            with warnings.catch_warnings(action="error"), Image.open(path) as image:
                picture = image.convert("RGB")
        except (OSError, ValueError, SyntaxError, Warning, Image.DecompressionBombError) as error:
            raise Refused("it cannot be read") from error
        picture.thumbnail((_WIDTH, _HEIGHT), Image.Resampling.LANCZOS)
        content = io.BytesIO()
        picture.save(content, format="JPEG", quality=_QUALITY, optimize=True)
        return Picture(self._address(content.getvalue(), "jpeg"), alt, caption, picture.size)

    def _address(self, content: bytes, kind: str) -> str:
        if len(content) > self.left:
            raise Refused("the page would be too large")
        self.left -= len(content)
        return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def plots_of(run: Run, album: Album) -> tuple[list[Picture], list[str]]:
    """The plots in the folder and in `figures/`, the first sheets of channels, and remarks."""
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
    sheets = sorted((figures / "channels").rglob("*.png"))
    for path in [path for path in sheets if is_inside(path, run.folder)][:_MOST_SHEETS]:
        image = path.relative_to(figures / "channels").as_posix().removesuffix(".png")
        caption = f"All channels of {image} by entropy, and the selected ones"
        try:
            pictures.append(album.photograph(path, alt=f"Sheet: {caption}", caption=f"{caption}."))
        except Refused as reason:
            remarks.append(f"The sheet of channels of {image} is not shown: {reason}.")
    if len(sheets) > _MOST_SHEETS:
        remarks.append(f"The folder has {len(sheets) - _MOST_SHEETS} more sheets of channels.")
    return pictures, remarks


def picture_of(stem: pathlib.Path, folder: pathlib.Path, caption: str, album: Album) -> Picture:
    """A plot, with its numbers if they can be read; raises `Refused`.

    `stem` is its path without ending; its files must be in the folder after links are followed.
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
    """The first rows of the numbers of a plot; None if the file is not a table."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            return None
        with path.open(newline="", encoding="utf-8") as stream:
            headings, *rows = itertools.islice(csv.reader(stream), _MOST_ROWS + 2)
    except (OSError, ValueError, csv.Error):  # not a table, or an empty file
        return None
    rows = [row for row in rows if len(row) == len(headings)]
    more = [f"More rows are in {path.name}."] if len(rows) > _MOST_ROWS else []
    return Table("The plot's numbers", headings, rows[:_MOST_ROWS], more)
