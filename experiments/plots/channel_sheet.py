"""Fig. 1 and 4: the channels of one image in the order of their entropy, and the selected ones.

The entropy is that of the instance stage: of the features as the backbone returns them.
"""

import functools
import math
import pathlib
from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt8
from PIL import Image

from experiments.plots.style import COLOURS, as_csv
from specjax import (
    Config,
    Tiling,
    as_grid,
    channel_deviation,
    channel_entropy,
    normalize_tokens,
    reduce_features,
    to_pixels,
    valid_tokens,
)
from specjax._folder import write_atomically
from specjax.overlay import Panel, contact_sheet, dimmed, fitted, overlay

_WIDTH, _GAP = 1680, 6
_OUTSIDE = (214, 214, 214)
# Panels in a row: of the pictures at the top, of all channels, of the selected ones.
_PICTURES, _ALL, _SELECTED = 6, 24, 15
_COLOURS = matplotlib.colormaps["viridis"]


class ChannelOrder(NamedTuple):
    """The order of the channels, and the values that they are ranked by."""

    entropy: Float[Array, " channels"]  # in bits
    by_entropy: Int[Array, " channels"]  # lowest entropy first; the first M are what NCR keeps
    selected: Int[Array, " kept"]  # those that DCR keeps, highest standard deviation first
    deviation: Float[Array, " kept"]  # of `selected`, tokens L2-normalised over the M


@functools.partial(jax.jit, static_argnames=("config",))
def channel_order(
    features: Float[Array, "tokens channels"], grid: Int[Array, "2"], *, config: Config
) -> ChannelOrder:
    """The order under a configuration: see `specjax.reduce_features`."""
    valid = valid_tokens(features.shape[0], grid)
    rule = config.protocol.instance_entropy
    entropy = channel_entropy(features, bins=config.bins, rule=rule, valid=valid)
    by_entropy = jax.lax.top_k(-entropy, features.shape[1])[1]
    reduced = normalize_tokens(features[:, by_entropy[: config.M]])
    deviation, places = jax.lax.top_k(channel_deviation(reduced, valid=valid), config.N)
    return ChannelOrder(entropy, by_entropy, by_entropy[places], deviation)


def of_image(
    image: UInt8[np.ndarray, "height width 3"],
    features: Float[Array, "tokens channels"],
    foreground: Bool[np.ndarray, " tokens"],
    annotated: Int[np.ndarray, "height width"] | None,
    tiling: Tiling,
    *,
    config: Config,
) -> tuple[Image.Image, str]:
    """The sheet and the CSV of an image at native size; `tiling` may be that of a resized one."""
    grid = jnp.asarray(tiling.grid, jnp.int32)
    selected = reduce_features(features, jnp.asarray(foreground), grid, config=config)
    order = jax.device_get(channel_order(features, grid, config=config))
    maps, selected = (np.asarray(as_grid(array.T, tiling.grid)) for array in (features, selected))
    mask = np.asarray(as_grid(foreground, tiling.grid))
    box = (_panel_width(_PICTURES), _WIDTH)
    small, shown = fitted(image, box), to_pixels(mask, tiling, image.shape[:2])
    pictures = {"image": Image.fromarray(small), "foreground": dimmed(small, fitted(shown, box))}
    if annotated is not None:
        pictures["annotated"] = overlay(small, fitted(annotated, box))
    sheet = draw(pictures, maps, selected, mask, order, M=config.M)
    return sheet, table(order, M=config.M)


def paths(folder: pathlib.Path, image_id: str) -> list[pathlib.Path]:
    """The files of an image: PNG and CSV."""
    # Not with_suffix: an id may contain a dot.
    return [folder / f"{image_id}.{ending}" for ending in ("png", "csv")]


def write(
    folder: pathlib.Path, image_id: str, sheet: tuple[Image.Image, str]
) -> list[pathlib.Path]:
    """Write the result of `of_image` as files; returns their `paths`."""
    picture, text = paths(folder, image_id)
    write_atomically(text, lambda stream: stream.write(sheet[1].encode()))
    write_atomically(picture, lambda stream: sheet[0].save(stream, format="PNG"))
    return [picture, text]


def draw(
    pictures: Mapping[str, Image.Image],
    maps: Float[np.ndarray, "channels rows columns"],
    selected: Float[np.ndarray, "kept rows columns"],
    foreground: Bool[np.ndarray, "rows columns"],
    order: ChannelOrder,
    *,
    M: int,
) -> Image.Image:
    """The sheet: photographs, all channels by entropy, the selected ones times the foreground.

    The colours of a channel span its own values, from dark for the lowest. In the selected ones the
    background is grey, and the colours span the values of the foreground. `pictures`, by title,
    have their final size; `selected` are features of the instance stage; the first M channels by
    entropy are framed.
    """
    everywhere = np.ones(foreground.shape, bool)
    channels, kept = [], []
    for place, channel in enumerate(order.by_entropy):
        picture = _coloured(maps[channel], everywhere, _ALL)
        frame = COLOURS[1] if place < M else None
        channels.append(Panel(picture, f"{order.entropy[channel]:.2f}", frame))
    for channel, deviation, values in zip(order.selected, order.deviation, selected, strict=True):
        caption = f"{order.entropy[channel]:.2f}   std {deviation:.3f}"
        kept.append(Panel(_coloured(values, foreground, _SELECTED), caption))
    top = [Panel(picture, title) for title, picture in pictures.items()]
    all_title = (
        f"All {len(channels)} channels by entropy (in bits, above each), lowest first; framed: the"
        f" {M} that NCR keeps"
    )
    kept_title = (
        f"The {len(kept)} of these that DCR keeps, times the foreground: entropy (in bits) and"
        " standard deviation, highest deviation first"
    )
    sections = (("", _PICTURES, top), (all_title, _ALL, channels), (kept_title, _SELECTED, kept))
    sheets = [
        Panel(contact_sheet(panels, title=title, columns=columns, width=_panel_width(columns)))
        for title, columns, panels in sections
    ]
    return contact_sheet(sheets, columns=1, width=_WIDTH - 2 * _GAP)


def table(order: ChannelOrder, *, M: int) -> str:
    """CSV: a row per channel, lowest entropy first."""
    deviation = dict(zip(order.selected.tolist(), order.deviation.tolist(), strict=True))
    rows = [
        (c, float(order.entropy[c]), int(place < M), int(c in deviation), deviation.get(c, ""))
        for place, c in enumerate(order.by_entropy.tolist())
    ]
    header = ("channel", "entropy_bits", "kept_by_ncr", "kept_by_dcr", "standard_deviation")
    return as_csv(header, rows)


def _panel_width(columns: int) -> int:
    """The width of a panel, so that this many columns fill the sheet."""
    return (_WIDTH - 3 * _GAP) // columns - _GAP


def _coloured(
    values: Float[np.ndarray, "rows columns"], mask: Bool[np.ndarray, "rows columns"], columns: int
) -> Image.Image:
    """A map within the mask, in colours from its lowest to its highest value there."""
    inside = values[mask]
    low, high = (float(inside.min()), float(inside.max())) if inside.size else (0.0, 0.0)
    scaled = (values - low) / (high - low) if high > low else np.zeros(values.shape)
    pixels = (255 * _COLOURS(np.clip(scaled, 0, 1))[..., :3]).round().astype(np.uint8)
    pixels = np.where(mask[..., None], pixels, np.array(_OUTSIDE, np.uint8))
    width = _panel_width(columns)
    # Tall images get narrower panels, so that rows do not become too tall.
    return Image.fromarray(fitted(pixels, (width, math.ceil(1.2 * width))))
