"""Memory as the system gives it: what becomes of freed blocks, and how many maps there are."""

import ctypes
import platform

# Names and numbers of glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8
_NEVER = 2**31 - 1


def keep_freed_memory() -> None:
    """Give large blocks of memory that were freed to the next who asks, not to the system.

    XLA asks for a program's memory anew each time it runs. By default glibc has the system map
    every large block, page by page, each time, which takes longer than the work on a graph of a
    few thousand nodes. Call it before threads start; elsewhere than with glibc it does nothing.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    try:
        set_option = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    # Threads' own arenas always map large blocks, so there must be none.
    for option, value in ((_ARENA_MAX, 1), (_MMAP_MAX, 0), (_TRIM_THRESHOLD, _NEVER)):
        set_option(option, value)


def memory_maps() -> int:
    """How many this process has; 0 where the system does not tell."""
    try:
        with open("/proc/self/maps", "rb") as maps:
            return sum(1 for _ in maps)
    except OSError:
        return 0
