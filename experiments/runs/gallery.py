"""One picture of a run: its first images, what was found in them, and what is annotated."""

import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import scipy.optimize
from PIL import Image, ImageDraw

from specjax.overlay import INK, PAPER, tinted

if TYPE_CHECKING:
    from experiments.loop.stream import Example

# The run's first so many images are shown; more would be a sheet nobody looks at.
COUNT = 24
_COLUMNS = 3
_PANEL_WIDTH, _PANEL_HEIGHT = 176, 132
_GAP, _TITLE = 4, 16
_TITLES = ("image", "instances found", "annotated")


def thumbnail(example: "Example", labels: np.ndarray) -> Image.Image:
    """The image, the instances and, where there is one, the annotation, side by side."""
    truth = example.instances
    if truth is None:
        panels = [example.image, tinted(example.image, labels)]
    else:
        matched = recoloured(labels, truth)
        panels = [example.image, tinted(example.image, matched), tinted(example.image, truth)]
    sheet = Image.new("RGB", (len(panels) * (_PANEL_WIDTH + _GAP) - _GAP, _PANEL_HEIGHT), PAPER)
    for index, pixels in enumerate(panels):
        panel = Image.fromarray(np.ascontiguousarray(pixels))
        panel.thumbnail((_PANEL_WIDTH, _PANEL_HEIGHT), Image.Resampling.BILINEAR)
        left = index * (_PANEL_WIDTH + _GAP) + (_PANEL_WIDTH - panel.width) // 2
        sheet.paste(panel, (left, (_PANEL_HEIGHT - panel.height) // 2))
    return sheet


def recoloured(labels: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The labels renumbered, so that an instance has the number of the annotated one it fits best.

    Assigned one to one, by common area; what is left over gets numbers of its own. Void (-1) fits
    nothing.
    """
    labels, truth = np.asarray(labels), np.maximum(truth, 0)
    found, known = int(labels.max()), int(truth.max())
    common = np.zeros((found + 1, known + 1), int)
    np.add.at(common, (labels, truth), 1)
    rows, columns = scipy.optimize.linear_sum_assignment(common[1:, 1:], maximize=True)
    number = np.zeros(found + 1, int)
    number[1:] = known + 1 + np.arange(found)
    number[rows + 1] = columns + 1
    return number[labels]


def sheet(thumbnails: Sequence[pathlib.Path]) -> Image.Image:
    """All thumbnails in rows, under a line of titles."""
    tiles = []
    for path in thumbnails:
        with Image.open(path) as tile:
            tiles.append(tile.convert("RGB"))
    columns = min(_COLUMNS, len(tiles))
    width, height = tiles[0].width + 4 * _GAP, tiles[0].height + _GAP
    rows = -(-len(tiles) // columns)
    page = Image.new("RGB", (columns * width, _TITLE + rows * height), PAPER)
    pen = ImageDraw.Draw(page)
    panels = (tiles[0].width + _GAP) // (_PANEL_WIDTH + _GAP)
    for column in range(columns):
        for panel in range(panels):
            left = column * width + 2 * _GAP + panel * (_PANEL_WIDTH + _GAP)
            pen.text((left, 2), _TITLES[panel], fill=INK)
    for index, tile in enumerate(tiles):
        row, column = divmod(index, columns)
        page.paste(tile, (column * width + 2 * _GAP, _TITLE + row * height))
    return page
