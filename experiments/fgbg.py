r"""Foreground segmentation, with and without post-processing, by number of channels.

    python -m experiments.fgbg --M=C/3

runs on the built-in samples; `--M` takes several values too, as in `--M=C,3C/4,C/2,C/3`. On a
dataset:

    python -m experiments.fgbg --M=C/3 --dataset=voc --data_dir=VOCdevkit/VOC2012 --split=trainval
"""

from collections.abc import Sequence

from absl import flags

from experiments.harness import options as shared
from experiments.harness import runner
from experiments.harness.analysis import aggregate, foreground_analysis
from specjax.errors import UserError

COLUMNS = {
    "M": "M",
    "protocol": "protocol",
    "f_score": "F %",
    "f_score_raw": "F % raw",
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

    def result(setting: str, lines: list[dict]) -> dict:
        M = int(setting.removeprefix("M="))
        return {"M": M, "protocol": options.protocol.name, **aggregate(lines)}

    return runner.Job(
        name="fgbg",
        settings=tuple(configs),
        identity={},
        config={"limit": options.limit},
        analyse=foreground_analysis(configs, watch),
        result=result,
        columns=COLUMNS if dataset.annotated else UNSCORED_COLUMNS,
    )


def main(arguments: Sequence[str]) -> int:
    """Read the flags and run."""
    if len(arguments) > 1:
        raise UserError(f"unexpected argument {arguments[1]!r}; datasets go to --data_dir")
    return runner.run(shared.read(flags.FLAGS, several_M=True), make_job)


if __name__ == "__main__":
    shared.define()
    flags.adopt_module_key_flags(shared)
    runner.execute(main)
