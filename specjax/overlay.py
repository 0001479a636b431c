"""What is drawn of a segmentation: overlays, contact sheets and indexed label maps.

Images are uint8 `[H, W, 3]`, RGB. Label maps are int `[H, W]`: 0 is background, 1 and above are
instances, and what lies below 0 (void) is drawn as background. Masks are bool `[H, W]` and maps
float `[segments, H, W]`; all are at the image's resolution. Results are Pillow images.
"""

import functools
import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Integer, Shaped, UInt8
from PIL import Image, ImageDraw, ImageFilter, ImageFont

_Photo = UInt8[np.ndarray, "height width 3"]
_Mask = Bool[np.ndarray, "height width"]
_Labels = Integer[np.ndarray, "height width"]
_Colours = UInt8[np.ndarray, "numbers 3"]

_INK, _PAPER = (40, 40, 40), (255, 255, 255)
_GAP, _CAPTION, _TITLE, _OPACITY = 6, 11, 14, 0.45
# The (width, height) that a panel fits into. (Long panoramas exist.)
_STAGE, _THUMBNAIL = (960, 240), (176, 132)


class Panel(NamedTuple):
    """A picture on a contact sheet, with a caption above and a frame of a colour around it."""

    picture: Image.Image
    caption: str = ""
    frame: str | None = None


def voc_colours() -> _Colours:
    """PASCAL VOC's palette, `[256, 3]`: the bits of the index, spread over three channels."""
    level, channel = np.arange(8)[:, None], np.arange(3)
    bits = np.arange(256)[:, None, None] >> (3 * level + channel) & 1
    return np.sum(bits << (7 - level), axis=1).astype(np.uint8)


def indexed_png(labels: _Labels) -> Image.Image:
    """A label map of numbers up to 255 as an image of mode "P" with the VOC palette."""
    picture = Image.fromarray(labels.astype(np.uint8)).convert("P")
    picture.putpalette(voc_colours().tobytes())
    return picture


def overlay(image: _Photo, labels: _Labels) -> Image.Image:
    """The image with each instance tinted, outlined and numbered in a colour of its own.

    Colours are bright ones of the VOC palette, unlike what lies below them and unlike each other.
    """
    labels = np.maximum(labels, 0).astype(int)
    return _tinted(image, labels, _distinct_colours(image, labels))


def stages(
    image: _Photo,
    foreground: _Mask,
    eigensegments: Float[np.ndarray, "segments height width"] | None,
    labels: _Labels | None,
    annotated: _Labels | None,
) -> Image.Image:
    """Every stage of one image's segmentation side by side; what is None is left out.

    An instance has the colour of the annotated one that it fits best, and its own number.
    """
    fit = functools.partial(fitted, box=_STAGE)
    panels = _compared(image, labels, annotated, _STAGE)
    maps = [] if eigensegments is None else [diverging(fit(values)) for values in eigensegments]
    panels[1:1] = [
        Panel(dimmed(fit(image), fit(foreground)), "foreground"),
        *(Panel(one, f"eigensegment {number}") for number, one in enumerate(maps, start=1)),
    ]
    return contact_sheet(panels)


def gallery_tile(image: _Photo, labels: _Labels, annotated: _Labels | None) -> Image.Image:
    """A small image, its instances and, where there is one, the annotation, side by side."""
    return contact_sheet(_compared(image, labels, annotated, _THUMBNAIL), width=_THUMBNAIL[0])


def gallery(tiles: Iterable[Image.Image]) -> Image.Image:
    """Tiles (`gallery_tile`) in three columns; each is read when its turn comes."""
    panels = [Panel(tile.convert("RGB")) for tile in tiles]
    return contact_sheet(panels, columns=min(3, len(panels)))


def dimmed(image: _Photo, mask: _Mask) -> Image.Image:
    """The image in the mask, and a dark grey one elsewhere."""
    grey = (0.35 * image.mean(axis=2, keepdims=True)).astype(np.uint8)
    return Image.fromarray(np.where(mask[:, :, None], image, grey))


def diverging(values: Float[np.ndarray, "height width"]) -> Image.Image:
    """A map from blue through white to orange; 0 is white, the largest magnitude is full."""
    scaled = values / max(float(np.abs(values).max()), np.finfo(np.float32).tiny)
    end = np.where((scaled < 0)[:, :, None], (33, 102, 172), (230, 97, 1))
    strength = np.abs(scaled)[:, :, None]
    return Image.fromarray((255 * (1 - strength) + end * strength).astype(np.uint8))


def matched_numbers(labels: _Labels, annotated: _Labels) -> Int[np.ndarray, " numbers"]:
    """For each label (the index) the number of the annotated instance that it fits best.

    One to one, largest common area first. A label that has nothing in common with an instance that
    is left gets a number of its own, above the annotated ones. Background stays 0.
    """
    annotated = np.maximum(annotated, 0)
    found, known = int(labels.max(initial=0)), int(annotated.max(initial=0))
    common = np.zeros((found + 1, known + 1), int)
    np.add.at(common, (np.maximum(labels, 0), annotated), 1)
    common[0], common[:, 0] = 0, 0
    numbers = np.arange(found + 1) + known
    numbers[0] = 0
    while common.any():
        label, number = np.unravel_index(common.argmax(), common.shape)
        numbers[label] = number
        common[label], common[:, number] = 0, 0
    return numbers


def fitted(
    array: Shaped[np.ndarray, "height width *rest"], box: tuple[int, int]
) -> Shaped[np.ndarray, "new_height new_width *rest"]:
    """An image, label map, mask or map `[H, W, ...]` resized to fit into `(width, height)`.

    An image is shrunk by averaging; all else takes the nearest pixel.
    """
    height, width = array.shape[:2]
    scale = min(box[0] / width, box[1] / height)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    if array.ndim == 3 and scale < 1:
        return np.asarray(Image.fromarray(array).resize(size, Image.Resampling.BOX))
    sides = ((size[1], height), (size[0], width))
    return array[np.ix_(*((2 * np.arange(new) + 1) * old // (2 * new) for new, old in sides))]


def contact_sheet(
    panels: Sequence[Panel],
    *,
    title: str = "",
    columns: int | None = None,
    width: int | None = None,
) -> Image.Image:
    """Panels in rows, from left to right and from top to bottom.

    Args:
        panels: at least one; a sheet may be a panel of another.
        title: a line above all.
        columns: how many are side by side; all where it is None.
        width: width of a column, in which panels are centred; the widest's where it is None.
    """
    columns = columns or len(panels)
    pitch = _GAP + (width or max(panel.picture.width for panel in panels))
    placed, top = [], _GAP + bool(title) * (_TITLE + _GAP)
    for row in (panels[start : start + columns] for start in range(0, len(panels), columns)):
        top += any(panel.caption for panel in row) * (_CAPTION + 4)
        for column, panel in enumerate(row):
            placed.append((panel, _GAP + column * pitch + (pitch - _GAP) // 2, top))
        top += max(panel.picture.height for panel in row) + _GAP
    sheet = Image.new("RGB", (_GAP + columns * pitch, top), _PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((_GAP, _GAP), title, _INK, _font(_TITLE))
    for (picture, caption, frame), middle, top in placed:
        left = middle - picture.width // 2
        sheet.paste(picture, (left, top))
        pen.text((middle, top - 3), caption, _INK, _font(_CAPTION), anchor="ms")
        if frame:
            box = (left - 2, top - 2, left + picture.width + 1, top + picture.height + 1)
            pen.rectangle(box, outline=frame, width=2)
    return sheet


def _compared(
    image: _Photo, labels: _Labels | None, annotated: _Labels | None, box: tuple[int, int]
) -> list[Panel]:
    """Panels of the image, and of both label maps, where there are any, in common colours."""
    image = fitted(image, box)
    both = {"instances found": labels, "annotated": annotated}
    found = {title: fitted(one, box) for title, one in both.items() if one is not None}
    shown = {title: np.maximum(one, 0).astype(int) for title, one in found.items()}
    numbers = [np.arange(one.max() + 1) for one in shown.values()]
    if len(shown) == 2:
        numbers[0] = matched_numbers(*shown.values())
    colours = _distinct_colours(image, *map(np.take, numbers, shown.values()))
    panels = [Panel(Image.fromarray(image), "image")]
    for (title, one), number in zip(shown.items(), numbers, strict=True):
        panels.append(Panel(_tinted(image, one, colours[number]), title))
    return panels


def _distinct_colours(image: _Photo, *labels: _Labels) -> _Colours:
    """A colour for each number of the label maps, unlike the image, what lies below, and others."""
    palette = voc_colours()[:-1]
    bright = palette @ np.array([0.299, 0.587, 0.114]) >= 80
    candidates = palette[bright & (np.ptp(palette, axis=1) >= 128)]
    colours = np.zeros((1 + max((one.max(initial=0) for one in labels), default=0), 3), np.uint8)
    others = [image.mean(axis=(0, 1))]
    for number in range(1, len(colours)):
        below = np.concatenate([image[one == number] for one in labels])
        if below.size:
            unlike = np.stack([below.mean(axis=0), *others])
            apart = np.linalg.norm(candidates[:, None] - unlike, axis=2).min(axis=1)
            colours[number] = candidates[apart.argmax()]
            others.append(colours[number])
    return colours


def _tinted(image: _Photo, labels: _Labels, colours: _Colours) -> Image.Image:
    """Tint, outline and number of each instance, in the colour at its number."""
    line = max(round(min(labels.shape) / 150), 1)
    size = max(round(min(labels.shape) / 14), _CAPTION)
    style = {"font": _font(size), "anchor": "mm", "stroke_width": line, "stroke_fill": "black"}
    opacity = np.where(_is_outline(labels, line), 1.0, _OPACITY) * (labels > 0)
    mixed = image + opacity[:, :, None] * (colours[labels] - image.astype(float))
    picture = Image.fromarray(mixed.astype(np.uint8))
    pen = ImageDraw.Draw(picture)
    for number in np.unique(labels[labels > 0]):
        place = np.clip(_centre(labels == number), size // 2, np.array(picture.size) - size // 2)
        pen.text(tuple(place), str(number), "white", **style)
    return picture


def _is_outline(labels: _Labels, width: int) -> _Mask:
    """Pixels within `width` of another label, sideways, up or down."""
    padded = np.pad(labels, width, mode="edge")
    found = np.zeros(labels.shape, bool)
    for start in range(2 * width + 1):
        found |= padded[start:, width:-width][: labels.shape[0]] != labels
        found |= padded[width:-width, start:][:, : labels.shape[1]] != labels
    return found


def _centre(mask: _Mask) -> Int[np.ndarray, "2"]:
    """(x, y) of the pixel of the mask with the most of it around: a centroid may lie outside."""
    blur = ImageFilter.BoxBlur(math.sqrt(np.count_nonzero(mask)) / 4)
    around = np.asarray(Image.fromarray(mask).convert("L").filter(blur)) * mask
    best = np.argwhere(around == around.max())
    return best[np.square(best - best.mean(axis=0)).sum(axis=1).argmin()][::-1]


@functools.cache
def _font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)
