"""The seconds that each stage of a run takes."""

import collections
import contextlib
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any


class Stopwatch:
    """Seconds by stage, summed over all threads of this process."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = collections.defaultdict(float)
        self._start = time.perf_counter()
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Count the time inside the block under `stage`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            with self._lock:
                self.seconds[stage] += time.perf_counter() - start

    def waiting_for(self, stage: str, items: Iterable[Any]) -> Iterator[Any]:
        """The items; the time spent waiting for each counts under `stage`."""
        iterator = iter(items)
        while True:
            try:
                with self(stage):
                    item = next(iterator)
            except StopIteration:
                return
            yield item

    def total(self) -> float:
        """Seconds since the stopwatch was created."""
        return time.perf_counter() - self._start
