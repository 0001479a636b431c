r"""Instance segmentation, scored: the main job.

    python -m experiments.instance --metric=boc --M=128 --N=60

runs on the built-in samples, with nothing to download. On a dataset:

    python -m experiments.instance --metric=boc --M=128 --N=60 \
        --dataset=voc --data_dir=VOCdevkit/VOC2012 --checkpoint=facebook/dino-vits16

Prints mIoU and F-score in percent beside the published numbers (Table II), mIoU by how much the
instances overlap and differ in size (Tables III and IV), and writes `summary.json`,
`per_image.jsonl` and a picture of the first images, `gallery.png`. Several metrics are also drawn
side by side, as `strata_mbor.png` and `strata_size_ratio.png` (Fig. 11 and 12).
"""

import dataclasses
import pathlib
from collections.abc import Sequence

from absl import flags

from experiments.analyses.segmentation import Plan, aggregate, instance_analysis
from experiments.loop import flags as shared
from experiments.loop import runner
from experiments.plots import strata_plot
from experiments.results import published, strata, tables
from specjax.errors import SpecjaxError

COLUMNS = {
    "metric": "metric",
    "M": "M",
    "N": "N",
    "protocol": "protocol",
    "miou": "mIoU %",
    "published": "published",
    "difference": "difference",
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
    """Raises SpecjaxError where the number of instances is neither given nor annotated."""
    if options.num_instances is None and not dataset.annotated:
        raise SpecjaxError(
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

    papers_setting = published.is_papers_setting(config, options.num_instances)

    def label(metric: str) -> dict:
        return {"metric": metric, "M": config.M, "N": config.N}

    def result(metric: str, lines: list[dict]) -> dict:
        scores = {"miou": None, "miou_instances": None, **aggregate(lines)}
        theirs = published.miou(metric) if papers_setting else None
        return {
            "metric": metric,
            **common,
            **scores,
            **published.compared(scores["miou"], theirs),
            **strata.scores(lines, metric, papers_setting=papers_setting),
        }

    def report(results: Sequence[dict]) -> list[str]:
        here = published.instance_setting(config, options.num_instances)
        remark = published.remark(published.INSTANCES_MEASURED_ON, options, backbone, here)
        return [tables.render(results, COLUMNS) + "\n" + remark, *strata.report(results)]

    def draw(folder: pathlib.Path, results: Sequence[dict]) -> list[pathlib.Path]:
        return strata_plot.write(folder, results) if len(results) > 1 else []

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
        result=result,
        columns=COLUMNS if dataset.annotated else UNSCORED_COLUMNS,
        warnings=warnings,
        report=report if dataset.annotated else None,
        draw=draw if dataset.annotated else None,
    )


def main(arguments: Sequence[str]) -> int:
    """Read the flags and run."""
    if len(arguments) > 1:
        raise SpecjaxError(f"unexpected argument {arguments[1]!r}; datasets go to --data_dir")
    options = shared.read(flags.FLAGS)
    metrics = shared.metric_names(flags.FLAGS.metric)
    return runner.run(options, lambda *parts: make_job(*parts, metrics, "instance"), check)


if __name__ == "__main__":
    shared.define(save=("gallery",))
    shared.define_metric()
    flags.adopt_module_key_flags(shared)
    runner.execute(main)
