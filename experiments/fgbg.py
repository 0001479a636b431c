r"""Foreground segmentation, with and without post-processing, by number of channels.

    python -m experiments.fgbg --M=C/3

runs on the built-in samples; `--M` takes several values too, as in `--M=C,3C/4,C/2,C/3`. On a
dataset:

    python -m experiments.fgbg --M=C/3 --dataset=voc --data_dir=VOCdevkit/VOC2012 --split=trainval

Prints F-scores in percent beside the published ones (Table I). Several M are also drawn as a curve
with the published ones, `foreground_curve.png` (Fig. 8 and 9); with `--save=overlays` each M has a
folder of pictures (Fig. 10).
"""

import pathlib
from collections.abc import Sequence

from absl import flags

from experiments.analyses.segmentation import aggregate, foreground_analysis
from experiments.loop import flags as shared
from experiments.loop import runner
from experiments.plots import foreground_curve
from experiments.results import published, tables
from specjax.errors import SpecjaxError

COLUMNS = {
    "M": "M",
    "protocol": "protocol",
    "f_score": "F %",
    "published": "published",
    "difference": "difference",
    "f_score_raw": "F % raw",
    "published_raw": "published raw",
    "difference_raw": "difference",
    "images": "images",
    "instances": "instances",
}


# Without annotation no image is scored, and all count as images without (annotated) instances.
UNSCORED_COLUMNS = {"M": "M", "protocol": "protocol", "images_without_instances": "images"}


def make_job(options, dataset, backbone, watch) -> runner.Job:
    """The job of segmenting the foreground at each of the flag's M."""
    counts = [count.of(backbone.channels) for count in options.M]
    configs = {
        f"M={M}": runner.instance_config(options, backbone, M=M)[0] for M in dict.fromkeys(counts)
    }

    part = published.closest(dataset.name)

    def result(setting: str, lines: list[dict]) -> dict:
        M = int(setting.removeprefix("M="))
        scores = aggregate(lines)
        theirs, theirs_raw = published.f_score(part, M, backbone.channels)
        raw = published.compared(scores["f_score_raw"], theirs_raw)
        return {
            "M": M,
            "protocol": options.protocol.name,
            **scores,
            **published.compared(scores["f_score"], theirs),
            **{f"{key}_raw": value for key, value in raw.items()},
        }

    def report(results: Sequence[dict]) -> list[str]:
        here = f"C = {backbone.channels}"
        measured_on = published.FOREGROUND_MEASURED_ON[part]
        remark = published.remark(measured_on, options, backbone, here)
        return [tables.render(results, COLUMNS) + "\n" + remark]

    def draw(folder: pathlib.Path, results: Sequence[dict]) -> list[pathlib.Path]:
        return foreground_curve.write(folder, results, backbone.channels)

    return runner.Job(
        name="fgbg",
        settings=tuple(configs),
        identity={},
        config={"limit": options.limit},
        analyse=foreground_analysis(configs, watch),
        result=result,
        columns=COLUMNS if dataset.annotated else UNSCORED_COLUMNS,
        report=report if dataset.annotated else None,
        draw=draw if dataset.annotated else None,
    )


def main(arguments: Sequence[str]) -> int:
    """Read the flags and run."""
    if len(arguments) > 1:
        raise SpecjaxError(f"unexpected argument {arguments[1]!r}; datasets go to --data_dir")
    return runner.run(shared.read(flags.FLAGS, several_M=True), make_job)


if __name__ == "__main__":
    shared.define()
    flags.adopt_module_key_flags(shared)
    runner.execute(main)
