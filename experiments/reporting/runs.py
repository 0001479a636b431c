"""Finished runs, as their folders tell of them; nothing is written there. Scores are fractions."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.reporting import run_files
from experiments.runs.store import RUN, locate
from specjax.errors import SpecjaxError

_LINES, _SUMMARY = "per_image.jsonl", "summary.json"
# Frames of a video resemble each other.
_IN_VIDEOS = ("ytvis",)


@dataclasses.dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        folder: where it is.
        binary: what made it.
        settings: what was computed for each image, metrics for example.
        results: the summary's, one for each setting in their order.
        summary: all of `summary.json`.
        scores: by setting, score (of `run_files.SCORES`) and image.
        images: ids of the images that have a line, by setting.
        plain: the setting whose files have plain names.
    """

    folder: pathlib.Path
    binary: str
    settings: Sequence[str]
    results: Sequence[Mapping[str, Any]]
    summary: Mapping[str, Any]
    scores: Mapping[str, Mapping[str, Mapping[str, float]]]
    images: Mapping[str, Sequence[str]]
    plain: str | None

    @property
    def dataset(self) -> str:
        """The dataset's name."""
        return str(self.summary["config"]["dataset"].get("name"))

    @property
    def in_videos(self) -> bool:
        """Whether images are frames of videos."""
        return self.dataset in _IN_VIDEOS

    def units(self) -> dict[str, str]:
        """What each image was drawn with: its video, or itself."""
        ids = {image for images in self.images.values() for image in images}
        return {image: image.rpartition("/")[0] if self.in_videos else image for image in ids}

    def picture(self, kind: str, setting: str, image: str) -> pathlib.Path | None:
        """A picture of one image that `--save` made, if it is there and in the folder."""
        path = locate(self.folder, self.plain, kind, setting, image)
        return path if is_inside(path, self.folder) else None


def is_inside(path: pathlib.Path, folder: pathlib.Path) -> bool:
    """Whether a file is there and, links followed, in the folder: an id might lead elsewhere."""
    try:
        return path.is_file() and path.resolve().is_relative_to(folder.resolve())
    except (OSError, ValueError):  # no name that a file could have
        return False


def read_run(path: pathlib.Path) -> Run:
    """The run in a folder (or of a `summary.json`).

    Raises:
        SpecjaxError: there is none, it is not finished, or it is damaged.
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
    settings, results = summary["config"]["settings"], summary["results"]
    scores, images = run_files.read_scores(folder / _LINES, settings)
    return Run(
        folder=folder,
        binary=summary["config"]["binary"],
        settings=settings,
        results=results,
        summary=summary,
        scores=scores,
        images=images,
        plain=run_files.read_plain(folder / RUN),
    )
