"""What NCR, DCR and BoC each add: Table V."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from experiments.analyses import plans
from experiments.analyses.instance import InstanceExperiment
from experiments.analyses.plans import Plan
from experiments.loop.experiment import Results, Setup
from experiments.results import published
from experiments.results.published import ABLATION, ALL_CHANNELS
from specjax import Config


class Ablation(InstanceExperiment):
    """Six settings of the instance stage; those without NCR on two foregrounds."""

    name = "ablation"
    needs_annotation = True

    def __init__(self, setup: Setup):
        config = plans.config_of(setup)
        self._plans = make_plans(config, setup.backbone.channels)
        super().__init__(setup, config, self._plans)

    def label(self, setting: str) -> dict[str, Any]:
        """Which parts are on, and the numbers of channels."""
        ncr, dcr, boc = published.switches(setting)
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
        paper_miou = ABLATION[name] if self.as_published else None
        return {
            "setting": setting,
            "name": name if name == setting else f"{name}, foreground without NCR",
            **self.label(setting),
            **self.scores(lines, paper_miou),
        }

    def report(self, results: Results) -> Sequence[str]:
        """Both tables."""
        first, second = published.both_ablations(results)
        return [
            f"Foreground with NCR, M = {self.config.M}, in all settings:\n" + self.table(first),
            "Foreground without NCR in the settings without NCR (the paper does not say which of"
            " the two tables has its settings):\n" + self.table(second),
            self.remark(),
        ]


def make_plans(given: Config, channels: int) -> dict[str, Plan]:
    """The plan of each setting: those of the first table, then those only in the second."""
    foregrounds = {"": given, ALL_CHANNELS: dataclasses.replace(given, M=channels)}
    plans_by_setting = {}
    for suffix, foreground in foregrounds.items():
        for name in ABLATION:
            ncr, dcr, boc = published.switches(name)
            M = given.M if ncr else channels
            instances = dataclasses.replace(
                given, M=M, N=given.N if dcr else M, metric="boc" if boc else "dot"
            )
            if not (suffix and ncr):
                plans_by_setting[name + suffix] = Plan(foreground, instances)
    return plans_by_setting
