r"""Table V: what NCR, DCR and BoC each add, beside the published numbers.

    python -m experiments.ablation --M=128 --N=60

runs on the built-in samples. The six settings concern the instance stage: without NCR it keeps all
channels, without DCR all of NCR's (N = M), without BoC it compares tokens by their dot product. The
foreground is the same for all six, at the given M. The paper does not say whether its settings
without NCR also find the foreground on all channels: the second half of the table does so.
"""

import dataclasses
from collections.abc import Sequence

from absl import flags

from experiments.harness import options as shared
from experiments.harness import runner
from experiments.harness.analysis import Plan, aggregate, instance_analysis
from specjax.errors import UserError

# (NCR, DCR, BoC) and the paper's mIoU: YouTube-VIS 2019, DINO ViT-S/16, M = 128, N = 60.
_SETTINGS = {
    "none": ((False, False, False), 0.3175),
    "NCR": ((True, False, False), 0.3292),
    "NCR+DCR": ((True, True, False), 0.3270),
    "BoC": ((False, False, True), 0.3050),
    "NCR+BoC": ((True, False, True), 0.3362),
    "NCR+DCR+BoC": ((True, True, True), 0.3441),
}
# Settings whose foreground is found on all channels.
_ALL_CHANNELS = "+foregroundC"

COLUMNS = {
    "ncr": "NCR",
    "dcr": "DCR",
    "boc": "BoC",
    "foreground_M": "foreground M",
    "M": "M",
    "N": "N",
    "published_miou": "paper mIoU %",
    "miou": "mIoU %",
    "miou_instances": "mIoU % (instances)",
    "f_score": "F %",
    "images": "images",
}


def make_job(options, dataset, backbone, watch) -> runner.Job:
    """The job of both halves of the table."""
    given, warnings = runner.instance_config(options, backbone)
    everything = dataclasses.replace(given, M=backbone.channels)
    plans = {}
    for name, ((ncr, dcr, boc), _) in _SETTINGS.items():
        M = given.M if ncr else backbone.channels
        instances = dataclasses.replace(
            given, M=M, N=given.N if dcr else M, metric="boc" if boc else "dot"
        )
        plans[name] = Plan(given, instances)
        if not ncr:
            plans[name + _ALL_CHANNELS] = Plan(everything, instances)

    def label(setting: str) -> dict:
        (ncr, dcr, boc), published = _SETTINGS[setting.removesuffix(_ALL_CHANNELS)]
        plan = plans[setting]
        return {
            "ncr": ncr,
            "dcr": dcr,
            "boc": boc,
            "foreground_M": plan.foreground.M,
            "M": plan.instances.M,
            "N": plan.instances.N,
            "metric": plan.instances.metric,
            "published_miou": published,
        }

    return runner.Job(
        name="ablation",
        settings=tuple(sorted(plans, key=lambda name: name.endswith(_ALL_CHANNELS))),
        identity={
            "M": given.M,
            "N": given.N,
            "num_instances": options.num_instances or "oracle",
        },
        config={"limit": options.limit},
        analyse=instance_analysis(options, plans, watch, label=label),
        result=lambda setting, lines: {
            **label(setting),
            "protocol": options.protocol.name,
            "miou": None,
            "miou_instances": None,
            **aggregate(lines),
        },
        columns=COLUMNS,
        warnings=warnings,
    )


def check(options, dataset) -> None:
    """Raises UserError where there is nothing to score."""
    if not dataset.annotated:
        raise UserError(f"dataset {dataset.name!r} has no annotation: there is nothing to compare")


def main(arguments: Sequence[str]) -> int:
    """Read the flags and run."""
    if len(arguments) > 1:
        raise UserError(f"unexpected argument {arguments[1]!r}; datasets go to --data_dir")
    return runner.run(shared.read(flags.FLAGS), make_job, check)


if __name__ == "__main__":
    shared.define()
    flags.adopt_module_key_flags(shared)
    runner.execute(main)
