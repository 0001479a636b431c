r"""Studies on real photographs: the tables of docs/results-on-photographs.md.

    python -m experiments.photographs --study=metrics --data_dir=photographs \
        --checkpoint=facebook/dinov2-small

runs the other experiments on each set of photographs and prints the table of each set in Markdown:
scores with bootstrap intervals, and differences from the first row with paired tests. `--data_dir`
holds a folder for each set; the documentation lists them, where the photographs come from, and what
each study compares. Runs are kept in `--output_dir` and shared between studies: what is done in
them is not done again, and a folder of other settings is refused.
"""

import pathlib
import subprocess
import sys
from collections.abc import Sequence

from absl import flags

from experiments.reporting import photographs
from experiments.reporting.studies import SETS, STUDIES, PhotographSet, Study
from experiments.results.resampling import RESAMPLING
from specjax import SpecjaxError
from specjax._flags import Flag, check_texts, chosen, declare
from specjax._program import execute, refuse_arguments

FLAGS = {
    "study": Flag(
        "list",
        ["backbones"],
        "What to compare, one or several of: "
        + "; ".join(f"{name}, {study.about}" for name, study in STUDIES.items())
        + "; or all.",
    ),
    "sets": Flag("list", list(SETS), "Sets of photographs to use. Default: all of them."),
    "data_dir": Flag("string", "photographs", "Folder that holds the folders of the sets."),
    "checkpoint": Flag(
        "string",
        "facebook/dinov2-small",
        "Backbone, as for the other experiments. Some studies compare it with others.",
    ),
    "output_dir": Flag("string", "outputs/photographs", "Folder for the folders of all runs."),
    **RESAMPLING,
}


def complete_runs(
    study: Study, photographs: PhotographSet, name: str, values: flags.FlagValues
) -> dict[str, pathlib.Path]:
    """The folders of the runs that a study needs on a set, each run to its end.

    A run continues where it was, and checks that its folder has the same settings. Its status is 1
    if images failed, and names them.
    """
    folders: dict[str, pathlib.Path] = {}
    for row in study.rows:
        if row.run_name in folders:
            continue
        folder = pathlib.Path(values.output_dir) / f"{name}_{row.run_name}"
        folders[row.run_name] = folder
        data = photographs.flags(pathlib.Path(values.data_dir))
        command = row.command(values.checkpoint, several=photographs.several)
        command += [*data, f"--output_dir={folder}"]
        print("running", *command, file=sys.stderr)
        ended = subprocess.run([sys.executable, "-m", *command], stdout=subprocess.DEVNULL)
        if ended.returncode not in (0, 1):
            raise SpecjaxError(f"python -m {' '.join(command)} failed; its message is above")
    return folders


def main(arguments: Sequence[str]) -> int:
    """Read the flags, complete the runs, print the tables."""
    values = flags.FLAGS
    refuse_arguments(arguments, "give the folder of the sets with --data_dir")
    check_texts(values, ["data_dir", "checkpoint", "output_dir"])
    options = {"seed": values.seed, "resamples": values.resamples}
    sets = chosen("sets", values.sets, SETS)
    for study in (STUDIES[name] for name in chosen("study", values.study, STUDIES)):
        for name in sets:
            if study.several and not SETS[name].several:
                continue
            folders = complete_runs(study, SETS[name], name, values)
            print(f"\n{name}, {study.about}:\n")
            print(photographs.render(study, folders, **options), flush=True)
            if study.flaws:
                print(f"\n{photographs.flaws(study, folders)}", flush=True)
    return 0


if __name__ == "__main__":
    declare(FLAGS)
    execute(main)
