"""DINO's crops of a person's own images: two large ones and some small ones, each changed anew.

Crops are a function of the images, the seed and the step alone, so that a resumed training sees
what an uninterrupted one would have seen.
"""

import concurrent.futures
import dataclasses
import sys
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from experiments.datasets.records import Record
from experiments.pretraining.dino_objective import CropShapes
from experiments.pretraining.training import Batch
from specjax import images
from specjax.errors import SpecjaxError

LARGE_CROPS = 2
# Shares of the image's area that a crop may take.
_LARGE_SHARE, _SMALL_SHARE = (0.4, 1.0), (0.05, 0.4)
_ASPECT = (3 / 4, 4 / 3)
# Of the first large crop, the second, and the small ones, as in DINO.
_BLUR, _SMALL_BLUR = (1.0, 0.1), 0.5
_SOLARIZE = (0.0, 0.2)
_AHEAD = 2


@dataclasses.dataclass(frozen=True)
class CropBatches:
    """The stream; `batches(start)` begins at any step, as an uninterrupted one would go on.

    Attributes:
        records: the images; those that cannot be read are passed over, each with one line.
        seed: of order and crops.
        size: images of a batch.
        small_crops: small crops of an image.
        large_side: side of a large crop in pixels, a multiple of the patch.
        small_side: side of a small crop.
        patch_size: of the backbone.
        mean: per colour, subtracted from pixels in [0, 1].
        std: per colour, what the difference is divided by.
        workers: threads that decode.
    """

    records: Sequence[Record]
    seed: int
    size: int
    small_crops: int
    large_side: int
    small_side: int
    patch_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    workers: int = 1
    _told: set[str] = dataclasses.field(default_factory=set)

    def batches(self, start: int = 0) -> Iterator[Batch]:
        """Batches from step `start` on, made ahead of their use."""
        pool = concurrent.futures.ThreadPoolExecutor(self.workers)
        try:
            waiting = [self._submit(pool, start + ahead) for ahead in range(_AHEAD)]
            while True:
                parts = [future.result() for future in waiting.pop(0)]
                start += 1
                waiting.append(self._submit(pool, start + _AHEAD - 1))
                large, small = zip(*parts, strict=True)
                yield Batch((np.stack(large), np.stack(small)), self._shapes())
        finally:
            pool.shutdown(cancel_futures=True)

    def _shapes(self) -> CropShapes:
        large, small = self.large_side // self.patch_size, self.small_side // self.patch_size
        return CropShapes((large, large), (small, small))

    def _submit(self, pool, step: int) -> list[concurrent.futures.Future]:
        places = range(step * self.size, (step + 1) * self.size)
        return [pool.submit(self._crops_at, place) for place in places]

    def _crops_at(self, place: int) -> tuple[np.ndarray, np.ndarray]:
        """The crops of the image at a place of the endless sequence of epochs."""
        image = self._read(place)
        rng = np.random.default_rng((self.seed, 1, place))
        large = [
            self._crop(rng, image, self.large_side, _LARGE_SHARE, _BLUR[i], _SOLARIZE[i])
            for i in range(LARGE_CROPS)
        ]
        small = [
            self._crop(rng, image, self.small_side, _SMALL_SHARE, _SMALL_BLUR, 0.0)
            for _ in range(self.small_crops)
        ]
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
                if record.id not in self._told:
                    self._told.add(record.id)
                    # One write: two threads may tell at once, and `print` writes the end apart.
                    sys.stderr.write(f"skipped {record.id}: {error}\n")
        raise SpecjaxError("none of the images can be read")

    def _crop(self, rng, image, side, shares, blur, solarize) -> np.ndarray:
        crop = image.resize(
            (side, side), Image.Resampling.BICUBIC, box=random_box(rng, image.size, shares)
        )
        pixels = np.asarray(changed(rng, crop, blur=blur, solarize=solarize))
        normal = images.normalize(pixels, self.mean, self.std)
        return images.patchify(normal, self.patch_size)


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
