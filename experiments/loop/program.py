"""A program around an experiment: flags in, exit status out."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from absl import flags

from experiments.loop import flags as experiment_flags
from experiments.loop.experiment import Experiment
from experiments.loop.flags import Options
from experiments.loop.run import run
from specjax import SpecjaxError
from specjax._program import execute, refuse_arguments


def run_experiment(
    kind: type[Experiment],
    *,
    several: str = "",
    photographs: bool = False,
    instead: Mapping[tuple[str, ...], Callable[[Options], int]] | None = None,
) -> None:
    """Run an experiment as a program whose flags `experiments.loop.flags.define` has declared.

    Args:
        kind: the experiment.
        several: of "M" and "N" those flags that may have several values.
        photographs: whether images may be named as arguments.
        instead: what to do where `--figure` has just these values, for which no run is needed.
    """

    def main(arguments: Sequence[str]) -> int:
        options = experiment_flags.read(flags.FLAGS, several=several, figures=kind.figures)
        if photographs:
            options = with_photographs(options, arguments[1:])
        else:
            refuse_arguments(arguments, "datasets go to --data_dir")
        if options.figures in (instead or {}):
            return instead[options.figures](options)
        return run(options, kind)

    execute(main)


def with_photographs(options: Options, paths: Sequence[str]) -> Options:
    """The options with the images that are named as arguments, if any are.

    Raises:
        SpecjaxError: images are named in two ways, or in none.
    """
    if paths and options.dataset != "folder":
        raise SpecjaxError(
            f"images as arguments and --dataset={options.dataset} exclude each other"
        )
    if paths and options.data_dir:
        raise SpecjaxError("give images as arguments or by --data_dir, not both")
    if options.dataset == "folder" and not (paths or options.data_dir):
        raise SpecjaxError(
            "no images given: name a folder, an image, a glob or a text list of paths"
        )
    return dataclasses.replace(options, data_dir=list(paths)) if paths else options
