"""MIoU over a grid of M and N."""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

from experiments.analyses import plans
from experiments.analyses.instance import InstanceExperiment
from experiments.analyses.plans import Plan
from experiments.datasets.records import Dataset
from experiments.loop.experiment import Lines, Results, Setup
from experiments.loop.flags import Options
from experiments.plots import heat_map
from experiments.results import published
from experiments.runs.folder import RunFolder
from specjax import Config, SpecjaxError


class Sweep(InstanceExperiment):
    """Every pair of an M of `--M` and an N of `--N` with N <= M."""

    name = "sweep"
    needs_annotation = True

    def __init__(self, setup: Setup):
        options = setup.options
        configs = [plans.config_of(setup, M=M, N=1) for M in options.Ms]
        found, warnings = make_plans(configs, options.Ns)
        super().__init__(setup, configs[0], found)
        self._metric, self.warnings = options.metrics[0], warnings
        self.identity = {"metric": self._metric, "num_instances": options.num_instances or "oracle"}

    @classmethod
    def check(cls, options: Options, dataset: Dataset) -> None:
        """Raises SpecjaxError if there is no annotation, or several metrics are given."""
        super().check(options, dataset)
        if len(options.metrics) > 1:
            raise SpecjaxError(
                f"--metric={','.join(options.metrics)}: this experiment takes one metric"
            )

    def label(self, setting: str) -> dict[str, Any]:
        """The metric and the pair."""
        M, N = (int(part.partition("=")[2]) for part in setting.split(","))
        return {"metric": self.setup.options.metrics[0], "M": M, "N": N}

    def result(self, setting: str, lines: Sequence[dict]) -> dict[str, Any]:
        """Scores of a pair."""
        pair = self.label(setting)
        config = dataclasses.replace(self.config, M=pair["M"], N=pair["N"])
        same = published.is_papers_setting(config, self.setup.options.num_instances)
        return {**pair, **self.scores(lines, published.MIOU.get(self._metric) if same else None)}

    def report(self, results: Results) -> Sequence[str]:
        """A table, with the most channels first."""
        rows = sorted(results, key=lambda result: (-result["M"], -result["N"]))
        here = f"metric {self._metric}"
        remark = plans.remark(self.setup, published.INSTANCES_MEASURED_ON, here)
        return [self.table(rows) + "\n" + remark]

    def draw(self, folder: RunFolder, results: Results, lines: Lines) -> Sequence[pathlib.Path]:
        """The heat map."""
        return heat_map.write(folder.folder, results)


def make_plans(configs: Sequence[Config], Ns: Sequence[int]) -> tuple[dict[str, Plan], list[str]]:
    """The plan of each pair, and warnings about pairs that are left out.

    `configs` has a configuration for each M, with N = 1: the foreground does not depend on N, so
    that it is found once for each M.
    """
    found, warnings = {}, []
    for config in dict.fromkeys(configs):
        M = config.M
        for N in Ns:
            if N <= M:
                found[f"M={M},N={N}"] = Plan(config, dataclasses.replace(config, N=N))
        skipped = ", ".join(str(N) for N in Ns if N > M)
        if skipped:
            warnings.append(f"N={skipped} left out at M={M}: N is at most M")
    if not found:
        highest = max(config.M for config in configs)
        raise SpecjaxError(
            f"every N ({min(Ns)} and above) is more than every M ({highest} and below); give"
            " smaller --N or larger --M"
        )
    return found, warnings
