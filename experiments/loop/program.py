"""Runs an experiment as a program: flags in, exit status out."""

from collections.abc import Callable, Mapping, Sequence

from absl import flags

from experiments.loop import flags as experiment_flags
from experiments.loop.experiment import Experiment
from experiments.loop.flags import Options
from experiments.loop.run import run
from specjax._program import execute, refuse_arguments


def run_experiment(
    kind: type[Experiment],
    *,
    several: str = "",
    instead: Mapping[tuple[str, ...], Callable[[Options], int]] | None = None,
) -> None:
    """Run an experiment as a program whose flags `experiments.loop.flags.define` has declared.

    Of "M" and "N", the flags in `several` may have several values. `instead` has a function to call
    in place of a run where `--figure` has exactly these values.
    """
    alternatives = instead or {}

    def main(arguments: Sequence[str]) -> int:
        options = experiment_flags.read(flags.FLAGS, several=several, figures=kind.figures)
        refuse_arguments(arguments, "give the dataset's folder with --data_dir")
        if options.figures in alternatives:
            return alternatives[options.figures](options)
        return run(options, kind)

    execute(main)
