"""What is in the figures of strata, of the foreground, and of M and N."""

import numpy as np
import pytest

from experiments.plots import foreground_curve, heat_map, strata_plot


def stratum(low, high, images, miou, published):
    return {"low": low, "high": high, "images": images, "miou": miou, "published": published}


def strata_results():
    return [
        {
            "metric": metric,
            "by_size_ratio": [
                stratum(1.26, 1.64, 4, share, 0.3),
                stratum(1.64, None, images, None if images == 0 else share + 0.1, published),
            ],
        }
        for metric, share, images, published in (("boc", 0.4, 2, 0.25), ("dot", 0.2, 0, None))
    ]


def test_strata_rows():
    assert strata_plot.rows(strata_results(), "size_ratio") == [
        ("boc", "1.26-1.64", 1.26, 1.64, 4, 40.0, 30.0),
        ("boc", ">=1.64", 1.64, None, 2, 50.0, 25.0),
        ("dot", "1.26-1.64", 1.26, 1.64, 4, 20.0, 30.0),
        ("dot", ">=1.64", 1.64, None, 0, None, None),
    ]


def test_strata_bars():
    table = strata_plot.rows(strata_results(), "size_ratio")
    figure = strata_plot.draw(table, "size_ratio")
    (axes,) = figure.axes
    heights = [[bar.get_height() for bar in bars] for bars in axes.containers]
    assert heights == [[40, 20], [50, 0]]
    # Side by side around the metric's tick, no bar over another.
    places = sorted(bar.get_x() for bars in axes.containers for bar in bars)
    assert places == pytest.approx([-0.4, 0, 0.6, 1.0])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["boc", "dot"]
    lines = [(line.get_xdata()[0], line.get_ydata()[0]) for line in axes.get_lines()]
    assert lines == [(pytest.approx(-0.4), 30), (pytest.approx(0.6), 30), (pytest.approx(0), 25)]
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["published, YouTube-VIS 2019", "size ratio 1.26-1.64 (images: 4)",
                      "size ratio >=1.64 (images: 0 to 2)"]  # fmt: skip
    assert axes.get_ylabel() == "mIoU (%)"


def test_strata_without_an_image_are_not_drawn(tmp_path):
    none = [stratum(low, high, 0, None, 0.3) for low, high in ((0.01, 0.14), (0.14, 0.34))]
    result = {**strata_results()[0], "by_mbor": [*none, stratum(0.34, None, 0, None, 0.3)]}
    written = strata_plot.write(tmp_path, [result])
    assert {path.stem for path in written} == {"strata_size_ratio"} and len(written) == 3


def foreground_results():
    scores = {96: (0.5, 0.4), 384: (0.7, 0.6), 76: (0.3, 0.2)}
    found = [{"M": M, "f_score": a, "f_score_raw": b} for M, (a, b) in scores.items()]
    return [*found, {"M": 5, "f_score": None, "f_score_raw": None}]


def test_foreground_rows():
    rows = foreground_curve.rows(foreground_results(), 384)
    assert rows[:3] == [
        ("this run", 1.0, 384, 70.0, 60.0),
        ("this run", 0.25, 96, 50.0, 40.0),
        # A fifth of 384, rounded down.
        ("this run", 0.2, 76, 30.0, 20.0),
    ]
    assert [row[0] for row in rows[3:]] == ["YouTube-VIS (paper)"] * 8 + ["PASCAL VOC (paper)"] * 7
    assert rows[3] == ("YouTube-VIS (paper)", 1.0, 384, 53.9, 50.68)
    assert rows[-1] == ("PASCAL VOC (paper)", pytest.approx(1 / 9), 42, 58.77, 57.7)
    # Of another width, the same shares.
    assert foreground_curve.rows([{"M": 256, "f_score": 1, "f_score_raw": 1}], 768)[0][1:3] == (
        pytest.approx(1 / 3), 256,
    )  # fmt: skip


def test_foreground_lines():
    figure = foreground_curve.draw(foreground_curve.rows(foreground_results(), 384), 384)
    (axes,) = figure.axes
    lines = axes.get_lines()
    assert [line.get_linestyle() for line in lines] == ["-", "-", "--", "--", "--", "--"]
    assert [list(line.get_ydata()) for line in lines[:2]] == [[70, 50, 30], [60, 40, 20]]
    assert len({(line.get_color(), line.get_markerfacecolor()) for line in lines}) == 6
    assert len({line.get_marker() for line in lines}) == 3
    labels = {label.get_text() for label in axes.get_xticklabels()}
    assert labels == {"C", "3C/4", "C/2", "C/3", "M=96", "C/5", "C/7", "C/9", "C/11"}
    assert axes.xaxis_inverted() and len(figure.legends[0].get_texts()) == 6


def test_one_number_of_channels_is_no_curve(tmp_path):
    one = [result for result in foreground_results() if result["M"] in (96, 5)]
    assert foreground_curve.write(tmp_path, one, 384) == [] and not list(tmp_path.iterdir())
    assert len(foreground_curve.write(tmp_path, foreground_results(), 384)) == 3


def sweep_results():
    scores = [(128, 60, 0.4), (34, 10, 0.2), (128, 10, 0.5), (34, 20, None)]
    return [{"M": M, "N": N, "miou": miou, "images": 3} for M, N, miou in scores]


def test_heat_map_grid():
    table = heat_map.rows(sweep_results())
    assert table == [(34, 10, 3, 20.0), (34, 20, 3, None), (128, 10, 3, 50.0), (128, 60, 3, 40.0)]
    Ms, Ns, values = heat_map.grid(table)
    assert (Ms, Ns) == ([34, 128], [10, 20, 60])
    np.testing.assert_array_equal(values, [[20, np.nan, np.nan], [50, np.nan, 40]])


def test_heat_map_cells():
    figure = heat_map.draw(heat_map.rows(sweep_results()))
    axes = figure.axes[0]
    cells = {text.get_position(): text for text in axes.texts}
    assert {place: text.get_text() for place, text in cells.items()} == {
        (0, 0): "20.00", (1, 0): "×", (2, 0): "×", (0, 1): "50.00", (1, 1): "×", (2, 1): "40.00",
    }  # fmt: skip
    assert [place for place, text in cells.items() if text.get_fontweight() == "bold"] == [(0, 1)]
    (frame,) = axes.get_lines()
    assert (frame.get_xdata().mean(), frame.get_ydata().mean()) != (0, 0)
    assert set(np.round(frame.get_xdata(), 2)) == {-0.46, 0.46}
    assert set(np.round(frame.get_ydata(), 2)) == {0.54, 1.46}
    assert axes.get_xlabel().endswith("×: no result")
    assert figure.axes[1].get_ylabel() == "mIoU (%)"


def test_a_heat_map_of_one_value_and_of_none(tmp_path):
    one = [{"M": 3, "N": 2, "miou": 0.5, "images": 1}]
    assert [path.name for path in heat_map.write(tmp_path, one)] == [
        "heat_map.png", "heat_map.svg", "heat_map.csv",
    ]  # fmt: skip
    assert (tmp_path / "heat_map.csv").read_text() == "M,N,images,miou_percent\n3,2,1,50.0\n"
    none = [{"M": 3, "N": 2, "miou": None, "images": 0}]
    assert heat_map.write(tmp_path / "none", none) == [] and not (tmp_path / "none").exists()
