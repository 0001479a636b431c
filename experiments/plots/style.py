"""The look of all plots, and their files: PNG and SVG, and a CSV with the numbers.

The colours are those of Okabe and Ito, which the colour-blind can distinguish. Lines also differ in
their markers, so that a grey print is legible. Neither a window system nor pyplot is used.
"""

import csv
import io
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from specjax._folder import write_bytes

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_STYLE = {
    "font.size": 10,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.fonttype": "none",
    # So that the same numbers give the same file.
    "svg.hashsalt": "specjax",
}
_DOTS_PER_INCH = 200


def new_figure(width: float = 6.0, height: float = 4.0) -> Figure:
    """An empty figure of this size in inches, whose layout avoids overlaps."""
    with matplotlib.style.context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
    return figure


def new_axes(figure: Figure, *position: Any, **options: Any) -> Axes:
    """`figure.add_subplot` in this style, which must be set when axes are created."""
    with matplotlib.style.context(_STYLE):
        return figure.add_subplot(*position, **options)


def new_plot(
    width: float = 6.0, height: float = 4.0, *, x: str = "", y: str = ""
) -> tuple[Figure, Axes]:
    """A figure with one plot; `x` and `y` are the labels of its axes."""
    figure = new_figure(width, height)
    axes = new_axes(figure)
    axes.set(xlabel=x, ylabel=y)
    return figure, axes


def percent(share: float | None) -> float | None:
    """A fraction in percent, as in the CSV files."""
    return None if share is None else round(100 * share, 4)


def as_csv(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table as the text of a CSV file."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    return text.getvalue()


def save_figure(
    figure: Figure, stem: pathlib.Path, *, header: Sequence[str], rows: Iterable[Sequence[Any]]
) -> list[pathlib.Path]:
    """Write `<stem>.png`, `<stem>.svg` and `<stem>.csv` (header and rows); returns the paths."""
    png, svg = io.BytesIO(), io.BytesIO()
    with matplotlib.style.context(_STYLE):
        figure.savefig(png, format="png", dpi=_DOTS_PER_INCH, metadata={"Software": None})
        figure.savefig(svg, format="svg", metadata={"Date": None})
    contents = {"png": png.getvalue(), "svg": svg.getvalue(), "csv": as_csv(header, rows).encode()}
    return [
        write_bytes(stem.with_name(f"{stem.name}.{ending}"), content)
        for ending, content in contents.items()
    ]
