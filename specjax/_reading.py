"""Read items ahead of the computation, and gather them into batches.

The items of a batch depend on the order of all items only, not on the time that reading takes.
"""

import collections
import concurrent.futures
from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Any, TypeVar

from specjax._memory import in_smaller_parts
from specjax.errors import SpecjaxError

Item = TypeVar("Item")

# Threads that read, and how many items they read ahead.
_THREADS, _AHEAD = 2, 8
# Bytes of items that may wait for their batches to fill.
_WAITING_BYTES = 2**30


def read_ahead(
    items: Iterable[Item], read: Callable[[Item], Any]
) -> Iterator[tuple[Item, Any | SpecjaxError]]:
    """Each item with the result of `read`, in order; a `SpecjaxError` is yielded, not raised."""
    waiting: collections.deque = collections.deque()
    with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
        try:
            for item in items:
                waiting.append((item, pool.submit(read, item)))
                if len(waiting) > _AHEAD:
                    yield _finished(read, *waiting.popleft())
            while waiting:
                yield _finished(read, *waiting.popleft())
        finally:
            pool.shutdown(cancel_futures=True)


def _finished(
    read: Callable[[Item], Any], item: Item, reading: concurrent.futures.Future
) -> tuple[Item, Any]:
    error = reading.exception()
    if isinstance(error, SpecjaxError):
        return item, error
    if isinstance(error, MemoryError):  # other threads may have had it
        _, found = next(in_smaller_parts([item], lambda part: read(part[0])))
        return item, found
    return item, reading.result()


def gather(
    items: Iterable[Item],
    *,
    key: Callable[[Item], Hashable],
    room: Callable[[Item], int],
    nbytes: Callable[[Item], int],
    most: int,
) -> Iterator[list[Item]]:
    """Gather items with equal keys into lists, and yield each list when it is full.

    Args:
        items: the items.
        key: the key of an item.
        room: how many items fill the list of an item.
        nbytes: memory of an item in bytes.
        most: how many items may wait. Where this many do, or their memory is too large, the longest
            list is yielded before it is full.
    """
    pending: dict[Hashable, list[Item]] = {}
    count = size = 0
    for item in items:
        batch = pending.setdefault(key(item), [])
        batch.append(item)
        count, size = count + 1, size + nbytes(item)
        if len(batch) < room(item):
            if count < most and size < _WAITING_BYTES:
                continue
            batch = max(pending.values(), key=len)
        del pending[key(batch[0])]
        count, size = count - len(batch), size - sum(map(nbytes, batch))
        yield batch
    yield from pending.values()
