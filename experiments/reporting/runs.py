"""Finished runs, read from their folders, in which nothing is written. Scores are fractions.

Each file is checked once against a shape. A difference is an error of one line that names the file;
the rest of the report relies on the shapes and does not check again.
"""

import contextlib
import json
import math
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from experiments.results.statistics import kind_of_units, unit_of
from experiments.results.strata import STRATA
from experiments.results.tables import DIFFERENCES, FRACTIONS, SCORED, SCORES
from experiments.runs.names import LINES, RUN, SUMMARY, locate
from specjax import SpecjaxError

Scores = dict[str, dict[str, dict[str, float]]]  # by setting, image and score (of `SCORES`)


def _number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < 1e18


def _share(value: Any) -> bool:
    return _number(value) and 0 <= value <= 1


_RESULT = {
    **{"metric": (str, None), "setting": (str, None), "images": (int, None)},
    **dict.fromkeys((*FRACTIONS, *DIFFERENCES), (_number, None)),
}
_STRATUM = {"images": int, "miou": (_number, None), "published": (_number, None)}
_STRATA = {
    "metric": str,
    "strata_left_out": {key: {"below": int, "not_recorded": int} for key in STRATA},
    **{f"by_{measure}": [_STRATUM] * len(strata) for measure, strata in STRATA.items()},
}
_CONFIG = {"binary": str, "dataset": {"name": str}, "settings": [str, ...], "backbone": str}
_SUMMARY = {
    "config": {**_CONFIG, "checkpoint": (str, None)},
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

    A shape is a type, None, a function that returns whether a value is valid, a tuple of
    alternatives, `[shape, ...]` for a list of any length, `[a, b]` for a list of two elements, or a
    dict for an object with these keys; other keys may have any value, and a missing key counts as
    None.
    """
    match shape:
        case None:
            return value is None
        case type():
            return type(value) is shape
        case tuple():
            return any(fits(value, alternative) for alternative in shape)
        case [element, end] if end is ...:
            return type(value) is list and all(fits(item, element) for item in value)
        case list():
            return type(value) is list and len(value) == len(shape) and all(map(fits, value, shape))
        case dict():
            return type(value) is dict and all(fits(value.get(k), v) for k, v in shape.items())
    return shape(value)


class Run(NamedTuple):
    """A finished run."""

    folder: pathlib.Path
    binary: str
    dataset: str
    config: Mapping[str, Any]
    summary: Mapping[str, Any]  # all that `summary.json` holds
    results: Mapping[str, Mapping[str, Any]]  # by setting (a metric, for example)
    scores: Scores  # of every image that has a line
    plain: str | None  # the setting whose files have plain names

    @property
    def backbone(self) -> str:
        """What computed the features, as far as the run recorded it: a file by its hash."""
        kind, checkpoint = self.config["backbone"], self.config.get("checkpoint")
        return f"{kind} (SHA-256 {checkpoint[:12]}…)" if checkpoint else kind

    @property
    def main_score(self) -> str | None:
        """The main score of the run: the first of `SCORES` that it has."""
        return next((score for score in SCORES if self.means(score)), None)

    @property
    def best_setting(self) -> str:
        """The setting with the highest mean of the main score; the first if there is no score."""
        means = self.means(self.main_score) if self.main_score else {}
        return max(self.results, key=lambda setting: means.get(setting, -math.inf))

    @property
    def unit(self) -> str:
        """What was sampled independently: "videos" or "images"."""
        return kind_of_units(self.dataset)

    def units(self) -> dict[str, str]:
        """The unit of each image that has a line: its video, or the image itself."""
        images = set().union(*self.scores.values())
        return {image: unit_of(image, self.dataset) for image in images}

    def means(self, score: str) -> dict[str, float]:
        """The mean of a score in the summary, for each setting that has it."""
        found = {setting: result.get(score) for setting, result in self.results.items()}
        return {setting: mean for setting, mean in found.items() if mean is not None}

    def values(self, setting: str, score: str) -> dict[str, float]:
        """A score by image, for each image that has it."""
        lines = self.scores[setting].items()
        return {image: found[score] for image, found in lines if score in found}

    def picture(self, kind: str, setting: str, image: str) -> pathlib.Path | None:
        """A picture of one image that `--save` wrote, if it exists and is in the folder."""
        path = locate(self.folder, self.plain, kind, setting, image)
        return path if is_inside(path, self.folder) else None


def is_inside(path: pathlib.Path, folder: pathlib.Path) -> bool:
    """Whether a file exists and is in the folder after links are followed (an id may lead out)."""
    try:
        return path.is_file() and path.resolve().is_relative_to(folder.resolve())
    except (OSError, ValueError):  # a name that no file can have
        return False


def read_run(path: pathlib.Path) -> Run:
    """The run in a folder, or of a `summary.json`; SpecjaxError if it is missing or damaged."""
    folder = path.parent if path.name == SUMMARY and path.is_file() else path
    if not folder.is_dir():
        raise SpecjaxError(f"{path}: no such folder; give the --output_dir of a finished run")
    if not (folder / SUMMARY).exists():
        lack = f"(it has no {SUMMARY})"
        problem = f"not the folder of a run {lack}; give the --output_dir of a finished run"
        if (folder / RUN).exists():
            problem = f"a run that is not finished {lack}; its command continues it"
        raise SpecjaxError(f"{folder} is {problem}")
    summary = _read_summary(folder / SUMMARY)
    config = summary["config"]
    scores = _read_scores(folder / LINES, config["settings"])
    results = dict(zip(config["settings"], summary["results"], strict=True))
    plain, dataset = _read_plain(folder / RUN), config["dataset"]["name"]
    return Run(folder, config["binary"], dataset, config, summary, results, scores, plain)


def _read_plain(path: pathlib.Path) -> str | None:
    """The setting whose files have plain names, from `run.json`."""
    with _naming(path):
        return _parsed(path.read_bytes(), _RUN).get("plain_names")


def _read_summary(path: pathlib.Path) -> dict[str, Any]:
    """The summary: one result for each setting of its configuration, in their order."""
    with _naming(path):
        summary = _parsed(path.read_bytes(), _SUMMARY)
        settings = summary["config"]["settings"]
        if not 0 < len(set(settings)) == len(settings) == len(summary["results"]):
            raise ValueError(settings)
    if summary["config"]["binary"] not in SCORED:
        raise SpecjaxError(f"{path} is not the summary of any of {', '.join(SCORED)}")
    return summary


def _read_scores(path: pathlib.Path, settings: Sequence[str]) -> Scores:
    """The scores of these settings' lines."""
    scores: Scores = {setting: {} for setting in settings}
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
    """Turns all errors in reading a file into a SpecjaxError that names it."""
    try:
        yield
    except OSError as error:
        raise SpecjaxError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise SpecjaxError(
            f"{path} is damaged, or another version of this program wrote it; run its command"
            " again with --overwrite"
        ) from error
