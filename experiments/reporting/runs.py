"""Finished runs as their folders describe them; nothing is written there. Scores are fractions."""

import dataclasses
import math
import pathlib
from collections.abc import Mapping
from typing import Any

from experiments.reporting import run_files
from experiments.results.columns import SCORES
from experiments.runs.names import RUN, locate
from specjax import SpecjaxError

_LINES, _SUMMARY = "per_image.jsonl", "summary.json"
# Datasets whose images are frames of videos, which resemble each other.
_VIDEOS = ("ytvis",)


@dataclasses.dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        folder: where it is.
        summary: what `summary.json` holds.
        scores: by setting, image and score (of `SCORES`), of every image that has a line.
        plain: the setting whose files have plain names.
    """

    folder: pathlib.Path
    summary: Mapping[str, Any]
    scores: Mapping[str, Mapping[str, Mapping[str, float]]]
    plain: str | None

    @property
    def config(self) -> Mapping[str, Any]:
        """How it was computed."""
        return self.summary["config"]

    @property
    def binary(self) -> str:
        """The program that made it."""
        return self.config["binary"]

    @property
    def dataset(self) -> str:
        """The dataset's name."""
        return self.config["dataset"]["name"]

    @property
    def backbone(self) -> str:
        """What computed the features, as far as the run knows: a file by its fingerprint."""
        kind, checkpoint = self.config["backbone"], self.config.get("checkpoint")
        return f"{kind} (SHA-256 {checkpoint[:12]}…)" if checkpoint else kind

    @property
    def results(self) -> Mapping[str, Mapping[str, Any]]:
        """The summary's results by setting (a metric, for example)."""
        return dict(zip(self.config["settings"], self.summary["results"], strict=True))

    @property
    def main_score(self) -> str | None:
        """What the run is about: the first of `SCORES` that it has."""
        return next((score for score in SCORES if self.means(score)), None)

    @property
    def best_setting(self) -> str:
        """The setting with the highest mean of the main score; the first where none has one."""
        means = self.means(self.main_score) if self.main_score else {}
        return max(self.results, key=lambda setting: means.get(setting, -math.inf))

    @property
    def images(self) -> set[str]:
        """The ids of all images that have a line."""
        return set().union(*self.scores.values())

    @property
    def unit(self) -> str:
        """What was drawn independently: "videos" or "images"."""
        return "videos" if self.dataset in _VIDEOS else "images"

    def units(self) -> dict[str, str]:
        """The unit of each image: its video, or the image itself."""
        if self.unit == "images":
            return {image: image for image in self.images}
        return {image: image.rpartition("/")[0] for image in self.images}

    def means(self, score: str) -> dict[str, float]:
        """The summary's mean of a score by setting, of those that have one."""
        found = {setting: result.get(score) for setting, result in self.results.items()}
        return {setting: mean for setting, mean in found.items() if mean is not None}

    def values(self, setting: str, score: str) -> dict[str, float]:
        """A score by image, of those that have one."""
        lines = self.scores[setting].items()
        return {image: found[score] for image, found in lines if score in found}

    def picture(self, kind: str, setting: str, image: str) -> pathlib.Path | None:
        """A picture of one image that `--save` made, if it is there and in the folder."""
        path = locate(self.folder, self.plain, kind, setting, image)
        return path if is_inside(path, self.folder) else None


def is_inside(path: pathlib.Path, folder: pathlib.Path) -> bool:
    """Whether a file exists and is, with links followed, in the folder: an id may lead out."""
    try:
        return path.is_file() and path.resolve().is_relative_to(folder.resolve())
    except (OSError, ValueError):  # a name that no file can have
        return False


def read_run(path: pathlib.Path) -> Run:
    """The run in a folder, or the run of a `summary.json`.

    Raises:
        SpecjaxError: there is none, it is not finished, or a file of it is damaged.
    """
    folder = path.parent if path.name == _SUMMARY and path.is_file() else path
    if not folder.is_dir():
        raise SpecjaxError(f"{path}: no such folder; give the --output_dir of a finished run")
    if not (folder / _SUMMARY).exists():
        if (folder / RUN).exists():
            raise SpecjaxError(
                f"{folder} is a run that is not finished (it has no {_SUMMARY}): the command that"
                " began it continues it"
            )
        raise SpecjaxError(
            f"{folder} is not the folder of a run (it has no {_SUMMARY}); give the --output_dir of"
            " a finished run"
        )
    summary = run_files.read_summary(folder / _SUMMARY)
    scores = run_files.read_scores(folder / _LINES, summary["config"]["settings"])
    return Run(folder, summary, scores, run_files.read_run_file(folder / RUN).get("plain_names"))
