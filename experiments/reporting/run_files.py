"""The files of a run that a report reads, each checked once against a shape.

Whatever differs from the shape is an error of one line that names the file. The rest of the report
relies on the shapes and checks nothing again.
"""

import contextlib
import json
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

from experiments.results.columns import DIFFERENCES, FRACTIONS, SCORED, SCORES
from experiments.results.strata import STRATA
from specjax import SpecjaxError


def _number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < 1e18


def _share(value: Any) -> bool:
    return _number(value) and 0 <= value <= 1


_RESULT = {
    "metric": (str, None),
    "setting": (str, None),
    "images": (int, None),
    **dict.fromkeys((*FRACTIONS, *DIFFERENCES), (_number, None)),
}
_STRATUM = {"images": int, "miou": (_number, None), "published": (_number, None)}
_STRATA = {
    "metric": str,
    "strata_left_out": {key: {"below": int, "not_recorded": int} for key in STRATA},
    **{f"by_{measure}": [_STRATUM] * len(strata) for measure, strata in STRATA.items()},
}
_SUMMARY = {
    "config": {
        "binary": str,
        "dataset": {"name": str},
        "settings": [str, ...],
        "backbone": str,
        "checkpoint": (str, None),
    },
    "results": [({**_RESULT, "by_mbor": None}, {**_RESULT, **_STRATA}), ...],
    "failures": [{"id": str, "error": str}, ...],
    "warnings": [str, ...],
    "versions": dict,
    "seconds": dict,
}
_LINE = {"id": str, "setting": str, **dict.fromkeys(SCORES, (_share, None))}
_RUN = {"plain_names": (str, None)}


def fits(value: Any, shape: Any) -> bool:
    """Whether a JSON value has a shape.

    A shape is a type, None, a function that accepts values, a tuple of alternatives,
    `[shape, ...]` for a list of any length, `[a, b]` for a list of these two elements, or a dict
    for an object with these keys, others being free and a missing one counting as None.
    """
    match shape:
        case None:
            return value is None
        case type():
            return type(value) is shape
        case tuple():
            return any(fits(value, one) for one in shape)
        case [one, end] if end is ...:
            return type(value) is list and all(fits(item, one) for item in value)
        case list():
            return type(value) is list and len(value) == len(shape) and all(map(fits, value, shape))
        case dict():
            return type(value) is dict and all(fits(value.get(k), one) for k, one in shape.items())
    return shape(value)


def read_plain(path: pathlib.Path) -> str | None:
    """The setting whose files have plain names, from `run.json`."""
    with _naming(path):
        return _parsed(path.read_bytes(), _RUN).get("plain_names")


def read_summary(path: pathlib.Path) -> dict[str, Any]:
    """The summary: one result for each setting of its configuration, in their order."""
    with _naming(path):
        summary = _parsed(path.read_bytes(), _SUMMARY)
        settings = summary["config"]["settings"]
        if not 0 < len(set(settings)) == len(settings) == len(summary["results"]):
            raise ValueError(settings)
    if summary["config"]["binary"] not in SCORED:
        raise SpecjaxError(f"{path} is not of a run of any of {', '.join(SCORED)}")
    return summary


def read_scores(
    path: pathlib.Path, settings: Sequence[str]
) -> dict[str, dict[str, dict[str, float]]]:
    """The scores of these settings' lines, by setting, image and score."""
    scores = {setting: {} for setting in settings}
    with _naming(path), path.open("rb") as stream:
        for text in stream:
            if not text.endswith(b"\n"):
                break  # a process was interrupted, or is still writing
            line = _parsed(text, _LINE)
            if line["setting"] in scores:
                found = {name: float(line[name]) for name in SCORES if line.get(name) is not None}
                # As in the run itself, the first line of an image counts.
                scores[line["setting"]].setdefault(line["id"], found)
    return scores


def _parsed(text: bytes, shape: Any) -> Any:
    value = json.loads(text)
    if not fits(value, shape):
        raise ValueError(text)
    return value


@contextlib.contextmanager
def _naming(path: pathlib.Path) -> Iterator[None]:
    """Turns what goes wrong while a file is read into one error that names it."""
    try:
        yield
    except OSError as error:
        raise SpecjaxError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise SpecjaxError(
            f"{path} is damaged, or another version of this program wrote it; run the command that"
            " made it again, with --overwrite"
        ) from error
