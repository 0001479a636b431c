"""The annotation of an image: read together with it, and sampled on the token grid."""

import collections
import dataclasses

import numpy as np

from experiments.datasets import notes
from experiments.datasets.records import VOID, Record, compact_ids
from specjax import SpecjaxError
from specjax._exif import Header, turned
from specjax._remarks import listening
from specjax.images import read_header


@dataclasses.dataclass(frozen=True, eq=False)
class Truth:
    """The annotated instances on the token grid, flat and padded."""

    instances: np.ndarray  # int32, 0 background, 1 to `count` instances; 0 for void and padding
    counted: np.ndarray  # bool, tokens that count in scores: no void, no padding
    count: int  # number of instances that are left on the grid


def on_grid(instances: np.ndarray, grid: tuple[int, int], tokens: int) -> Truth:
    """Sample an instance map `[H, W]` on the grid, and pad it to `tokens`.

    Token (i, j) takes pixel (floor(i H / h), floor(j W / w)) of the whole, uncropped map.
    """
    height, width = grid
    rows = np.arange(height) * instances.shape[0] // height
    columns = np.arange(width) * instances.shape[1] // width
    sampled = compact_ids(instances[rows[:, None], columns[None, :]]).ravel()
    counted = np.pad(sampled != VOID, (0, tokens - sampled.size))
    flat = np.pad(np.where(sampled == VOID, 0, sampled), (0, tokens - sampled.size))
    return Truth(flat, counted, int(flat.max(initial=0)))


def read_both(record: Record) -> tuple[np.ndarray, np.ndarray | None]:
    """The image and the instance map of a record, if it has one; they have the same size.

    An annotation may have been drawn on the image as stored, or as its EXIF orientation turns it.
    Their sizes decide, where `record.upright` does not. Where both fit, the image is turned, as
    most programs show it, and noted.

    Raises:
        SpecjaxError: one of them cannot be read, or they differ in size.
    """
    with listening() as remarks:
        image = record.read_image()
        instances = None if record.read_instances is None else record.read_instances()
    if instances is not None:
        image = _as_annotated(image, instances, record)
        check_size(instances, image, record.source)
    record.notes.update(collections.Counter(remarks))
    return image, instances


def _as_annotated(image: np.ndarray, instances: np.ndarray, record: Record) -> np.ndarray:
    """An image as stored, or turned upright, whichever was annotated."""
    size = image.shape[:2]
    header = Header(size, _orientation(record.source))
    upright = record.upright
    if header.orientation == 1 or upright is False:
        return image
    if upright is None:
        upright = instances.shape == header.shown
        if upright and header.shown == size:
            record.notes[notes.UNCLEAR] = 1
    return turned(image, header.orientation) if upright else image


def _orientation(source: str) -> int:
    try:
        return read_header(source).orientation
    except SpecjaxError:  # a drawn scene
        return 1


def check_size(instances: np.ndarray, image: np.ndarray, source: str) -> None:
    """Raises SpecjaxError if the map and the image differ in size."""
    if instances.shape != image.shape[:2]:
        raise SpecjaxError(
            f"{source}: the image is {image.shape[1]}x{image.shape[0]}, its annotation"
            f" {instances.shape[1]}x{instances.shape[0]}; one of them belongs to another image"
        )
