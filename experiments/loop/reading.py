"""From records to groups of decoded images: read ahead, and gathered by padded length."""

import collections
import concurrent.futures
import dataclasses
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from experiments.datasets.records import Record
from experiments.loop import truth
from experiments.loop.backbone import Backbone, Features
from experiments.loop.batches import Lanes
from specjax import images
from specjax.errors import SpecjaxError

# Images decoded ahead of those that a batch is made of.
_AHEAD = 8
# What waits at most for a batch of its length to fill: so many of the largest batches, and bytes.
_WAITING_BATCHES, _WAITING_BYTES = 4, 2**30


@dataclasses.dataclass(frozen=True)
class Decoded:
    """What is read of a record.

    Attributes:
        image: uint8 [H, W, 3] at its native size.
        prepared: what the backbone makes features of.
        truth: the annotation on the token grid; None without annotation.
        instances: the annotation at image resolution; None without annotation.
    """

    image: np.ndarray
    prepared: Features
    truth: truth.Truth | None
    instances: np.ndarray | None

    @property
    def nbytes(self) -> int:
        """Memory that it takes."""
        arrays = (self.image, self.prepared.source, self.instances)
        return sum(array.nbytes for array in arrays if array is not None)


@dataclasses.dataclass(frozen=True)
class Work:
    """A record, its place in the run, and the settings that it lacks."""

    record: Record
    position: int
    undone: tuple[str, ...]


# Records with what was read of them.
Pairs = list[tuple[Work, Decoded]]


def groups(
    missing: Iterable[Work],
    decode: Callable[[Record], Decoded],
    lanes: Lanes,
    failed: Callable[[Work, SpecjaxError], None],
) -> Iterator[Pairs]:
    """Decoded images of one padded length and with the same left to do, a batch of them at a time.

    Which images meet depends on their order alone. An image that cannot be read goes to `failed`.
    """
    pending: dict[tuple, Pairs] = {}
    for work, decoding in _ahead(missing, decode):
        try:
            decoded = decoding.result()
        except SpecjaxError as error:
            failed(work, error)
            continue
        key = (decoded.prepared.tokens, work.undone)
        pending.setdefault(key, []).append((work, decoded))
        if len(pending[key]) == lanes.room_for(key[0]):
            yield pending.pop(key)
        elif _too_many(pending, lanes):
            yield pending.pop(max(pending, key=lambda key: len(pending[key])))
    yield from pending.values()


def _too_many(pending: dict[tuple, Pairs], lanes: Lanes) -> bool:
    waiting = [decoded.nbytes for pairs in pending.values() for _, decoded in pairs]
    return len(waiting) >= _WAITING_BATCHES * lanes.most or sum(waiting) >= _WAITING_BYTES


def _ahead(
    missing: Iterable[Work], decode: Callable[[Record], Decoded]
) -> Iterator[tuple[Work, concurrent.futures.Future]]:
    """Start decoding a few records before they are needed."""
    waiting: collections.deque = collections.deque()
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        try:
            for work in missing:
                waiting.append((work, pool.submit(decode, work.record)))
                if len(waiting) > _AHEAD:
                    yield waiting.popleft()
            yield from waiting
        finally:
            pool.shutdown(cancel_futures=True)


def decode(record: Record, backbone: Backbone, image_size: int | None) -> Decoded:
    """Read a record, resize its image, and prepare it for the backbone."""
    image = record.read_image()
    instances = None if record.read_instances is None else record.read_instances()
    if instances is not None:
        truth.check_size(instances, image, record.source)
    resized = image
    if image_size is not None:
        resized = images.resize_short_side(image, image_size, name=record.source)
    prepared = backbone.prepare(record.id, resized)
    sampled = None
    if instances is not None:
        sampled = truth.on_grid(instances, prepared.grid, prepared.tokens)
    return Decoded(image, prepared, sampled, instances)
