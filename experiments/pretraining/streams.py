"""What steps learn from: endless streams of batches, made ahead of their use."""

import collections
import concurrent.futures
import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np

# Mean and deviation that a model's images are normalised with.
Colours = tuple[tuple[float, float, float], tuple[float, float, float]]


class Batch(NamedTuple):
    """What a step learns from.

    Attributes:
        arrays: the first axis of each is the images.
        shape: what the loss must know of them beside, hashable; a new value compiles anew.
    """

    arrays: tuple[np.ndarray, ...]
    shape: Any


class Stream(Protocol):
    """Endless batches, the same for the same settings and step."""

    def batches(self, start: int = 0) -> Iterator[Batch]:
        """Batches from step `start` on, as an uninterrupted stream would go on."""


def made_ahead(
    pool: concurrent.futures.Executor,
    submit: Callable[[int], list[concurrent.futures.Future]],
    start: int,
    *,
    ahead: int,
) -> Iterator[list[Any]]:
    """The results of `submit(start)`, `submit(start + 1)` and so on, `ahead` of them begun early.

    The pool is shut down when the generator is closed.
    """
    try:
        waiting = collections.deque(submit(start + number) for number in range(ahead))
        for number in itertools.count(start + ahead):
            found = [future.result() for future in waiting.popleft()]
            waiting.append(submit(number))
            yield found
    finally:
        pool.shutdown(cancel_futures=True)
