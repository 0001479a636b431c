"""Means with their intervals: places, ends, files."""

import csv

import pytest

from experiments.plots import forest
from experiments.plots.forest import Row

ROWS = [
    Row("boc", 0.5, 0.4, 0.625, 0.3441),
    Row("dot", 0.25, None, None, None),
    Row("$l2$", 0.75, 0.75, 0.75, 0.3277),
]


def test_points_and_bars():
    figure = forest.draw(ROWS, score="mIoU", level=0.95)
    (axes,) = figure.axes
    points, first, third, published = axes.get_lines()
    assert list(points.get_xdata()) == [50, 25, 75] and list(points.get_ydata()) == [0, 1, 2]
    assert list(first.get_xdata()) == [40, 62.5] and list(first.get_ydata()) == [0, 0]
    assert list(third.get_xdata()) == [75, 75] and list(third.get_ydata()) == [2, 2]
    assert list(published.get_xdata()) == pytest.approx([34.41, 32.77])
    assert list(published.get_ydata()) == [0, 2]
    assert points.get_marker() != published.get_marker()
    # The first is on top.
    assert axes.yaxis_inverted() and axes.get_xlabel() == "mIoU (%)"
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["this run, with 95 % interval", "published"]


def test_without_published_numbers():
    figure = forest.draw(ROWS[1:2], score="F-score", level=0.9)
    assert len(figure.axes[0].get_lines()) == 1
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "this run, with 90 % interval"
    ]


def test_a_long_name_leaves_room():
    figure = forest.draw([Row("x" * 99, 0.5, 0.4, 0.6, None)], score="mIoU", level=0.95)
    (label,) = figure.axes[0].get_yticklabels()
    assert label.get_text() == "x" * 23 + "…"
    figure.canvas.draw()
    assert figure.axes[0].get_position().width > 0.3


def test_files(tmp_path):
    paths = forest.write(tmp_path / "run1", ROWS, score="mIoU", level=0.95)
    assert [path.name for path in paths] == ["run1.png", "run1.svg", "run1.csv"]
    # A dollar is a dollar.
    assert ">$l2$</text>" in paths[1].read_text()
    with paths[2].open() as stream:
        header, *rows = csv.reader(stream)
    assert tuple(header) == forest.HEADER
    assert rows[0] == ["boc", "50.0", "40.0", "62.5", "34.41"]
    assert rows[1] == ["dot", "25.0", "", "", ""]
