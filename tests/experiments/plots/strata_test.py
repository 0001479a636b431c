"""Fig. 11 and 12: rows and bars of strata."""

import pytest

from experiments.plots import strata


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
    assert strata.rows(strata_results(), "size_ratio") == [
        ("boc", "1.26-1.64", 1.26, 1.64, 4, 40.0, 30.0),
        ("boc", ">=1.64", 1.64, None, 2, 50.0, 25.0),
        ("dot", "1.26-1.64", 1.26, 1.64, 4, 20.0, 30.0),
        ("dot", ">=1.64", 1.64, None, 0, None, None),
    ]


def test_strata_bars():
    table = strata.rows(strata_results(), "size_ratio")
    figure = strata.draw(table, "size_ratio")
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
    written = strata.write(tmp_path, [result])
    assert {path.stem for path in written} == {"strata_size_ratio"} and len(written) == 3
