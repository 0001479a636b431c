"""MIoU over M and N: cells, the best of them, and what is missing."""

import numpy as np

from experiments.plots import heat_map


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
