"""Finished runs as their folders describe them; nothing is written there. Scores are fractions."""

import math
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from experiments.reporting import run_files
from experiments.results.columns import SCORES
from experiments.runs.names import LINES, RUN, SUMMARY, locate
from specjax import SpecjaxError

# Datasets whose images are frames of videos, which resemble each other.
_VIDEOS = ("ytvis",)


class Run(NamedTuple):
    """A finished run."""

    folder: pathlib.Path
    binary: str
    dataset: str
    config: Mapping[str, Any]
    summary: Mapping[str, Any]  # all that `summary.json` holds
    results: Mapping[str, Mapping[str, Any]]  # by setting (a metric, for example)
    # By setting, image and score (of `SCORES`), of every image that has a line.
    scores: Mapping[str, Mapping[str, Mapping[str, float]]]
    plain: str | None  # the setting whose files have plain names

    @property
    def backbone(self) -> str:
        """What computed the features, as far as the run knows: a file by its fingerprint."""
        kind, checkpoint = self.config["backbone"], self.config.get("checkpoint")
        return f"{kind} (SHA-256 {checkpoint[:12]}…)" if checkpoint else kind

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
    def unit(self) -> str:
        """What was drawn independently: "videos" or "images"."""
        return "videos" if self.dataset in _VIDEOS else "images"

    def units(self) -> dict[str, str]:
        """The unit of each image that has a line: its video, or the image itself."""
        in_videos, images = self.unit == "videos", set().union(*self.scores.values())
        return {image: image.rpartition("/")[0] if in_videos else image for image in images}

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
    """The run in a folder, or of a `summary.json`; SpecjaxError where it is not there and whole."""
    folder = path.parent if path.name == SUMMARY and path.is_file() else path
    if not folder.is_dir():
        raise SpecjaxError(f"{path}: no such folder; give the --output_dir of a finished run")
    if not (folder / SUMMARY).exists():
        if (folder / RUN).exists():
            raise SpecjaxError(
                f"{folder} is a run that is not finished (it has no {SUMMARY}): the command that"
                " began it continues it"
            )
        raise SpecjaxError(
            f"{folder} is not the folder of a run (it has no {SUMMARY}); give the --output_dir of"
            " a finished run"
        )
    summary = run_files.read_summary(folder / SUMMARY)
    config = summary["config"]
    scores = run_files.read_scores(folder / LINES, config["settings"])
    results = dict(zip(config["settings"], summary["results"], strict=True))
    names, plain = (config["binary"], config["dataset"]["name"]), run_files.read_plain(folder / RUN)
    return Run(folder, *names, config, summary, results, scores, plain)
