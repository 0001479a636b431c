"""What makes one experiment different from another."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from experiments.datasets.records import Dataset
from experiments.loop.backbone import Backbone, Features
from experiments.loop.flags import Options
from experiments.loop.reading import Examples, Pending
from experiments.loop.stopwatch import Stopwatch
from experiments.loop.writers import Writers
from experiments.results import tables
from experiments.runs.folder import RunFolder
from specjax import SpecjaxError


@dataclasses.dataclass(frozen=True, eq=False)
class Setup:
    """What an experiment is made from; it counts the time of its stages on `watch`."""

    options: Options
    dataset: Dataset
    backbone: Backbone
    watch: Stopwatch


# Objects of `results` in `summary.json`, and the lines of each setting.
Results = Sequence[dict]
Lines = Mapping[str, Sequence[dict]]


class Experiment:
    """Settings, what is computed of a batch under each, and what the lines of a run amount to.

    Made from a `Setup` once dataset and backbone are open. Only `analyse` and `result` must be
    written; the other methods suit most experiments.
    """

    name: str  # in files, and in the identity of a run
    settings: Sequence[str]  # computed for each image, a line of `per_image.jsonl` each
    identity: Mapping[str, Any]  # what a resumed run must share, beyond what all runs share
    warnings: Sequence[str] = ()  # what the user should know before the run
    # Values that `--figure` may have, and what they are, where the experiment makes figures.
    figures: ClassVar[Mapping[str, str] | None] = None
    needs_annotation = False

    def __init__(self, setup: Setup):
        self.setup = setup

    @classmethod
    def check(cls, options: Options, dataset: Dataset) -> None:
        """Raises SpecjaxError where the flags do not suit the dataset, before a backbone loads."""
        if cls.needs_annotation and not dataset.annotated:
            raise SpecjaxError(
                f"dataset {dataset.name!r} has no annotation: there is nothing to compare"
            )

    def analyse(self, examples: Examples, features: Features, settings: Sequence[str]) -> Pending:
        """Compute a batch under some of the settings."""
        raise NotImplementedError

    def result(self, setting: str, lines: Sequence[dict]) -> dict[str, Any]:
        """An object of `results` in `summary.json`, from the lines of a setting."""
        raise NotImplementedError

    def remarks(self, setting: str, lines: Sequence[dict]) -> Sequence[str]:
        """What the user should know of the lines of a setting."""
        return ()

    def table(self, results: Results) -> str:
        """The results as text."""
        scored = self.setup.dataset.annotated
        return tables.render(results, tables.columns_of(self.name, scored=scored))

    def report(self, results: Results) -> Sequence[str]:
        """Texts to print of all results."""
        return [self.table(results)]

    def draw(self, folder: RunFolder, results: Results, lines: Lines) -> Sequence[pathlib.Path]:
        """Draw plots of all results and lines; returns their paths."""
        return ()

    def writers(self, folder: RunFolder, save: frozenset[str]) -> Writers:
        """What writes the files of each image."""
        return Writers(folder, save)
