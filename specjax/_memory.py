"""The memory of the process: keep freed blocks, and count memory maps."""

import ctypes
import platform

# Names and numbers of glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8
_NEVER = 2**31 - 1


def keep_freed_memory() -> None:
    """Keep large blocks of freed memory in the process, instead of returning them to the system.

    XLA allocates the memory of a program each time it runs. By default glibc lets the system map
    each large block anew, page by page, which takes longer than the work on a graph of a few
    thousand nodes. Call this before threads start. Without glibc it does nothing.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    try:
        set_option = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    # The arenas of other threads always map large blocks: one arena for all threads.
    for option, value in ((_ARENA_MAX, 1), (_MMAP_MAX, 0), (_TRIM_THRESHOLD, _NEVER)):
        set_option(option, value)


def memory_maps() -> int:
    """The number of memory maps of this process; 0 where the system does not list them."""
    try:
        with open("/proc/self/maps", "rb") as maps:
            return sum(1 for _ in maps)
    except OSError:
        return 0
