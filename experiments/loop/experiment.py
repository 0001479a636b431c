"""What distinguishes one experiment from another."""

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
    """What an experiment is built from; it records the time of its stages on `watch`."""

    options: Options
    dataset: Dataset
    backbone: Backbone
    watch: Stopwatch


# The objects in `results` of `summary.json`, and the lines of each setting.
Results = Sequence[dict]
Lines = Mapping[str, Sequence[dict]]


class Experiment:
    """The settings, what is computed from a batch under each, and how lines become results.

    Built from a `Setup` once dataset and backbone are open. A subclass must define `analyse` and
    `result`; the other methods suit most experiments.
    """

    name: str  # in files, and in the identity of a run
    settings: Sequence[str]  # each gives a line of `per_image.jsonl` for each image
    identity: Mapping[str, Any]  # what must not change in a resumed run, besides the common part
    warnings: Sequence[str] = ()  # printed before the run
    # The values of `--figure` and their descriptions, if the experiment draws figures.
    figures: ClassVar[Mapping[str, str] | None] = None
    needs_annotation = False

    def __init__(self, setup: Setup):
        self.setup = setup

    @classmethod
    def check(cls, options: Options, dataset: Dataset) -> None:
        """Raises SpecjaxError if the flags do not suit the dataset."""
        if cls.needs_annotation and not dataset.annotated:
            raise SpecjaxError(
                f"dataset {dataset.name!r} has no annotation, which this experiment needs"
            )

    def analyse(self, examples: Examples, features: Features, settings: Sequence[str]) -> Pending:
        """Compute the outcomes of a batch under some of the settings."""
        raise NotImplementedError

    def result(self, setting: str, lines: Sequence[dict]) -> dict[str, Any]:
        """The object in `results` of `summary.json` for a setting, from its lines."""
        raise NotImplementedError

    def remarks(self, setting: str, lines: Sequence[dict]) -> Sequence[str]:
        """Warnings about the lines of a setting, printed after the run."""
        return ()

    def table(self, results: Results) -> str:
        """The results as a table of plain text."""
        scored = self.setup.dataset.annotated
        return tables.render(results, tables.columns_of(self.name, scored=scored))

    def report(self, results: Results) -> Sequence[str]:
        """The texts to print about all results."""
        return [self.table(results)]

    def draw(self, folder: RunFolder, results: Results, lines: Lines) -> Sequence[pathlib.Path]:
        """Draw plots of the results and lines; returns their paths."""
        return ()

    def writers(self, folder: RunFolder, save: frozenset[str]) -> Writers:
        """The writer of the files of each image."""
        return Writers(folder, save, self.setup.dataset.category)
