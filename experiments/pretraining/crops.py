"""DINO's crops of a person's own images: two large ones and some small ones, each changed anew.

Crops are a function of the images, the seed and the step alone, so that a resumed training sees
what an uninterrupted one would have seen.
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
from experiments.pretraining.dino_objective import CropShapes
from experiments.pretraining.streams import Batch, Colours, made_ahead
from specjax import SpecjaxError, cut_patches

_ASPECT = (3 / 4, 4 / 3)


class _Kind(NamedTuple):
    """How a crop is made: its share of the image's area, and how likely two changes are."""

    shares: tuple[float, float]
    blur: float
    solarize: float


# As in DINO.
_LARGE = (_Kind((0.4, 1.0), blur=1.0, solarize=0.0), _Kind((0.4, 1.0), blur=0.1, solarize=0.2))
_SMALL = _Kind((0.05, 0.4), blur=0.5, solarize=0.0)


@dataclasses.dataclass(frozen=True)
class CropBatches:
    """The stream.

    Attributes:
        records: the images; those that cannot be read are passed over, each with one line.
        patch_size: of the backbone.
        colours: mean and deviation that its images are normalised with.
        seed: of order and crops.
        batch_size: images of a batch.
        small_crops: small crops of an image.
        large_side: side of a large crop in pixels, a multiple of the patch.
        small_side: side of a small crop, likewise.
        workers: threads that decode.
    """

    records: Sequence[Record]
    patch_size: int
    colours: Colours
    seed: int
    batch_size: int
    small_crops: int
    large_side: int
    small_side: int
    workers: int = 1
    _reported: set[str] = dataclasses.field(default_factory=set)

    def __post_init__(self):
        for name in ("large_side", "small_side"):
            if getattr(self, name) % self.patch_size:
                raise SpecjaxError(
                    f"--{name}={getattr(self, name)} must be a multiple of the patch,"
                    f" {self.patch_size}"
                )

    def batches(self, start: int = 0) -> Iterator[Batch]:
        """Batches from step `start` on; see `Stream`."""
        large, small = self.large_side // self.patch_size, self.small_side // self.patch_size
        shapes = CropShapes((large, large), (small, small))
        pool = concurrent.futures.ThreadPoolExecutor(self.workers)

        def submit(step: int) -> list[concurrent.futures.Future]:
            places = range(step * self.batch_size, (step + 1) * self.batch_size)
            return [pool.submit(self._crops_at, place) for place in places]

        with contextlib.closing(made_ahead(pool, submit, start, ahead=2)) as images:
            for crops in images:
                arrays = tuple(np.stack(kind) for kind in zip(*crops, strict=True))
                yield Batch(arrays, shapes)

    def _crops_at(self, place: int) -> tuple[np.ndarray, np.ndarray]:
        """The crops of the image at a place of the endless sequence of epochs."""
        image = self._read(place)
        rng = np.random.default_rng((self.seed, 1, place))
        large = [self._crop(rng, image, self.large_side, kind) for kind in _LARGE]
        small = [self._crop(rng, image, self.small_side, _SMALL) for _ in range(self.small_crops)]
        tokens = (self.small_side // self.patch_size) ** 2
        nothing = np.zeros((0, tokens, self.patch_size**2 * 3), np.float32)
        return np.stack(large), np.stack(small) if small else nothing

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
                    # One write: `print` writes the end of the line apart, and threads may meet.
                    sys.stderr.write(f"skipped {record.id}: {error}\n")
        raise SpecjaxError("none of the images can be read")

    def _crop(
        self, rng: np.random.Generator, image: Image.Image, side: int, kind: _Kind
    ) -> np.ndarray:
        box = random_box(rng, image.size, kind.shares)
        crop = image.resize((side, side), Image.Resampling.BICUBIC, box=box)
        pixels = np.asarray(changed(rng, crop, blur=kind.blur, solarize=kind.solarize))
        mean, std = self.colours
        return cut_patches(
            pixels, patch_size=self.patch_size, mean=mean, std=std, padded=False
        ).values


def random_box(
    rng: np.random.Generator, size: tuple[int, int], shares: tuple[float, float]
) -> tuple[float, float, float, float]:
    """Left, top, right, bottom of a random part of an image of this width and height."""
    width, height = size
    area = rng.uniform(*shares) * width * height
    aspect = np.exp(rng.uniform(np.log(_ASPECT[0]), np.log(_ASPECT[1])))
    # Parts that would stick out lose their aspect before their place.
    wide = min(max(np.sqrt(area * aspect), 1.0), width)
    high = min(max(area / wide, 1.0), height)
    left, top = rng.uniform(0, width - wide), rng.uniform(0, height - high)
    return float(left), float(top), float(left + wide), float(top + high)


def changed(
    rng: np.random.Generator, image: Image.Image, *, blur: float, solarize: float
) -> Image.Image:
    """Mirrored, other colours, grey, blurred and solarised, each with its probability."""
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
    """Brightness and contrast by up to 40 %, saturation by 20 %, hue by a tenth of the circle."""
    image = ImageEnhance.Brightness(image).enhance(rng.uniform(0.6, 1.4))
    image = ImageEnhance.Contrast(image).enhance(rng.uniform(0.6, 1.4))
    image = ImageEnhance.Color(image).enhance(rng.uniform(0.8, 1.2))
    hue, saturation, value = image.convert("HSV").split()
    shift = int(rng.integers(-26, 27))
    hue = hue.point([(level + shift) % 256 for level in range(256)])
    return Image.merge("HSV", (hue, saturation, value)).convert("RGB")
