"""Fig. 1 and 4: one image's channels on a contact sheet, and the table behind it."""

import csv
import functools
import io
import math
from collections.abc import Sequence

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from experiments.plots.channel_order_numbers import ChannelOrder
from experiments.plots.style import COLOURS

_WIDTH, _GAP, _LINE = 1680, 6, 15
_INK, _PAPER, _OUTSIDE = (40, 40, 40), (255, 255, 255), (214, 214, 214)
# Panels in a row: pictures at the top, all channels, the selected ones.
_PICTURES, _ALL, _SELECTED = 6, 24, 15
_COLOURS = matplotlib.colormaps["viridis"]


def draw(
    pictures: Sequence[tuple[str, np.ndarray]],
    maps: np.ndarray,
    selected: np.ndarray,
    foreground: np.ndarray,
    order: ChannelOrder,
    *,
    M: int,
) -> Image.Image:
    """The sheet: pictures, all channels by entropy, the selected ones times the foreground.

    Each channel's colours span its own values, dark the lowest; background of the selected ones
    is grey, and their colours span what is left.

    Args:
        pictures: titles and uint8 images `[H, W, 3]`, of one size.
        maps: every channel on the grid, `[channels, h, w]`.
        selected: the selected ones as the instance stage sees them, `[N, h, w]`.
        foreground: its mask, `[h, w]`.
        order: which is which.
        M: how many of lowest entropy NCR keeps; a frame tells them from the others.
    """
    everywhere = np.ones(foreground.shape, bool)
    entropy = np.asarray(order.entropy)
    channels = [
        _panel(f"{entropy[c]:.2f}", _coloured(maps[c], everywhere), framed=place < M)
        for place, c in enumerate(np.asarray(order.by_entropy))
    ]
    kept = [
        _panel(f"{entropy[c]:.2f}   std {deviation:.3f}", _coloured(values, foreground))
        for c, deviation, values in zip(
            np.asarray(order.selected), np.asarray(order.deviation), selected, strict=True
        )
    ]
    return _stacked(
        [
            ("", _PICTURES, [_panel(title, pixels) for title, pixels in pictures]),
            (
                f"All {len(channels)} channels by entropy (bits, under each), lowest first; framed:"
                f" the {M} that NCR keeps",
                _ALL,
                channels,
            ),
            (
                f"The {len(kept)} of these that DCR keeps, times the foreground: entropy (bits) and"
                " standard deviation, highest deviation first",
                _SELECTED,
                kept,
            ),
        ]
    )


def table(order: ChannelOrder, *, M: int) -> str:
    """CSV: a row per channel, lowest entropy first."""
    deviation = {
        int(c): float(value) for c, value in zip(order.selected, order.deviation, strict=True)
    }
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("channel", "entropy_bits", "kept_by_ncr", "kept_by_dcr", "standard_deviation"))
    for place, c in enumerate(np.asarray(order.by_entropy).tolist()):
        kept = c in deviation
        rows.writerow(
            (c, float(order.entropy[c]), int(place < M), int(kept), deviation.get(c, ""))
        )
    return text.getvalue()


def _coloured(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """uint8 colours of a map, from its lowest to its highest value where the mask holds."""
    inside = values[mask]
    low, high = (float(inside.min()), float(inside.max())) if inside.size else (0.0, 0.0)
    scaled = (values - low) / (high - low) if high > low else np.zeros(values.shape)
    pixels = (255 * _COLOURS(np.clip(scaled, 0, 1))[..., :3]).round().astype(np.uint8)
    return np.where(mask[..., None], pixels, np.array(_OUTSIDE, np.uint8))


def _panel(caption: str, pixels: np.ndarray, *, framed: bool = False):
    return caption, pixels, framed


def _stacked(sections) -> Image.Image:
    """Sections of panels under their titles, one above the other."""
    placed, top = [], _GAP
    for title, columns, panels in sections:
        if not panels:
            continue
        if title:
            placed.append((title, _GAP, top + _GAP))
            top += _LINE + 3 * _GAP
        height, width = panels[0][1].shape[:2]
        cell = (_WIDTH - _GAP) // columns
        # A tall image gets narrower panels, so that a row is never taller than it is useful.
        shown = min(cell - _GAP, math.ceil(1.2 * (cell - _GAP) * width / height))
        size = (max(shown, 1), max(round(shown * height / width), 1))
        for index, panel in enumerate(panels):
            row, column = divmod(index, columns)
            left = _GAP + column * cell + (cell - _GAP - size[0]) // 2
            placed.append((panel, left, top + row * (size[1] + _LINE + _GAP), size))
        top += math.ceil(len(panels) / columns) * (size[1] + _LINE + _GAP)
    sheet = Image.new("RGB", (_WIDTH, top + _GAP), _PAPER)
    pen = ImageDraw.Draw(sheet)
    for what, left, upper, *size in placed:
        if not size:
            pen.text((left, upper), what, fill=_INK, font=_font(14))
            continue
        _paste(sheet, pen, what, left, upper, size[0])
    return sheet


def _paste(sheet, pen, panel, left, top, size) -> None:
    caption, pixels, framed = panel
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    # Tokens stay squares; photographs shrink smoothly.
    enlarged = picture.width < size[0]
    kind = Image.Resampling.NEAREST if enlarged else Image.Resampling.BOX
    sheet.paste(picture.resize(size, kind), (left, top))
    if framed:
        box = (left - 2, top - 2, left + size[0] + 1, top + size[1] + 1)
        pen.rectangle(box, outline=COLOURS[1], width=2)
    middle = left + size[0] // 2
    pen.text((middle, top + size[1] + 2), caption, fill=_INK, font=_font(11), anchor="ma")


@functools.cache
def _font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)
