"""The memory of the process: keep freed blocks, count memory maps, do less where it runs out."""

import ctypes
import platform
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import jax

from specjax.errors import SpecjaxError

Item = TypeVar("Item")
Result = TypeVar("Result")

# Names and numbers of glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8
_NEVER = 2**31 - 1


def keep_freed_memory() -> None:
    """Keep large blocks of freed memory in the process, instead of returning them to the system.

    XLA allocates the memory of a program each time it runs. By default glibc lets the system map
    each large block anew, page by page, which takes longer than the work on a graph of a few
    thousand nodes. It still does so for blocks above 64 MB of other threads than the main one: a
    single arena for all threads would keep these too, but the threads of XLA that compile would
    wait for each other. There are enough arenas for a thread not to share one. Without glibc this
    does nothing.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    try:
        set_option = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    for option, value in ((_ARENA_MAX, 128), (_MMAP_MAX, 0), (_TRIM_THRESHOLD, _NEVER)):
        set_option(option, value)


def memory_maps() -> int:
    """The number of memory maps of this process; 0 where the system does not list them."""
    try:
        with open("/proc/self/maps", "rb") as maps:
            return sum(1 for _ in maps)
    except OSError:
        return 0


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on the host or on a device."""
    if isinstance(error, jax.errors.JaxRuntimeError):
        text = str(error).lower()
        return any(words in text for words in ("resource_exhausted", "out of memory", "bad_alloc"))
    return isinstance(error, MemoryError)


def does_not_fit() -> SpecjaxError:
    """The error of an image that does not fit into memory, even alone."""
    return SpecjaxError(
        "it does not fit into memory, even alone: scale the image down", parameter="image_size"
    )


def in_smaller_parts(
    items: Sequence[Item], compute: Callable[[Sequence[Item]], Result]
) -> Iterator[tuple[Sequence[Item], Result | SpecjaxError]]:
    """Compute items together or, where memory runs out, in parts of half as many, and so on.

    Yields:
        The items of each part, in order, with their result; a single item that does not fit into
        memory with a `SpecjaxError`.
    """
    parts = [items]
    while parts:
        part = parts.pop()
        try:
            found = compute(part)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        else:
            yield part, found
            continue
        # Here, the arrays of the attempt are free: the error no longer refers to them.
        if len(part) == 1:
            yield part, does_not_fit()
        else:
            half = len(part) // 2
            parts += [part[half:], part[:half]]
