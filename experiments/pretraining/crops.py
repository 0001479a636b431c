"""DINO's crops of a user's own images: two large ones and some small ones, randomly changed.

Crops depend only on the images, the seed and the step, so that a resumed training sees the same as
an uninterrupted one.
"""

import concurrent.futures
import contextlib
import dataclasses
import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from experiments.datasets.records import Record
from experiments.pretraining.training import Batch, Colours, made_ahead
from specjax import SpecjaxError, cut_patches

_ASPECT = (3 / 4, 4 / 3)


class _Kind(NamedTuple):
    """The range of a crop's share of the image's area, and the probabilities of two changes."""

    shares: tuple[float, float]
    blur: float
    solarize: float


# The values of DINO.
_LARGE = (_Kind((0.4, 1.0), blur=1.0, solarize=0.0), _Kind((0.4, 1.0), blur=0.1, solarize=0.2))
_SMALL = _Kind((0.05, 0.4), blur=0.5, solarize=0.0)


@dataclasses.dataclass(frozen=True)
class CropBatches:
    """An endless stream of batches of `batch_size` images, each with two large crops.

    Images that cannot be read are skipped, with a line for each. Sides are in pixels and multiples
    of the patch size; `workers` threads decode.
    """

    records: Sequence[Record]
    seed: int
    patch_size: int
    colours: Colours
    batch_size: int
    small_crops: int
    large_side: int
    small_side: int
    workers: int = 1
    _reported: set[str] = dataclasses.field(default_factory=set)

    def batches(self, start: int = 0) -> Iterator[Batch]:
        """Batches from step `start` on; their `shape` has the grids of large and of small crops."""
        sides = (self.large_side // self.patch_size, self.small_side // self.patch_size)
        shape = tuple((side, side) for side in sides)
        pool = concurrent.futures.ThreadPoolExecutor(self.workers)

        def submit(step: int) -> list[concurrent.futures.Future]:
            places = range(step * self.batch_size, (step + 1) * self.batch_size)
            return [pool.submit(self._crops_at, place) for place in places]

        with contextlib.closing(made_ahead(pool, submit, start, ahead=2)) as images:
            for crops in images:
                large, small = zip(*crops, strict=True)
                yield Batch((np.stack(large), np.stack(small)), shape)

    def _crops_at(self, place: int) -> tuple[np.ndarray, np.ndarray]:
        """The crops of the image at a place in the endless sequence of epochs."""
        image = self._read(place)
        rng = np.random.default_rng((self.seed, 1, place))
        large = [self._crop(rng, image, self.large_side, kind) for kind in _LARGE]
        small = [self._crop(rng, image, self.small_side, _SMALL) for _ in range(self.small_crops)]
        tokens = (self.small_side // self.patch_size) ** 2
        empty = np.zeros((0, tokens, self.patch_size**2 * 3), np.float32)
        return np.stack(large), np.stack(small) if small else empty

    def _read(self, place: int) -> Image.Image:
        """The image at a place, or the next one of its epoch that can be read."""
        epoch, index = divmod(place, len(self.records))
        order = np.random.default_rng((self.seed, 0, epoch)).permutation(len(self.records))
        for number in np.roll(order, -index):
            record = self.records[number]
            try:
                return Image.fromarray(record.read_image())
            except SpecjaxError as error:
                if record.id not in self._reported:
                    self._reported.add(record.id)
                    # `print` writes the end of the line separately, and threads may interfere.
                    sys.stderr.write(f"skipped {record.id}: {error}\n")
        raise SpecjaxError("none of the images can be read")

    def _crop(
        self, rng: np.random.Generator, image: Image.Image, side: int, kind: _Kind
    ) -> np.ndarray:
        box = random_box(rng, image.size, kind.shares)
        crop = image.resize((side, side), Image.Resampling.BICUBIC, box=box)
        crop = changed(rng, crop, blur=kind.blur, solarize=kind.solarize)
        (mean, std), pixels = self.colours, np.asarray(crop)
        cut = cut_patches(pixels, patch_size=self.patch_size, mean=mean, std=std, padded=False)
        return cut.values


def random_box(
    rng: np.random.Generator, size: tuple[int, int], shares: tuple[float, float]
) -> tuple[float, float, float, float]:
    """Left, top, right, bottom of a random part of an image of the given width and height."""
    width, height = size
    area = rng.uniform(*shares) * width * height
    aspect = np.exp(rng.uniform(np.log(_ASPECT[0]), np.log(_ASPECT[1])))
    # A part that does not fit gets another aspect.
    wide = min(max(np.sqrt(area * aspect), 1.0), width)
    high = min(max(area / wide, 1.0), height)
    left, top = rng.uniform(0, width - wide), rng.uniform(0, height - high)
    return float(left), float(top), float(left + wide), float(top + high)


def changed(
    rng: np.random.Generator, image: Image.Image, *, blur: float, solarize: float
) -> Image.Image:
    """The image mirrored, recoloured, grey, blurred and solarised, each with its probability."""
    if rng.random() < 0.5:
        image = ImageOps.mirror(image)
    if rng.random() < 0.8:
        image = _other_colours(rng, image)
    if rng.random() < 0.2:
        image = ImageOps.grayscale(image).convert("RGB")
    if rng.random() < blur:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.1, 2.0)))
    if rng.random() < solarize:
        image = ImageOps.solarize(image, 128)
    return image


def _other_colours(rng: np.random.Generator, image: Image.Image) -> Image.Image:
    """Change brightness and contrast by up to 40 %, saturation by 20 %, hue by 26 of 256."""
    image = ImageEnhance.Brightness(image).enhance(rng.uniform(0.6, 1.4))
    image = ImageEnhance.Contrast(image).enhance(rng.uniform(0.6, 1.4))
    image = ImageEnhance.Color(image).enhance(rng.uniform(0.8, 1.2))
    hue, saturation, value = image.convert("HSV").split()
    shift = int(rng.integers(-26, 27))
    hue = hue.point([(level + shift) % 256 for level in range(256)])
    return Image.merge("HSV", (hue, saturation, value)).convert("RGB")
