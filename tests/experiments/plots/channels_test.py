"""Figures show the numbers that they are given, also where there are none."""

import csv
import io

import matplotlib
import numpy as np
import pytest

from experiments.plots import channel_deviation, channel_oracle, channel_sheet, similarity_variance
from experiments.plots.channel_order_numbers import ChannelOrder

VIRIDIS = (255 * np.array(matplotlib.colormaps["viridis"]([0.0, 1.0]))[:, :3]).round()
FRAME, GREY = (0xD5, 0x5E, 0x00), (214, 214, 214)


def read(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def texts(path):
    """What an SVG says, in its order."""
    lines = path.read_text().split("</text>")[:-1]
    return [line.rsplit(">", 1)[1] for line in lines]


@pytest.fixture
def order():
    """Three channels, two kept by NCR (2 and 0), one by DCR (0)."""
    return ChannelOrder(
        np.float32([1.5, 3.25, 0.5]), np.array([2, 0, 1]), np.array([0]), np.float32([0.25])
    )


def sheet(order, foreground):
    maps = np.zeros((3, 2, 4), np.float32)
    maps[:, 0] = 1.0
    selected = np.where(foreground, np.arange(8.0).reshape(2, 4), 0.0)[None]
    picture = np.full((20, 40, 3), (9, 99, 199), np.uint8)
    drawn = channel_sheet.draw([("image", picture)], maps, selected, foreground, order, M=2)
    return np.asarray(drawn)


def share(pixels, colour):
    return (pixels == np.array(colour, pixels.dtype)).all(-1)


def test_sheet(order):
    foreground = np.array([[False, True, True, False], [False, True, True, False]])
    pixels = sheet(order, foreground)
    assert pixels.shape[1] == 1680
    blue = share(pixels, (9, 99, 199))
    assert blue.any()
    below = pixels[np.nonzero(blue.any(1))[0].max() + 1 :]
    # Two of the three channels are framed, side by side, from the left.
    columns = np.nonzero(share(below, FRAME).sum(0) > 30)[0]
    assert len(columns) == 8 and columns.max() < 1680 / 12
    # A channel's lowest and highest value have the ends of the colour map, half of it each.
    upper = below[: np.nonzero(share(below, GREY).sum(1) > 20)[0].min()]
    low, high = (share(upper, colour).sum() for colour in VIRIDIS)
    assert low > 3 * 1000 and 0.9 < low / high < 1.1
    # The selected channel is grey outside the foreground: half of it.
    lower = below[len(upper) :]
    # (The edges of letters are grey here and there.)
    grey = share(lower, GREY)
    grey = grey[grey.sum(1) > 20]
    columns = np.nonzero(grey.sum(0) > 20)[0]
    area = len(grey) * (np.ptp(columns) + 1)
    assert area > 3000 and grey.sum() == pytest.approx(area / 2, rel=0.05)


@pytest.mark.parametrize("foreground", [np.zeros((2, 4), bool), np.ones((2, 4), bool)])
def test_sheet_of_no_foreground_or_nothing_else(order, foreground):
    grey = share(sheet(order, foreground), GREY)
    assert (grey.sum(1) > 20).any() != foreground.all()


def test_table_of_channels(order):
    rows = list(csv.DictReader(io.StringIO(channel_sheet.table(order, M=2))))
    assert [tuple(row.values()) for row in rows] == [
        ("2", "0.5", "1", "0", ""), ("0", "1.5", "1", "1", "0.25"), ("1", "3.25", "0", "0", ""),
    ]  # fmt: skip


def strata(*values):
    keys = ("instances", "images", "best_channel_miou", "method_miou")
    return [
        dict(zip(keys, (name, 0 if best is None else 7, best, method), strict=True))
        for name, (best, method) in zip(("2", "3", "4", "5+"), values, strict=True)
    ]


def test_oracle_plot(tmp_path):
    rows = strata((0.5, 0.25), (None, None), (1.0, 0.125), (0.0, 0.75))
    paths = channel_oracle.draw(rows, tmp_path / "oracle")
    assert [row["method_miou"] for row in read(paths[2])] == ["0.25", "", "0.125", "0.75"]
    said = texts(paths[1])
    assert {"50.0", "25.0", "100.0", "12.5", "0.0", "75.0", "mIoU (%)", "(no images)"} <= {*said}
    assert said.count("(7 images)") == 3
    channel_oracle.draw(strata(*[(None, None)] * 4), tmp_path / "nothing")


def test_deviation_plot(tmp_path):
    rows = [{"rank": 1, "deviation": 0.5, "difference": 0.25},
            {"rank": 2, "deviation": 0.25, "difference": 0.125}]  # fmt: skip
    paths = channel_deviation.draw(rows, tmp_path / "deviation", N=1)
    assert [tuple(row.values()) for row in read(paths[2])] == [
        ("1", "0.5", "0.25"), ("2", "0.25", "0.125"),
    ]  # fmt: skip
    assert "N = 1" in [text.strip() for text in texts(paths[1])]
    paths = channel_deviation.draw([], tmp_path / "nothing", N=1)
    assert read(paths[2]) == [] and "no image of two instances" in texts(paths[1])


def test_variance_plot(tmp_path):
    counts = {"intra": 0.5, "inter": 0.5, "images": 4, "images_left_out": 0}
    results = [{"metric": "boc", "mr": 0.75, **counts}, {"metric": "l2", "mr": None, **counts}]
    paths = similarity_variance.draw(results, tmp_path / "variance")
    assert [row["mr"] for row in read(paths[2])] == ["0.75", ""]
    said = [text.strip() for text in texts(paths[1])]
    assert {"boc", "l2", "0.750", "not defined"} <= {*said} and any("4 images" in t for t in said)
    similarity_variance.draw(results[1:], tmp_path / "nothing")
