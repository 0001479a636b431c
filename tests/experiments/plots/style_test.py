"""Plots are files of three kinds, the same for the same numbers."""

import numpy as np
from PIL import Image

from experiments.plots import style


def drawn(values):
    figure = style.new_figure()
    axes = figure.add_subplot()
    axes.plot(values, color=style.COLOURS[0], marker=style.MARKERS[0], label="one")
    axes.legend()
    return figure


def test_a_plot_is_kept_as_png_svg_and_csv(tmp_path):
    rows = [(0, 1.5), (1, None)]
    paths = style.save_figure(drawn([1.5, 2]), tmp_path / "a.b", header=("x", "y"), rows=rows)
    assert [path.name for path in paths] == ["a.b.png", "a.b.svg", "a.b.csv"]
    assert paths[2].read_text() == "x,y\n0,1.5\n1,\n"
    # Text stays text, so that it can be searched and restyled.
    assert ">one</text>" in paths[1].read_text()
    pixels = np.asarray(Image.open(paths[0]).convert("RGB"))
    assert pixels.shape == (800, 1200, 3) and pixels.std() > 1


def test_the_same_numbers_give_the_same_files(tmp_path):
    for name in ("one", "two"):
        style.save_figure(drawn([1, 2]), tmp_path / name, header=(), rows=())
    for ending in ("png", "svg"):
        one, two = ((tmp_path / f"{name}.{ending}").read_bytes() for name in ("one", "two"))
        assert one == two
