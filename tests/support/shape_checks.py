"""The checks of types and shapes that tests put on the functions of the package."""

from beartype import beartype


def check(function):
    """`beartype`, but not of a function inside of another one: it would be made anew each time."""
    return function if "<locals>" in function.__qualname__ else beartype(function)
