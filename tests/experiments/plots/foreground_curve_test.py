"""Fig. 8 and 9: rows and lines by number of channels."""

import pytest

from experiments.plots import foreground_curve


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
