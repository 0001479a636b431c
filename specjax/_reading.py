"""Reading ahead of the computation, and gathering what was read into batches.

Which items meet in a batch depends on their order alone, never on how long reading one takes.
"""

import collections
import concurrent.futures
from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Any, TypeVar

from specjax.errors import SpecjaxError

Item = TypeVar("Item")

# Threads that read, and items that they have read or begun before the first of them is needed.
_THREADS, _AHEAD = 2, 8
# Most bytes that may wait for a batch to fill.
_WAITING_BYTES = 2**30


def read_ahead(
    items: Iterable[Item], read: Callable[[Item], Any]
) -> Iterator[tuple[Item, Any | SpecjaxError]]:
    """Each item with what `read` makes of it, in order; a `SpecjaxError` is given, not raised."""
    waiting: collections.deque = collections.deque()
    with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
        try:
            for item in items:
                waiting.append((item, pool.submit(read, item)))
                if len(waiting) > _AHEAD:
                    yield _finished(*waiting.popleft())
            while waiting:
                yield _finished(*waiting.popleft())
        finally:
            pool.shutdown(cancel_futures=True)


def _finished(item: Item, reading: concurrent.futures.Future) -> tuple[Item, Any]:
    error = reading.exception()
    if isinstance(error, SpecjaxError):
        return item, error
    return item, reading.result()


def gather(
    items: Iterable[Item],
    *,
    key: Callable[[Item], Hashable],
    room: Callable[[Item], int],
    nbytes: Callable[[Item], int],
    most: int,
) -> Iterator[list[Item]]:
    """Lists of items of one key, in order of their filling.

    Args:
        items: what to gather.
        key: what the items of a list share.
        room: how many items the list of an item takes.
        nbytes: memory that an item takes.
        most: how many items may wait, whatever their size. Where more do, or their bytes are too
            many, the longest list is given before it is full.
    """
    pending: dict[Hashable, list[Item]] = {}
    count = size = 0
    for item in items:
        own = pending.setdefault(key(item), [])
        own.append(item)
        count, size = count + 1, size + nbytes(item)
        if len(own) < room(item):
            if count < most and size < _WAITING_BYTES:
                continue
            own = max(pending.values(), key=len)
        del pending[key(own[0])]
        count, size = count - len(own), size - sum(map(nbytes, own))
        yield own
    yield from pending.values()
