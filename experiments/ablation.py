r"""Table V: what NCR, DCR and BoC each add, beside the published numbers.

    python -m experiments.ablation --M=128 --N=60

runs on the built-in samples. The six settings concern the instance stage: without NCR it keeps all
channels, without DCR all of NCR's (N = M), without BoC it compares tokens by their dot product. In
the first table the foreground is the same for all six, at the given M. The paper does not say
whether its settings without NCR also find the foreground on all channels: in the second table they
do, and the others are as in the first.
"""

import dataclasses
from collections.abc import Sequence

from absl import flags

from experiments.analyses.segmentation import Plan, aggregate, instance_analysis
from experiments.loop import flags as shared
from experiments.loop import runner
from experiments.results import published
from experiments.results.tables import render
from specjax.config import Config
from specjax.errors import SpecjaxError

# (NCR, DCR, BoC), in the instance stage.
_SETTINGS = {
    "none": (False, False, False),
    "NCR": (True, False, False),
    "NCR+DCR": (True, True, False),
    "BoC": (False, False, True),
    "NCR+BoC": (True, False, True),
    "NCR+DCR+BoC": (True, True, True),
}
# Settings whose foreground is found on all channels.
_ALL_CHANNELS = "+foregroundC"

COLUMNS = {
    "name": "on",
    "ncr": "NCR",
    "dcr": "DCR",
    "boc": "BoC",
    "foreground_M": "foreground M",
    "M": "M",
    "N": "N",
    "miou": "mIoU %",
    "published": "published",
    "difference": "difference",
    "miou_instances": "mIoU % (instances)",
    "f_score": "F %",
    "images": "images",
}


def make_job(options, dataset, backbone, watch) -> runner.Job:
    """The job of both tables."""
    given, warnings = runner.instance_config(options, backbone)
    plans = make_plans(given, backbone.channels)
    papers_setting = published.is_papers_setting(given, options.num_instances)

    def label(setting: str) -> dict:
        ncr, dcr, boc = _SETTINGS[setting.removesuffix(_ALL_CHANNELS)]
        plan = plans[setting]
        return {
            "ncr": ncr,
            "dcr": dcr,
            "boc": boc,
            "foreground_M": plan.foreground.M,
            "M": plan.instances.M,
            "N": plan.instances.N,
            "metric": plan.instances.metric,
        }

    def result(setting: str, lines: list[dict]) -> dict:
        name = setting.removesuffix(_ALL_CHANNELS)
        scores = {"miou": None, "miou_instances": None, **aggregate(lines)}
        theirs = published.ablation(name) if papers_setting else None
        return {
            "setting": setting,
            "name": name if name == setting else f"{name}, foreground without NCR",
            **label(setting),
            "protocol": options.protocol.name,
            **scores,
            **published.compared(scores["miou"], theirs),
        }

    def report(results: Sequence[dict]) -> list[str]:
        here = published.instance_setting(given, options.num_instances)
        remark = published.remark(published.INSTANCES_MEASURED_ON, options, backbone, here)
        first, second = both_tables(results)
        return [
            f"Foreground with NCR, M = {given.M}, in all settings:\n" + render(first, COLUMNS),
            "Foreground without NCR where the setting is without it (the paper does not say which"
            " of the two tables its numbers are of):\n" + render(second, COLUMNS),
            remark,
        ]

    return runner.Job(
        name="ablation",
        settings=tuple(plans),
        identity={
            "M": given.M,
            "N": given.N,
            "num_instances": options.num_instances or "oracle",
        },
        config={"limit": options.limit},
        analyse=instance_analysis(options, plans, watch, label=label),
        result=result,
        columns=COLUMNS,
        warnings=warnings,
        report=report,
    )


def make_plans(given: Config, channels: int) -> dict[str, Plan]:
    """How each setting is computed: those of the first table, then what the second has instead."""
    foregrounds = {"": given, _ALL_CHANNELS: dataclasses.replace(given, M=channels)}
    plans = {}
    for suffix, foreground in foregrounds.items():
        for name, (ncr, dcr, boc) in _SETTINGS.items():
            M = given.M if ncr else channels
            instances = dataclasses.replace(
                given, M=M, N=given.N if dcr else M, metric="boc" if boc else "dot"
            )
            if not (suffix and ncr):
                plans[name + suffix] = Plan(foreground, instances)
    return plans


def both_tables(results: Sequence[dict]) -> tuple[list[dict], list[dict]]:
    """The six rows of each table; those with NCR are in both."""
    found = {result["setting"]: result for result in results}
    second = [found.get(name + _ALL_CHANNELS, found[name]) for name in _SETTINGS]
    return [found[name] for name in _SETTINGS], second


def check(options, dataset) -> None:
    """Raises SpecjaxError where there is nothing to score."""
    if not dataset.annotated:
        raise SpecjaxError(f"dataset {dataset.name!r} has no annotation: there is nothing to compare")


def main(arguments: Sequence[str]) -> int:
    """Read the flags and run."""
    if len(arguments) > 1:
        raise SpecjaxError(f"unexpected argument {arguments[1]!r}; datasets go to --data_dir")
    return runner.run(shared.read(flags.FLAGS), make_job, check)


if __name__ == "__main__":
    shared.define()
    flags.adopt_module_key_flags(shared)
    runner.execute(main)
