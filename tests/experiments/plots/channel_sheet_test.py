"""Fig. 1 and 4: the order of an image's channels against numpy, the sheet, and its table."""

import csv
import dataclasses
import io

import jax.numpy as jnp
import matplotlib
import numpy as np
import pytest
from PIL import Image

from experiments.plots import channel_sheet
from experiments.plots.channel_sheet import ChannelOrder
from specjax import REFERENCE, Tiling, reduce_features
from tests.support import plots
from tests.support.plots import CONFIG, GRID

VIRIDIS = (255 * np.array(matplotlib.colormaps["viridis"]([0.0, 1.0]))[:, :3]).round()
FRAME, GREY, BLUE = (0xD5, 0x5E, 0x00), (214, 214, 214), (9, 99, 199)


@pytest.fixture(scope="module")
def features():
    return plots.features()


def test_order_of_channels(features):
    entropy, order, kept = plots.ranked(features)
    deviations = kept.std(axis=0)
    selected = np.argsort(-deviations)[: CONFIG.N]
    found = channel_sheet.channel_order(plots.padded(features), jnp.asarray(GRID), config=CONFIG)
    np.testing.assert_allclose(found.entropy, entropy, rtol=1e-5)
    np.testing.assert_array_equal(found.by_entropy, order)
    np.testing.assert_array_equal(found.selected, order[selected])
    np.testing.assert_allclose(found.deviation, deviations[selected], rtol=1e-5)


@pytest.mark.parametrize("config", [CONFIG, dataclasses.replace(CONFIG, protocol=REFERENCE)])
def test_selected_channels_are_the_method_s(features, config):
    foreground = plots.padded(np.arange(300) % 3 > 0)
    features, grid = plots.padded(features), jnp.asarray(GRID)
    found = channel_sheet.channel_order(features, grid, config=config)
    method = reduce_features(features, foreground, grid, config=config)
    kept = features[:, found.by_entropy[: config.M]]
    places = [found.by_entropy.tolist().index(channel) for channel in found.selected.tolist()]
    norm = jnp.maximum(jnp.linalg.norm(kept, axis=1, keepdims=True), 1e-9)
    expected = jnp.where(foreground[:, None], (kept / norm)[:, jnp.asarray(places)], 0.0)
    np.testing.assert_allclose(method, expected, atol=1e-6)


@pytest.fixture
def order():
    """Three channels, two kept by NCR (2 and 0), one by DCR (0)."""
    return ChannelOrder(
        np.float32([1.5, 3.25, 0.5]), np.array([2, 0, 1]), np.array([0]), np.float32([0.25])
    )


def drawn(order, foreground):
    maps = np.zeros((3, 2, 4), np.float32)
    maps[:, 0] = 1.0
    selected = np.where(foreground, np.arange(8.0).reshape(2, 4), 0.0)[None]
    pictures = {"image": Image.new("RGB", (40, 20), BLUE)}
    return np.asarray(channel_sheet.draw(pictures, maps, selected, foreground, order, M=2))


def is_colour(pixels, colour):
    return (pixels == np.array(colour, pixels.dtype)).all(-1)


def test_picture(order):
    foreground = np.array([[False, True, True, False], [False, True, True, False]])
    pixels = drawn(order, foreground)
    assert pixels.shape[1] == 1680
    blue = is_colour(pixels, BLUE)
    assert blue.sum() == 800
    below = pixels[np.nonzero(blue.any(1))[0].max() + 1 :]
    # Two of the three channels are framed, side by side, from the left.
    columns = np.nonzero(is_colour(below, FRAME).sum(0) > 30)[0]
    assert len(columns) == 8 and columns.max() < 1680 / 11
    # A channel's lowest and highest value have the ends of the colour map, half of it each.
    upper = below[: np.nonzero(is_colour(below, GREY).sum(1) > 20)[0].min()]
    low, high = (is_colour(upper, colour).sum() for colour in VIRIDIS)
    assert low > 3 * 900 and 0.9 < low / high < 1.1
    # The selected channel is grey outside the foreground: half of it.
    lower = below[len(upper) :]
    # (The edges of letters are grey here and there.)
    grey = is_colour(lower, GREY)
    grey = grey[grey.sum(1) > 20]
    columns = np.nonzero(grey.sum(0) > 20)[0]
    area = len(grey) * (np.ptp(columns) + 1)
    assert area > 3000 and grey.sum() == pytest.approx(area / 2, rel=0.05)


@pytest.mark.parametrize("foreground", [np.zeros((2, 4), bool), np.ones((2, 4), bool)])
def test_picture_of_no_foreground_or_nothing_else(order, foreground):
    grey = is_colour(drawn(order, foreground), GREY)
    assert (grey.sum(1) > 20).any() != foreground.all()


def test_table(order):
    rows = list(csv.DictReader(io.StringIO(channel_sheet.table(order, M=2))))
    assert [tuple(row.values()) for row in rows] == [
        ("2", "0.5", "1", "0", ""), ("0", "1.5", "1", "1", "0.25"), ("1", "3.25", "0", "0", ""),
    ]  # fmt: skip


def test_sheet_of_an_image_as_files(features, tmp_path):
    """Twice, with and without annotation; the image is larger than what was cut into tokens."""
    rows, columns = GRID
    tiling = Tiling(rows, columns, 8, (8 * rows + 3, 8 * columns))
    image = np.full((2 * tiling.image_size[0], 2 * tiling.image_size[1], 3), BLUE, np.uint8)
    annotated = np.zeros(image.shape[:2], np.int32)
    annotated[:100], annotated[100:150] = 2, -1
    foreground = np.pad(np.arange(300) < 150, (0, 20))
    blue = []
    for image_id, truth in (("a/b.c", annotated), ("plain", None)):
        sheet = channel_sheet.of_image(
            image, plots.padded(features), foreground, truth, tiling, config=CONFIG
        )
        written = channel_sheet.write(tmp_path, image_id, sheet)
        assert written == channel_sheet.paths(tmp_path, image_id)
        assert written == [tmp_path / f"{image_id}.png", tmp_path / f"{image_id}.csv"]
        table = plots.rows_of(written[1])
        assert [int(row["channel"]) for row in table] == plots.ranked(features)[1].tolist()
        assert sum(int(row["kept_by_dcr"]) for row in table) == CONFIG.N
        with Image.open(written[0]) as picture:
            blue.append(is_colour(np.asarray(picture), BLUE).sum())
    # Blue: the whole image, half of it in the mask's, and of the annotation's what is void or 0.
    area = blue[1] / 1.5
    assert blue[0] == pytest.approx(area * (1.5 + 1 - 100 / image.shape[0]), rel=0.02)
