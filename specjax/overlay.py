"""Pictures of a segmentation: overlays, contact sheets and indexed label maps.

Images are uint8 `[height, width, 3]`, RGB. Label maps are int `[height, width]`: 0 is background, 1
and above are instances; values below 0 (void) are drawn as background. Masks are bool
`[height, width]`, eigensegments float `[segments, height, width]`; all have the size of the image.
Results are Pillow images.
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
# The (width, height) that a panel fits into; panoramas are long.
_STAGE, _THUMBNAIL = (960, 240), (176, 132)


class Panel(NamedTuple):
    """A picture on a contact sheet.

    Attributes:
        picture: the picture.
        caption: text above it.
        frame: colour of a frame around it; None for no frame.
    """

    picture: Image.Image
    caption: str = ""
    frame: str | None = None


def voc_colours() -> _Colours:
    """The palette of PASCAL VOC: bits of the index, spread over the three colour channels."""
    level, channel = np.arange(8)[:, None], np.arange(3)
    bits = np.arange(256)[:, None, None] >> (3 * level + channel) & 1
    return np.sum(bits << (7 - level), axis=1).astype(np.uint8)


def indexed_png(labels: _Labels) -> Image.Image:
    """A label map of numbers up to 255 as a picture of mode "P" with the palette of VOC."""
    picture = Image.fromarray(labels.astype(np.uint8)).convert("P")
    picture.putpalette(voc_colours().tobytes())
    return picture


def overlay(image: _Photo, labels: _Labels) -> Image.Image:
    """The image with each instance tinted, outlined and numbered in a colour of its own.

    Colours are bright ones of the palette of VOC, chosen to differ from the pixels below them and
    from each other.
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
    """Every stage of the segmentation of an image, side by side; None leaves a stage out.

    An instance has its own number, and the colour of the annotated instance that it fits best.
    """
    fit = functools.partial(fitted, box=_STAGE)
    panels = _compared(image, labels, annotated, _STAGE)
    maps = [] if eigensegments is None else [diverging(fit(values)) for values in eigensegments]
    panels[1:1] = [
        Panel(dimmed(fit(image), fit(foreground)), "foreground"),
        *(Panel(picture, f"eigensegment {number}") for number, picture in enumerate(maps, start=1)),
    ]
    return contact_sheet(panels)


def gallery_tile(image: _Photo, labels: _Labels, annotated: _Labels | None) -> Image.Image:
    """Small pictures of the image, its instances and the annotation, if any, side by side."""
    return contact_sheet(_compared(image, labels, annotated, _THUMBNAIL), width=_THUMBNAIL[0])


def gallery(tiles: Iterable[Image.Image]) -> Image.Image:
    """Tiles (`gallery_tile`) in three columns; tiles are loaded one at a time."""
    panels = [Panel(tile.convert("RGB")) for tile in tiles]
    return contact_sheet(panels, columns=min(3, len(panels)))


def dimmed(image: _Photo, mask: _Mask) -> Image.Image:
    """The image inside the mask, and dark grey outside."""
    grey = (0.35 * image.mean(axis=2, keepdims=True)).astype(np.uint8)
    return Image.fromarray(np.where(mask[:, :, None], image, grey))


def diverging(values: Float[np.ndarray, "height width"]) -> Image.Image:
    """A map in blue (below 0), white (0) and orange; the largest magnitude has full colour."""
    scaled = values / max(float(np.abs(values).max()), np.finfo(np.float32).tiny)
    end = np.where((scaled < 0)[:, :, None], (33, 102, 172), (230, 97, 1))
    strength = np.abs(scaled)[:, :, None]
    return Image.fromarray((255 * (1 - strength) + end * strength).astype(np.uint8))


def matched_numbers(labels: _Labels, annotated: _Labels) -> Int[np.ndarray, " numbers"]:
    """The number of the annotated instance that each label, the index, fits best.

    The matching is one to one, the largest common area first. A label that overlaps no unmatched
    instance gets a new number, above those of the annotation. Background stays 0.
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
    """An image, label map, mask or eigensegment, resized to fit into `(width, height)`.

    Images are shrunk by averaging; otherwise, each pixel takes the nearest value.
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
        panels: at least one; a panel may show another sheet.
        title: a line above all panels.
        columns: number of panels side by side; None for all.
        width: width of a column, in which panels are centred; None for that of the widest panel.
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
    """Panels of the image and of the label maps that are not None, in common colours."""
    image = fitted(image, box)
    given = {"instances found": labels, "annotated": annotated}
    small = {title: fitted(map_, box) for title, map_ in given.items() if map_ is not None}
    maps = {title: np.maximum(map_, 0).astype(int) for title, map_ in small.items()}
    numbers = [np.arange(map_.max() + 1) for map_ in maps.values()]
    if len(maps) == 2:
        numbers[0] = matched_numbers(*maps.values())
    colours = _distinct_colours(image, *map(np.take, numbers, maps.values()))
    panels = [Panel(Image.fromarray(image), "image")]
    for (title, map_), number in zip(maps.items(), numbers, strict=True):
        panels.append(Panel(_tinted(image, map_, colours[number]), title))
    return panels


def _distinct_colours(image: _Photo, *labels: _Labels) -> _Colours:
    """A colour for each number, unlike the image, the pixels below it, and the other colours."""
    palette = voc_colours()[:-1]
    bright = palette @ np.array([0.299, 0.587, 0.114]) >= 80
    candidates = palette[bright & (np.ptp(palette, axis=1) >= 128)]
    largest = max((numbers.max(initial=0) for numbers in labels), default=0)
    colours = np.zeros((1 + largest, 3), np.uint8)
    others = [image.mean(axis=(0, 1))]
    for number in range(1, len(colours)):
        below = np.concatenate([image[numbers == number] for numbers in labels])
        if below.size:
            unlike = np.stack([below.mean(axis=0), *others])
            apart = np.linalg.norm(candidates[:, None] - unlike, axis=2).min(axis=1)
            colours[number] = candidates[apart.argmax()]
            others.append(colours[number])
    return colours


def _tinted(image: _Photo, labels: _Labels, colours: _Colours) -> Image.Image:
    """Tint, outline and number each instance, in the colour at the index of its number."""
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
    """Pixels within `width` of another label, horizontally or vertically."""
    padded = np.pad(labels, width, mode="edge")
    found = np.zeros(labels.shape, bool)
    for start in range(2 * width + 1):
        found |= padded[start:, width:-width][: labels.shape[0]] != labels
        found |= padded[width:-width, start:][:, : labels.shape[1]] != labels
    return found


def _centre(mask: _Mask) -> Int[np.ndarray, "2"]:
    """(x, y) of the pixel of the mask with most of it around; the centroid may lie outside."""
    blur = ImageFilter.BoxBlur(math.sqrt(np.count_nonzero(mask)) / 4)
    around = np.asarray(Image.fromarray(mask).convert("L").filter(blur)) * mask
    best = np.argwhere(around == around.max())
    return best[np.square(best - best.mean(axis=0)).sum(axis=1).argmin()][::-1]


@functools.cache
def _font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)
