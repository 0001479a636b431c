"""A disk on which files cannot grow."""

import contextlib
import resource


@contextlib.contextmanager
def no_file_longer_than(most):
    """While the block runs, writing more than `most` bytes to a file fails."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
