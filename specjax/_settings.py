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
        problem = _problem_of_scales(settings)
        if problem:
            raise SpecjaxError(f"scales={settings.scales}: {problem}", parameter="scales")


def _problem_of_scales(settings: Any) -> str | None:
    """What is wrong with the scales of a `Segmenter`."""
    scales, (least, most) = settings.scales, _RANGES["image_size"]
    if not isinstance(scales, Sequence) or not scales:
        return "give a list of short sides, as in (480, 960)"
    if any(type(scale) is not int or not least <= scale <= most for scale in scales):
        return f"each must be an integer from {least} to {most}"
    if list(scales) != sorted(set(scales)):
        return "they must ascend"
    if settings.image_size is not None:
        return f"give them or image_size={settings.image_size}, not both"
    if settings.method != "dsi":
        return f"only automatic masks have several, not {settings.method}"
    return None


def check_range(name: str, value: int | None, low: int, high: int) -> None:
    """Raise SpecjaxError where a value is not an integer from `low` to `high`."""
    if type(value) is not int or not low <= value <= high:  # True is an int otherwise
        raise SpecjaxError(
            f"{name} is {value!r}: it must be an integer from {low} to {high}", parameter=name
        )
