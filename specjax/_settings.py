"""Checks of the settings of a `Segmenter` that neither `Config` nor the checkpoint makes."""

from collections.abc import Sequence
from typing import Any

from specjax.config import PROTOCOLS
from specjax.errors import SpecjaxError
from specjax.models.attention import DTYPES
from specjax.models.positions import POSITIONS

_CHOICES = {
    "protocol": tuple(PROTOCOLS),
    "pos_interpolation": POSITIONS,
    "dtype": tuple(DTYPES),
}
_RANGES = {"image_size": (1, 2**31 - 1), "batch_size": (1, 4096), "seed": (0, 2**32 - 1)}


def check_settings(settings: Any) -> None:
    """Raise SpecjaxError where a setting of a `Segmenter` is wrong."""
    for name, known in _CHOICES.items():
        value = getattr(settings, name)
        if value not in known:
            raise SpecjaxError(
                f"unknown {name} {value!r}: choose one of {', '.join(known)}", parameter=name
            )
    for name, (low, high) in _RANGES.items():
        value = getattr(settings, name)
        if value is not None or name == "seed":
            check_range(name, value, low, high)
    if settings.scales is not None:
        _check_scales(settings.scales, settings.image_size)


def _check_scales(scales: Sequence[int], image_size: int | None) -> None:
    if image_size is not None:
        raise SpecjaxError(
            f"image_size={image_size} and scales={scales}: give one of them", parameter="scales"
        )
    if not scales:
        raise SpecjaxError("scales are empty: give at least one short side", parameter="scales")
    for scale in scales:
        check_range("scales", scale, *_RANGES["image_size"])
    if list(scales) != sorted(set(scales)):
        raise SpecjaxError(f"scales={scales}: they must ascend", parameter="scales")


def check_range(name: str, value: int | None, low: int, high: int) -> None:
    """Raise SpecjaxError where a value is not an integer from `low` to `high`."""
    if type(value) is not int or not low <= value <= high:  # True is an int otherwise
        raise SpecjaxError(
            f"{name} is {value!r}: it must be an integer from {low} to {high}", parameter=name
        )
