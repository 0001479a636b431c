"""A run's files, read as data of the shapes that this program writes and no others.

They may come from anywhere. Whatever else they hold is an error that names the file.
"""

import json
import math
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

from experiments.results.strata import STRATA
from specjax.errors import SpecjaxError

BINARIES = ("instance", "segment", "fgbg", "ablation", "sweep", "channels", "similarity")
# Keys of a line that are means in the summary, the first of them what a run is about.
SCORES = ("miou", "f_score", "f_score_raw", "best_channel_miou", "method_miou")
_NUMBERS = (*SCORES, "published", "difference", "images")
# Larger numbers are not of this program's making.
_LARGEST = 1e18


def read_summary(path: pathlib.Path) -> dict[str, Any]:
    """The summary, its parts in the shapes that the page relies on."""
    summary = _parsed(path, _text(path))
    config = summary.get("config") if isinstance(summary, dict) else None
    if not isinstance(config, dict) or config.get("binary") not in BINARIES:
        raise SpecjaxError(f"{path} is not of a run of any of {', '.join(BINARIES)}")
    results, settings = summary.get("results"), config.get("settings")
    sound = (
        isinstance(config.get("dataset"), dict)
        and _are(str, settings)
        and _are(dict, results)
        and len(results) == len(settings) == len(set(settings)) > 0
        and all(map(_is_result, results))
        and _are(dict, summary.get("failures"))
        and _are(str, summary.get("warnings"))
        and all(isinstance(summary.get(key), dict) for key in ("versions", "seconds"))
    )
    if not sound:
        raise _damaged(path)
    return summary


def _is_result(result: dict[str, Any]) -> bool:
    """Whether tables can be made of it: plain values, and strata where there are any."""
    for key, value in result.items():
        if key.startswith("by_"):
            if not _are(dict, value):
                return False
            if not all(_is_plain(*item) for entry in value for item in entry.items()):
                return False
        elif not isinstance(value, dict) and not _is_plain(key, value):  # objects are not shown
            return False
    return "by_mbor" not in result or _has_strata(result)


def _has_strata(result: dict[str, Any]) -> bool:
    """Whether `strata` can make its tables of it."""
    counts = result.get("strata_left_out")
    if "metric" not in result or not isinstance(counts, dict):
        return False
    for measure, strata in STRATA.items():
        entries, left_out = result.get(f"by_{measure}"), counts.get(measure)
        if not isinstance(entries, list) or len(entries) != len(strata):
            return False
        if not all({"images", "miou", "published"} <= entry.keys() for entry in entries):
            return False
        if not isinstance(left_out, dict):
            return False
        if not _are(int, [left_out.get("below"), left_out.get("not_recorded")]):
            return False
    return True


def _is_plain(key: str, value: Any) -> bool:
    if isinstance(value, int | float):
        return abs(value) < _LARGEST
    return value is None or (isinstance(value, str) and key not in _NUMBERS)


def read_scores(path: pathlib.Path, settings: Sequence[str]) -> tuple[dict, dict]:
    """The scores by setting, score and image, and the images by setting."""
    scores = {setting: {score: {} for score in SCORES} for setting in settings}
    images: dict[str, dict[str, None]] = {setting: {} for setting in settings}
    for line in _objects(path):
        setting, image = line.get("setting"), line.get("id")
        if not isinstance(image, str) or not isinstance(setting, str):
            raise _damaged(path)
        # As the run itself has it: of two lines of an image the first counts.
        if setting not in scores or image in images[setting]:
            continue
        images[setting][image] = None
        for score in SCORES:
            value = line.get(score)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise _damaged(path)
            if not 0 <= value <= 1:
                raise _damaged(path)
            scores[setting][score][image] = float(value)
    return scores, {setting: list(found) for setting, found in images.items()}


def _objects(path: pathlib.Path) -> Iterator[dict[str, Any]]:
    try:
        with path.open("rb") as stream:
            for raw in stream:
                if not raw.endswith(b"\n"):
                    break  # a process was interrupted, or is at work
                line = _parsed(path, raw)
                if not isinstance(line, dict):
                    raise _damaged(path)
                yield line
    except OSError as error:
        raise _unreadable(path, error) from error


def read_plain(path: pathlib.Path) -> str | None:
    """The setting whose files have plain names."""
    content = _parsed(path, _text(path))
    plain = content.get("plain_names") if isinstance(content, dict) else 0
    if not isinstance(plain, str | None):
        raise _damaged(path)
    return plain


def _text(path: pathlib.Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error


def _parsed(path: pathlib.Path, text: bytes) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise _damaged(path) from error


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):  # 1e999
        raise ValueError(text)
    return value


def _are(kind: type, values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(value, kind) for value in values)


def _damaged(path: pathlib.Path) -> SpecjaxError:
    return SpecjaxError(
        f"{path} is damaged, or not as this version writes it; run the command that made it again,"
        " with --overwrite"
    )


def _unreadable(path: pathlib.Path, error: OSError) -> SpecjaxError:
    return SpecjaxError(f"cannot read {path}: {error.strerror}")
