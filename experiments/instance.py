r"""Instance segmentation, scored: the main job.

    python -m experiments.instance --metric=boc --M=128 --N=60

runs on the built-in samples, with nothing to download. On a dataset:

    python -m experiments.instance --metric=boc --M=128 --N=60 \
        --dataset=voc --data_dir=VOCdevkit/VOC2012 --checkpoint=facebook/dino-vits16

Prints mIoU and F-score in percent, and writes `summary.json`, `per_image.jsonl` and a picture of
the first images, `gallery.png`.
"""

import dataclasses
from collections.abc import Sequence

from absl import flags

from experiments.harness import options as shared
from experiments.harness import runner
from experiments.harness.analysis import Plan, aggregate, instance_analysis
from specjax.errors import UserError

COLUMNS = {
    "metric": "metric",
    "M": "M",
    "N": "N",
    "protocol": "protocol",
    "miou": "mIoU %",
    "miou_instances": "mIoU % (instances)",
    "f_score": "F %",
    "f_score_raw": "F % raw",
    "images": "images",
    "instances": "instances",
}

# Without annotation no image is scored, and all count as images without (annotated) instances.
UNSCORED_COLUMNS = {
    "metric": "metric",
    "M": "M",
    "N": "N",
    "protocol": "protocol",
    "images_without_instances": "images",
}


def check(options, dataset) -> None:
    """Raises UserError where the number of instances is neither given nor annotated."""
    if options.num_instances is None and not dataset.annotated:
        raise UserError(
            f"dataset {dataset.name!r} has no annotation to count instances in: give"
            " --num_instances=3, or another number"
        )


def make_job(options, dataset, backbone, watch, metrics: Sequence[str], name: str) -> runner.Job:
    """The job of segmenting instances under each of `metrics`."""
    config, warnings = runner.instance_config(options, backbone)
    plans = {
        metric: Plan(config, dataclasses.replace(config, metric=metric)) for metric in metrics
    }
    common = {"M": config.M, "N": config.N, "protocol": options.protocol.name}

    def label(metric: str) -> dict:
        return {"metric": metric, "M": config.M, "N": config.N}

    return runner.Job(
        name=name,
        settings=tuple(metrics),
        identity={
            "M": config.M,
            "N": config.N,
            "num_instances": options.num_instances or "oracle",
        },
        config={"limit": options.limit},
        analyse=instance_analysis(options, plans, watch, label=label),
        result=lambda metric, lines: {
            "metric": metric,
            **common,
            "miou": None,
            "miou_instances": None,
            **aggregate(lines),
        },
        columns=COLUMNS if dataset.annotated else UNSCORED_COLUMNS,
        warnings=warnings,
    )


def main(arguments: Sequence[str]) -> int:
    """Read the flags and run."""
    if len(arguments) > 1:
        raise UserError(f"unexpected argument {arguments[1]!r}; datasets go to --data_dir")
    options = shared.read(flags.FLAGS)
    metrics = shared.metric_names(flags.FLAGS.metric)
    return runner.run(options, lambda *parts: make_job(*parts, metrics, "instance"), check)


if __name__ == "__main__":
    shared.define(save=("gallery",))
    shared.define_metric()
    flags.adopt_module_key_flags(shared)
    runner.execute(main)
