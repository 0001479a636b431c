r"""What single channels say of instances: Fig. 1, 2, 4 and 5.

    python -m experiments.channels --figure=oracle,gallery,deviation

runs on the built-in samples; on a dataset, with the flags of `experiments.instance`. It writes, to
`figures/` in its folder,

- oracle (Fig. 2): the mIoU of each image's best single channel beside the method's, by number of
  instances (`experiments.plots.channel_oracle_numbers` says exactly how);
- gallery (Fig. 1, 4): for each of the first 24 images a sheet of all channels by entropy, and of
  the selected ones times the foreground;
- deviation (Fig. 5): standard deviation by rank beside the mean difference between instances
  (`experiments.plots.channel_deviation_numbers`).
"""

from collections.abc import Sequence

from absl import flags

from experiments.analyses.channels import channel_analysis
from experiments.loop import flags as shared
from experiments.loop import runner
from experiments.plots.channel_figures import ChannelFigures
from experiments.plots.channel_oracle_numbers import by_number_of_instances
from experiments.results.tables import mean
from experiments.runs.figures import check_save
from specjax.errors import SpecjaxError

FIGURES = {
    "oracle": "mIoU of the best single channel, by number of instances (Fig. 2)",
    "gallery": "a sheet of each image's channels by entropy (Fig. 1, 4), first 24 images",
    "deviation": "standard deviation and difference between instances by rank (Fig. 5)",
}
_ANNOTATED = ("oracle", "deviation")

COLUMNS = {
    "figure": "figure",
    "M": "M",
    "N": "N",
    "best_channel_miou": "best channel mIoU %",
    "method_miou": "method mIoU %",
    "images": "images",
    "images_left_out": "left out",
}


def make_job(options, dataset, backbone, watch, figures: Sequence[str]) -> runner.Job:
    """The job of making these figures, a setting each."""
    config, warnings = runner.instance_config(options, backbone)

    def result(figure: str, lines: list[dict]) -> dict:
        shared_part = {"figure": figure, "M": config.M, "N": config.N}
        if figure not in _ANNOTATED:
            return {**shared_part, "images": len(lines)}
        told = [line for line in lines if line["num_instances"] >= 2]
        counts = {"images": len(told), "images_left_out": len(lines) - len(told)}
        if figure == "deviation":
            return {**shared_part, **counts}
        return {
            **shared_part,
            "best_channel_miou": mean(line["best_channel_miou"] for line in told),
            "method_miou": mean(line["method_miou"] for line in told),
            **counts,
            "by_instances": by_number_of_instances(lines),
        }

    return runner.Job(
        name="channels",
        settings=tuple(figures),
        identity={"M": config.M, "N": config.N},
        config={"limit": options.limit},
        analyse=channel_analysis(options, config, watch),
        result=result,
        columns=COLUMNS,
        warnings=warnings,
        writers=lambda store, save: ChannelFigures(store, save, config),
    )


def check(options, dataset, figures: Sequence[str]) -> None:
    """Raises SpecjaxError where the dataset or the flags do not suit the figures."""
    check_save(options.save)
    for figure in figures:
        if figure in _ANNOTATED and not dataset.annotated:
            raise SpecjaxError(
                f"--figure={figure} needs annotated instances, and dataset {dataset.name!r} has no"
                " annotation; --figure=gallery needs none"
            )
    if "oracle" in figures and options.num_instances is not None:
        raise SpecjaxError(
            f"--num_instances={options.num_instances}: --figure=oracle splits each image into as"
            " many instances as are annotated; leave the flag out"
        )


def main(arguments: Sequence[str]) -> int:
    """Read the flags and run."""
    if len(arguments) > 1:
        raise SpecjaxError(f"unexpected argument {arguments[1]!r}; datasets go to --data_dir")
    options = shared.read(flags.FLAGS)
    figures = shared.figure_names(flags.FLAGS.figure, FIGURES)
    return runner.run(
        options,
        lambda *parts: make_job(*parts, figures),
        lambda *parts: check(*parts, figures),
    )


if __name__ == "__main__":
    shared.define()
    shared.define_figure(FIGURES)
    flags.adopt_module_key_flags(shared)
    runner.execute(main)
