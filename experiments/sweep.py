r"""MIoU over a grid of M and N, the channels kept by NCR and of those by DCR, as a heat map.

    python -m experiments.sweep --M=C,C/2,C/3,C/5 --N=15,30,60,120

runs on the built-in samples; on a dataset:

    python -m experiments.sweep --M=C,C/2,C/3,C/5 --N=15,30,60,120 \
        --dataset=voc --data_dir=VOCdevkit/VOC2012 --checkpoint=facebook/dino-vits16

M governs both stages, as in the main job: an image's foreground is found once for each M, its
features once. Pairs with N above M do not exist and are left out. Writes `heat_map.png` beside what
every run writes; M and N may be added to later.
"""

import dataclasses
import re
from collections.abc import Sequence

from absl import flags

from experiments.analyses.segmentation import Plan, aggregate, instance_analysis
from experiments.loop import flags as shared
from experiments.loop import runner
from experiments.plots import heat_map
from experiments.results import published, tables
from specjax.config import Config
from specjax.errors import SpecjaxError

COLUMNS = {
    "M": "M",
    "N": "N",
    "protocol": "protocol",
    "miou": "mIoU %",
    "published": "published",
    "difference": "difference",
    "miou_instances": "mIoU % (instances)",
    "f_score": "F %",
    "images": "images",
    "instances": "instances",
}


def make_plans(
    given: Config, Ms: Sequence[int], Ns: Sequence[int]
) -> tuple[dict[str, Plan], list[str]]:
    """How each pair is computed, and what to say of those that are left out.

    Raises:
        SpecjaxError: none is left.
    """
    plans, warnings = {}, []
    for M in dict.fromkeys(Ms):
        # The foreground has no N: one value, so that it is found once.
        foreground = dataclasses.replace(given, M=M, N=1)
        for N in Ns:
            if N <= M:
                plans[_setting(M, N)] = Plan(foreground, dataclasses.replace(given, M=M, N=N))
        skipped = ", ".join(str(N) for N in Ns if N > M)
        if skipped:
            warnings.append(f"N={skipped} left out at M={M}: more than there are")
    if not plans:
        raise SpecjaxError(
            f"every N ({min(Ns)} and above) is more than every M ({max(Ms)} and below); give"
            " smaller --N or larger --M"
        )
    return plans, warnings


def make_job(options, dataset, backbone, watch, metric: str, Ns: Sequence[int]) -> runner.Job:
    """The job of every pair of the flags' M and N."""
    Ms = [count.of(backbone.channels) for count in options.M]
    for M in Ms:
        runner.instance_config(options, backbone, M=M)  # refuses an M that does not exist
    given = dataclasses.replace(runner.instance_config(options, backbone)[0], metric=metric)
    plans, warnings = make_plans(given, Ms, Ns)

    def label(setting: str) -> dict:
        M, N = _pair(setting)
        return {"metric": metric, "M": M, "N": N}

    def result(setting: str, lines: list[dict]) -> dict:
        M, N = _pair(setting)
        config = dataclasses.replace(given, M=M, N=N)
        papers_setting = published.is_papers_setting(config, options.num_instances)
        scores = {"miou": None, "miou_instances": None, **aggregate(lines)}
        theirs = published.miou(metric) if papers_setting else None
        return {
            **label(setting),
            "protocol": options.protocol.name,
            **scores,
            **published.compared(scores["miou"], theirs),
        }

    def report(results: Sequence[dict]) -> list[str]:
        here = f"metric {metric}"
        remark = published.remark(published.INSTANCES_MEASURED_ON, options, backbone, here)
        rows = sorted(results, key=lambda result: (-result["M"], -result["N"]))
        return [tables.render(rows, COLUMNS) + "\n" + remark]

    return runner.Job(
        name="sweep",
        settings=tuple(plans),
        identity={"metric": metric, "num_instances": options.num_instances or "oracle"},
        config={"limit": options.limit},
        analyse=instance_analysis(options, plans, watch, label=label),
        result=result,
        columns=COLUMNS,
        warnings=warnings,
        report=report,
        draw=heat_map.write,
    )


def check(options, dataset) -> None:
    """Raises SpecjaxError where there is nothing to score."""
    if not dataset.annotated:
        raise SpecjaxError(f"dataset {dataset.name!r} has no annotation: there is nothing to compare")


def _setting(M: int, N: int) -> str:
    return f"M={M},N={N}"


def _pair(setting: str) -> tuple[int, int]:
    M, N = re.fullmatch(r"M=(\d+),N=(\d+)", setting).groups()
    return int(M), int(N)


def main(arguments: Sequence[str]) -> int:
    """Read the flags and run."""
    if len(arguments) > 1:
        raise SpecjaxError(f"unexpected argument {arguments[1]!r}; datasets go to --data_dir")
    options = shared.read(flags.FLAGS, several_M=True)
    metrics = shared.metric_names(flags.FLAGS.metric)
    if len(metrics) > 1:
        raise SpecjaxError(f"--metric={','.join(metrics)}: this binary takes one")
    Ns = shared.deviation_counts(flags.FLAGS.N)
    return runner.run(options, lambda *parts: make_job(*parts, metrics[0], Ns), check)


if __name__ == "__main__":
    shared.define(M="C,C/2,C/3,C/5", N=(15, 30, 60, 120))
    shared.define_metric()
    flags.adopt_module_key_flags(shared)
    runner.execute(main)
