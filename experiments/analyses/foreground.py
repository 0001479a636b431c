"""The foreground of each image with several numbers of channels: Table I."""

import functools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.analyses import plans, scoring
from experiments.analyses.plans import find_foreground
from experiments.analyses.scoring import Scoring, aggregate
from experiments.loop.backbone import Features
from experiments.loop.experiment import Experiment, Lines, Results, Setup
from experiments.loop.reading import Example, Examples, Outcome, Outcomes, Pending
from experiments.results import published
from experiments.runs.folder import RunFolder


class ForegroundExperiment(Experiment):
    """The foreground stage with each M of `--M`."""

    name = "fgbg"
    identity: Mapping[str, Any] = {}

    def __init__(self, setup: Setup):
        super().__init__(setup)
        # The foreground stage does not use N.
        configs = [plans.config_of(setup, M=M, N=1) for M in setup.options.Ms]
        self._configs = {f"M={config.M}": config for config in configs}
        self._part = published.closest(setup.dataset.name)
        self.settings = tuple(self._configs)

    def analyse(self, examples: Examples, features: Features, settings: Sequence[str]) -> Pending:
        """The foreground with each M, and its scores."""
        watch, scores, found = self.setup.watch, Scoring(examples, features), {}
        for setting in settings:
            foreground = find_foreground(features, self._configs[setting], watch)
            with watch("score"):
                found[setting] = foreground, scores.of_foreground(foreground)
        return functools.partial(self._fetch, examples, features, found)

    def _fetch(self, examples, features, found) -> Outcomes:
        with self.setup.watch("score"):
            fetched = {name: features.batch.fetch(result) for name, result in found.items()}
            return [
                {name: self._outcome(name, example, *result[n]) for name, result in fetched.items()}
                for n, example in enumerate(examples)
            ]

    def _outcome(self, setting: str, example: Example, foreground, f_scores) -> Outcome:
        line = {
            "M": self._configs[setting].M,
            **scoring.describe(example, foreground),
            "eigenvalues": scoring.eigenvalues(foreground.eigenvalues),
            **scoring.f_scores(example, f_scores),
        }
        return Outcome(line, foreground.mask.astype(np.int32), foreground.mask)

    def result(self, setting: str, lines: Sequence[dict]) -> dict[str, Any]:
        """F-scores with one M beside the published ones."""
        M, scores = int(setting.removeprefix("M=")), aggregate(lines)
        paper, paper_raw = published.f_score(self._part, M, self.setup.backbone.channels)
        raw = published.compared(scores["f_score_raw"], paper_raw)
        return {
            "M": M,
            "protocol": self.setup.options.protocol.name,
            **scores,
            **published.compared(scores["f_score"], paper),
            **{f"{key}_raw": value for key, value in raw.items()},
        }

    def report(self, results: Results) -> Sequence[str]:
        """Table I."""
        if not self.setup.dataset.annotated:
            return super().report(results)
        measured_on = published.FOREGROUND_MEASURED_ON[self._part]
        here = f"C = {self.setup.backbone.channels}"
        return [self.table(results) + "\n" + plans.remark(self.setup, measured_on, here)]

    def draw(self, folder: RunFolder, results: Results, lines: Lines) -> Sequence[pathlib.Path]:
        """Fig. 8 and 9, if there are several M."""
        if not self.setup.dataset.annotated:
            return ()
        from experiments.plots import foreground_curve  # imports matplotlib, which is slow

        return foreground_curve.write(folder.folder, results, self.setup.backbone.channels)
