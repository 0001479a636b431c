"""From a picture of instances to an instance map: palette, grey and colour masks.

Distinct colours (or grey levels) are distinct instances, and black is background. VOC's colour of
index 255 is void. A picture that can be read in more than one way is an error, never a guess.

A grey image of 16 bits may be an instanceIds map of Cityscapes: values from 1000 on are instances
(1000 times the class, plus a number), values below are classes without instances. The classes of
objects, 24 to 33, are groups there, and void like the crowds of COCO; the others are background.

A palette without black, whose colours are not VOC's, says nothing: there the index is the number,
unless another index looks like the background's.
"""

import os
import pathlib

import numpy as np
from PIL import Image

from experiments.datasets import notes
from experiments.datasets.records import VOID
from specjax import SpecjaxError, overlay
from specjax._remarks import remark
from specjax.images import opened

# A grey level up to here is the number of an instance; levels above it may also be colours that
# were converted, shades of a blurred edge, or a binary mask's white.
_MAX_NUMBER = 31
# Cityscapes: where instances begin, all classes, and those of objects.
_INSTANCES, _CLASSES, _OBJECTS = 1000, range(34), range(24, 34)
# Instances of VOC whose colours have grey levels of their own: 1 and 16 share one.
_TOLD_APART_IN_GREY = 15


def read_mask(path: pathlib.Path) -> np.ndarray:
    """The instance map of a palette, grey or colour image.

    Raises:
        SpecjaxError: it cannot be read, or what is an instance in it is not clear.
    """
    with opened(path) as image:
        found = stored(image)
        mode = image.mode
    name = repr(os.fspath(path))
    if found is None:
        raise SpecjaxError(f"{name} has mode {mode}: masks must be palette, grey or RGB images")
    values, colours = found
    if colours is None:
        if path.stem.endswith("_instanceIds") or _are_instance_ids(values):
            return _from_instance_ids(values, name)
        return _from_levels(values, name)
    return _from_colours(values, colours, name, indexed=mode == "P")


def stored(image: Image.Image) -> tuple[np.ndarray, np.ndarray | None] | None:
    """The values of the pixels and, if they are indices, the colours they stand for."""
    if image.mode == "1" or image.mode == "L" or image.mode.startswith("I"):
        return np.asarray(image).astype(np.int32), None
    if image.mode == "P" and "transparency" not in image.info:
        indices = np.asarray(image).astype(np.int32)
        palette = np.array(image.getpalette("RGB") or [], np.uint8).reshape(-1, 3)
        return _unless_grey(indices, palette)
    if image.mode not in ("P", "PA", "LA", "La", "RGB", "RGBX", "RGBA", "RGBa"):
        return None
    if image.mode == "La":
        image = image.convert("LA")
    pixels = np.array(image.convert("RGBA"))
    pixels[pixels[:, :, 3] < 128] = 0  # transparent is background
    packed, places = np.unique(_packed(pixels), return_inverse=True)
    colours = np.stack([packed >> 16, packed >> 8 & 255, packed & 255], axis=1)
    if (colours == colours[:, :1]).all():
        return pixels[:, :, 0].astype(np.int32), None
    return places.reshape(pixels.shape[:2]).astype(np.int32), colours


def _unless_grey(indices: np.ndarray, palette: np.ndarray):
    """The indices and their palette; no palette if it does not tell the indices apart.

    A palette in which index i has the grey level i is that of a grey image.
    """
    used = np.unique(indices)
    if used.max() >= len(palette):
        return indices, None
    colours = palette[used]
    distinct = len(np.unique(_packed(colours))) == len(used)
    if not distinct or (colours == used[:, None]).all():
        return indices, None
    return indices, palette


def _from_colours(
    indices: np.ndarray, colours: np.ndarray, name: str, *, indexed: bool
) -> np.ndarray:
    """The instance map of indices whose colours differ; `indexed` if the file has a palette."""
    used = np.unique(indices)
    packed, vocs = _packed(colours[used]), _packed(overlay.voc_colours())
    is_vocs = np.isin(packed, vocs)
    by_colour = is_vocs.all() or (packed == 0).any()
    # An index on most of the border is the background's, void, or that of an object that fills all.
    plausible = indexed and (used[0] > 0 or _commonest_on_border(indices) in (0, 255))
    if not by_colour and not plausible:
        raise SpecjaxError(
            f"{name} has no black pixel, and colours that are not VOC's, so that its background is"
            " not known: make the background black"
        )
    numbers = used.copy()
    if is_vocs.all():
        order = np.argsort(vocs)
        numbers = order[np.searchsorted(vocs, packed, sorter=order)]
    elif by_colour:
        numbers[used == 0] = len(colours)  # index 0 may be an instance
        numbers[packed == 0] = 0
    # Masks with a palette of their own have void at 255 too; a binary one has its object there.
    alone = by_colour and np.count_nonzero(packed) == 1
    is_void = (used == 255) & ~is_vocs & indexed & (not alone)
    numbers[is_void | (packed == vocs[-1])] = VOID
    table = np.zeros(used.max() + 1, np.int32)
    table[used] = numbers
    instances = table[indices]
    if by_colour and not is_vocs.all():
        _refuse_blurred(instances, name)
    return instances


def _from_levels(values: np.ndarray, name: str) -> np.ndarray:
    """The instance map of grey levels, or of indices without colours."""
    if values.min() < 0 or values.max() > 65535:
        raise SpecjaxError(f"{name} has values beyond 16 bits: save it with 8 or 16 bits")
    white = 255 if values.max() <= 255 else 65535
    instances, levels = values.copy(), np.unique(values[values > 0])
    if len(levels) < 2:  # a binary mask, whatever level it has
        return instances
    others = levels[levels != white]
    if others.max() <= _MAX_NUMBER:
        instances[instances == white] = VOID
        return instances
    if len(others) < len(levels):
        raise SpecjaxError(
            f"{name} has level {white}, which may be void or an instance, beside grey levels above"
            f" {_MAX_NUMBER}: number its instances from 1, with {white} as void"
        )
    vocs = np.asarray(Image.fromarray(overlay.voc_colours()[None]).convert("L"))[0]
    is_vocs = np.isin(levels, [*vocs[: _MAX_NUMBER + 1], vocs[-1]]).all()
    if is_vocs and (vocs[-1] in levels or len(levels) > _TOLD_APART_IN_GREY):
        raise SpecjaxError(
            f"{name} has grey levels above {_MAX_NUMBER}, those of VOC's colours: a palette image"
            " was converted to grey, which merges instances; take the original (mode P)"
        )
    _refuse_blurred(instances, name)
    return instances


def _are_instance_ids(values: np.ndarray) -> bool:
    """Whether there are instances of Cityscapes' classes, and other values are its classes."""
    numbers = np.unique(values)
    instances, classes = numbers[numbers >= _INSTANCES], numbers[numbers < _INSTANCES]
    known = np.isin(instances // _INSTANCES, _OBJECTS).all() and np.isin(classes, _CLASSES).all()
    return bool(known) and len(instances) > 0


def _from_instance_ids(values: np.ndarray, name: str) -> np.ndarray:
    classes = values < _INSTANCES
    if (classes & (values > 0)).any():
        remark(
            notes.CLASSES,
            f"{name} is an instanceIds map of Cityscapes: its values below 1000 are no instances",
        )
    instances = np.where(classes, 0, values).astype(np.int32)
    instances[np.isin(values, _OBJECTS)] = VOID
    return instances


def _refuse_blurred(instances: np.ndarray, name: str) -> None:
    """Raises SpecjaxError if most values look like shades of an edge: no square of 2x2 has them."""
    numbers = np.unique(instances[instances > 0])
    corner = instances[:-1, :-1]
    square = (corner == instances[1:, :-1]) & (corner == instances[:-1, 1:])
    square &= corner == instances[1:, 1:]
    shades = len(np.setdiff1d(numbers, corner[square]))
    if shades > 2 and 2 * shades > len(numbers):
        raise SpecjaxError(
            f"{name} has {len(numbers)} colours or grey levels, of which {shades} are on thin lines"
            " alone: it was resized with smoothing, or saved as JPEG; take the original"
        )


def _commonest_on_border(values: np.ndarray) -> int:
    border = np.concatenate([values[0], values[-1], values[:, 0], values[:, -1]])
    return int(np.bincount(border).argmax())


def _packed(colours: np.ndarray) -> np.ndarray:
    """Colours [..., 3 or more] as one number each."""
    red, green, blue = (colours[..., channel].astype(np.int32) for channel in range(3))
    return red << 16 | green << 8 | blue
