r"""Finished runs as one HTML page, to read or to send.

    python -m experiments.report outputs/instance-samples-0123abcd outputs/mine

takes the folders of finished runs (or their `summary.json`) and writes `outputs/report.html`
(`--output`): the scores beside the published ones, bootstrap intervals over images, a paired test
between metrics, the plots with their numbers, the best, the median and the worst images, failures,
configuration and versions. The page needs no other file and no network. The plots of intervals are
also saved beside it, in `report_plots/`, as PNG, SVG and CSV. Prints the paths of what it wrote.
"""

import pathlib
from collections.abc import Sequence

from absl import flags

from experiments.reporting.page import Table, render
from experiments.reporting.pictures import Album
from experiments.reporting.runs import read_run
from experiments.reporting.sections import OVERVIEW_HEADINGS, overview_row, section_of
from experiments.results.resampling import RESAMPLING
from specjax import SpecjaxError
from specjax._flags import Flag, declare
from specjax._folder import write_atomically
from specjax._program import execute

FLAGS = {
    "output": Flag("string", "outputs/report.html", "File to write; its name ends in .html."),
    **RESAMPLING,
}


def write(
    folders: Sequence[pathlib.Path], output: pathlib.Path, *, seed: int, resamples: int
) -> list[pathlib.Path]:
    """Write a page about these runs and its plots; returns their paths."""
    runs = [read_run(folder) for folder in folders]
    album, sections, rows, written = Album(), [], [], [output]
    plots = output.with_name(f"{output.stem}_plots")
    for number, run in enumerate(runs, start=1):
        section, drawn = section_of(run, number, album, plots=plots, seed=seed, resamples=resamples)
        sections.append(section)
        rows.append([section["title"], *overview_row(run)])
        written += drawn
    text = render(
        sections=sections,
        overview=Table("Runs", ["run", *OVERVIEW_HEADINGS], rows),
        resamples=resamples,
        seed=seed,
        in_videos=any(run.unit == "videos" for run in runs),
    )
    # A lone surrogate, which JSON can hold and a text file cannot, becomes a question mark.
    content = text.encode(errors="replace")
    write_atomically(output, lambda stream: stream.write(content))
    return written


def main(arguments: Sequence[str]) -> int:
    """Read the flags and write the page."""
    values = flags.FLAGS
    folders = list(dict.fromkeys(map(pathlib.Path, arguments[1:])))
    if not folders:
        raise SpecjaxError("no runs given: name the folders of finished runs (their --output_dir)")
    output = pathlib.Path(values.output)
    if output.suffix != ".html":
        raise SpecjaxError(f"--output={values.output}: give a name that ends in .html")
    if output.is_dir():
        raise SpecjaxError(f"--output={values.output} is a folder: give the name of a file")
    print(*write(folders, output, seed=values.seed, resamples=values.resamples), sep="\n")
    return 0


if __name__ == "__main__":
    declare(FLAGS)
    execute(main)
