"""Reading ahead, and the items of a batch."""

import itertools
import threading

import pytest

from specjax import SpecjaxError
from specjax._reading import gather, read_ahead


def halved(number):
    if number % 5 == 0:
        raise SpecjaxError(f"{number} is bad")
    return number / 2


def test_items_come_in_order_and_errors_are_values():
    found = list(read_ahead(iter(range(1, 33)), halved))
    assert [number for number, _ in found] == list(range(1, 33))
    for number, result in found:
        if number % 5 == 0:
            assert isinstance(result, SpecjaxError) and str(result) == f"{number} is bad"
        else:
            assert result == number / 2
    assert list(read_ahead([], halved)) == []


def test_the_order_does_not_depend_on_how_long_reading_takes():
    """The first item is read last of those that are read ahead."""
    others = threading.Event()

    def read(number):
        if number == 0:
            assert others.wait(timeout=60)
        elif number == 5:
            others.set()
        return number

    assert [found for _, found in read_ahead(range(12), read)] == list(range(12))


def test_only_a_few_are_read_ahead():
    taken = []

    def items():
        for number in itertools.count(1):
            taken.append(number)
            yield number

    reading = read_ahead(items(), lambda number: number)
    next(reading)
    assert 2 <= len(taken) <= 16
    threads = threading.active_count()
    reading.close()
    assert threading.active_count() < threads


def test_other_errors_are_raised():
    reading = read_ahead([1, 0, 2], lambda number: 1 // number)
    assert next(reading) == (1, 1)
    with pytest.raises(ZeroDivisionError):
        next(reading)


def test_memory_that_runs_out_in_reading():
    """An item is tried again, as others have had the memory; then it fails alone."""
    tried = []

    def read(number):
        tried.append(number)
        if number == 2 or (number == 3 and tried.count(3) == 1):
            raise MemoryError
        return number

    found = dict(read_ahead([1, 2, 3, 4], read))
    assert found.pop(2).parameter == "image_size" and found == {1: 1, 3: 3, 4: 4}
    assert tried.count(2) == tried.count(3) == 2


def gathered(items, *, room, nbytes=1, most=100):
    """Lists of (key, number) by their numbers."""
    numbered = [(key, number) for number, key in enumerate(items)]
    lists = gather(
        numbered, key=lambda item: item[0], room=lambda _: room, nbytes=lambda _: nbytes, most=most
    )
    return [[number for _, number in items] for items in lists]


def test_items_of_a_key_meet():
    assert gathered("abaabb", room=2) == [[0, 2], [1, 4], [3], [5]]
    assert gathered("abaabb", room=3) == [[0, 2, 3], [1, 4, 5]]
    assert gathered("abc", room=1) == [[0], [1], [2]]
    assert gathered("", room=3) == []


def test_few_items_wait():
    """Where too many items wait, the longest list is given before it is full; none is lost."""
    assert gathered("abbcdef", room=3, most=4) == [[1, 2], [0], [3], [4], [5], [6]]
    found = gathered("abcd" * 5, room=9, nbytes=2**27)
    assert max(map(len, found)) < 5
    assert sorted(itertools.chain(*found)) == list(range(20))
