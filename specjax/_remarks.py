"""What reading says of a file that it could read, to whoever listens; else it is a warning."""

import contextlib
import contextvars
import threading
import warnings
from collections.abc import Iterator

# Kinds of remarks.
FEW_BITS = "few_bits"

_heard: contextvars.ContextVar[list[str] | None] = contextvars.ContextVar("heard", default=None)
# warnings.catch_warnings is not thread-safe: two that overlap leave a filter behind.
_filters = threading.Lock()


@contextlib.contextmanager
def listening() -> Iterator[list[str]]:
    """Collect the kinds of the remarks of this thread, which are then no warnings."""
    kinds: list[str] = []
    token = _heard.set(kinds)
    try:
        yield kinds
    finally:
        _heard.reset(token)


def remark(kind: str, text: str) -> None:
    """Make a remark: `text` is a warning if nobody listens."""
    kinds = _heard.get()
    if kinds is not None:
        kinds.append(kind)
        return
    with _filters:  # another thread might be in `no_warnings`
        warnings.warn(text, stacklevel=3)


@contextlib.contextmanager
def no_warnings() -> Iterator[None]:
    """Suppress the warnings of other libraries."""
    with _filters, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
