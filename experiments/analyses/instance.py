"""The instances of each image under one or several metrics: Tables II to IV."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.analyses import plans
from experiments.analyses.plans import InstanceAnalysis, Plan
from experiments.analyses.scoring import aggregate
from experiments.datasets.records import Dataset
from experiments.loop.backbone import Features
from experiments.loop.experiment import Experiment, Lines, Results, Setup
from experiments.loop.flags import Options
from experiments.loop.reading import Examples, Pending
from experiments.results import flaws, published, strata
from experiments.runs.folder import RunFolder
from specjax import Config, SpecjaxError


class InstanceExperiment(Experiment):
    """What experiments on instances share: a plan for each setting, and the method under each.

    A subclass sets `plans` and `settings`, and writes `label` and `result`.
    """

    def __init__(self, setup: Setup, config: Config, plans_by_setting: Mapping[str, Plan]):
        options = setup.options
        super().__init__(setup)
        self.config = config
        self.settings = tuple(plans_by_setting)
        self.warnings = plans.smaller_N(setup, config)
        self.identity: Mapping[str, Any] = {
            "M": config.M,
            "N": config.N,
            "num_instances": options.num_instances or "oracle",
        }
        self.as_published = published.is_papers_setting(config, options.num_instances)
        self._analysis = InstanceAnalysis(
            plans_by_setting,
            num_instances=options.num_instances,
            seed=options.seed,
            watch=setup.watch,
            label=self.label,
        )

    def analyse(self, examples: Examples, features: Features, settings: Sequence[str]) -> Pending:
        """Segment the instances of a batch under some of the settings."""
        return self._analysis(examples, features, settings)

    def label(self, setting: str) -> dict[str, Any]:
        """What the lines of a setting hold besides scores."""
        raise NotImplementedError

    def scores(self, lines: Sequence[dict], paper_miou: float | None) -> dict[str, Any]:
        """The scores of a setting's lines, beside the published mIoU if there is one."""
        scores = {"miou": None, "miou_instances": None, **aggregate(lines)}
        return {
            "protocol": self.setup.options.protocol.name,
            **scores,
            **published.compared(scores["miou"], paper_miou),
        }

    def remarks(self, setting: str, lines: Sequence[dict]) -> Sequence[str]:
        """A warning about images with fewer instances than asked for."""
        return plans.too_many_asked(setting, lines, self.setup.options.num_instances)

    def remark(self) -> str:
        """The line under a table with published numbers."""
        here = published.instance_setting(self.config, self.setup.options.num_instances)
        return plans.remark(self.setup, published.INSTANCES_MEASURED_ON, here)


class Instance(InstanceExperiment):
    """The method under each metric of `--metric`."""

    name = "instance"

    def __init__(self, setup: Setup):
        config = plans.config_of(setup)
        by_metric = {
            metric: Plan(config, dataclasses.replace(config, metric=metric))
            for metric in setup.options.metrics
        }
        super().__init__(setup, config, by_metric)

    @classmethod
    def check(cls, options: Options, dataset: Dataset) -> None:
        """Raises SpecjaxError if the number of instances is neither given nor annotated."""
        if options.num_instances is None and not dataset.annotated:
            raise SpecjaxError(
                f"dataset {dataset.name!r} has no annotation, so the number of instances is not"
                " known: give it, for example --num_instances=3"
            )

    def label(self, setting: str) -> dict[str, Any]:
        """The metric and the numbers of channels."""
        return {"metric": setting, "M": self.config.M, "N": self.config.N}

    def result(self, setting: str, lines: Sequence[dict]) -> dict[str, Any]:
        """The scores of a metric, over all images and by stratum."""
        return {
            **self.label(setting),
            **self.scores(lines, published.MIOU.get(setting) if self.as_published else None),
            **strata.scores(lines, setting, papers_setting=self.as_published),
            "flaws": flaws.counts(lines),
        }

    def report(self, results: Results) -> Sequence[str]:
        """Table II, Tables III and IV, and how many images have visible flaws."""
        if not self.setup.dataset.annotated:
            return super().report(results)
        table = self.table(results) + "\n" + self.remark()
        return [table, *strata.report(results), flaws.report(results)]

    def draw(self, folder: RunFolder, results: Results, lines: Lines) -> Sequence[pathlib.Path]:
        """Fig. 11 and 12, if there are several metrics."""
        if len(results) < 2 or not self.setup.dataset.annotated:
            return ()
        from experiments.plots import strata as strata_plot  # imports matplotlib, which is slow

        return strata_plot.write(folder.folder, results)
