"""What NCR, DCR and BoC each add: Table V."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from experiments.analyses import plans
from experiments.analyses.instance import InstanceExperiment
from experiments.analyses.plans import Plan
from experiments.datasets.records import Dataset
from experiments.loop.experiment import Setup, needs_annotation
from experiments.loop.flags import Options
from experiments.results import columns, published
from experiments.results.ablation import ALL_CHANNELS, SETTINGS, both_tables
from experiments.results.tables import render
from specjax import Config


class Ablation(InstanceExperiment):
    """Six settings of the instance stage, those without NCR on two foregrounds."""

    name = "ablation"
    columns = columns.ABLATION

    def __init__(self, setup: Setup):
        config = plans.config_of(setup)
        self._plans = make_plans(config, setup.backbone.channels)
        super().__init__(setup, config, self._plans)

    @classmethod
    def check(cls, options: Options, dataset: Dataset) -> None:
        """Raises SpecjaxError where there is nothing to score."""
        needs_annotation(dataset)

    def label(self, setting: str) -> dict[str, Any]:
        """What is on, and the numbers of channels."""
        ncr, dcr, boc = SETTINGS[setting.removesuffix(ALL_CHANNELS)]
        plan = self._plans[setting]
        return {
            "ncr": ncr,
            "dcr": dcr,
            "boc": boc,
            "foreground_M": plan.foreground.M,
            "M": plan.instances.M,
            "N": plan.instances.N,
            "metric": plan.instances.metric,
        }

    def result(self, setting: str, lines: Sequence[dict]) -> dict[str, Any]:
        """Scores of a setting."""
        name = setting.removesuffix(ALL_CHANNELS)
        paper_miou = published.ablation(name) if self.as_published else None
        return {
            "setting": setting,
            "name": name if name == setting else f"{name}, foreground without NCR",
            **self.label(setting),
            **self.scores(lines, paper_miou),
        }

    def report(self, results: Sequence[dict]) -> Sequence[str]:
        """Both tables."""
        first, second = both_tables(results)
        return [
            f"Foreground with NCR, M = {self.config.M}, in all settings:\n"
            + render(first, self.columns),
            "Foreground without NCR where the setting is without it (the paper does not say which"
            " of the two tables its numbers are of):\n" + render(second, self.columns),
            self.remark(),
        ]


def make_plans(given: Config, channels: int) -> dict[str, Plan]:
    """How each setting is computed: those of the first table, then what the second has instead."""
    foregrounds = {"": given, ALL_CHANNELS: dataclasses.replace(given, M=channels)}
    found = {}
    for suffix, foreground in foregrounds.items():
        for name, (ncr, dcr, boc) in SETTINGS.items():
            M = given.M if ncr else channels
            instances = dataclasses.replace(
                given, M=M, N=given.N if dcr else M, metric="boc" if boc else "dot"
            )
            if not (suffix and ncr):
                found[name + suffix] = Plan(foreground, instances)
    return found
