r"""What affinities make of the tokens of one instance: Fig. 6, 7 and 13.

    python -m experiments.similarity --figure=toy,variance

runs on the built-in samples; on a dataset, with the flags of `experiments.instance`. It writes, to
`figures/` in its folder,

- toy (Fig. 6, 7): three made-up pixels of one instance with irregular values in some channels, and
  their similarities under the dot product, Bray-Curtis and BoC; no dataset is opened for it;
- variance (Fig. 13): mR, the variance of similarities within instances over that between them, for
  each of the nine metrics (`experiments.plots.similarity_variance_numbers` says exactly how).
"""

import pathlib
from collections.abc import Sequence

from absl import flags

from experiments.analyses.similarity import variance_analysis
from experiments.loop import flags as shared
from experiments.loop import runner
from experiments.plots import similarity_variance as variance_plot
from experiments.plots import toy_pixels as toy_plot
from experiments.plots import toy_pixels_numbers as toy_pixels
from experiments.plots.similarity_variance_numbers import ratio_over_images
from experiments.runs.figures import FigureWriters, check_save
from specjax.affinity import METRICS
from specjax.errors import SpecjaxError

FIGURES = {
    "toy": "three made-up pixels and their similarities (Fig. 6, 7), without a dataset",
    "variance": "mR, variance within instances over that between them, by metric (Fig. 13)",
}

COLUMNS = {
    "metric": "metric",
    "M": "M",
    "N": "N",
    "mr": "mR",
    "intra": "intra",
    "inter": "inter",
    "images": "images",
    "images_left_out": "left out",
}


def draw_toy(folder: pathlib.Path) -> list[pathlib.Path]:
    """Fig. 6 and 7 in a folder."""
    pixels = toy_pixels.pixels()
    return toy_plot.draw(pixels, toy_pixels.similarities(pixels), folder / "toy")


def make_job(options, dataset, backbone, watch, figures: Sequence[str]) -> runner.Job:
    """The job of computing mR, with a setting per metric, and of drawing the figures."""
    config, warnings = runner.instance_config(options, backbone)

    def result(metric: str, lines: Sequence[dict]) -> dict:
        return {"metric": metric, "M": config.M, "N": config.N, **ratio_over_images(lines)}

    def draw(folder, lines):
        written = draw_toy(folder) if "toy" in figures else []
        results = [result(*of_metric) for of_metric in lines.items()]
        return written + variance_plot.draw(results, folder / "variance")

    return runner.Job(
        name="similarity",
        settings=tuple(METRICS),
        identity={"M": config.M, "N": config.N},
        config={"limit": options.limit},
        analyse=variance_analysis(options, config, watch),
        result=result,
        columns=COLUMNS,
        warnings=warnings,
        writers=lambda store, save: FigureWriters(store, save, draw),
    )


def check(options, dataset) -> None:
    """Raises SpecjaxError where the dataset or the flags do not suit the figure of variances."""
    if not dataset.annotated:
        raise SpecjaxError(
            f"--figure=variance needs annotated instances, and dataset {dataset.name!r} has no"
            " annotation; --figure=toy needs none"
        )


def main(arguments: Sequence[str]) -> int:
    """Read the flags and run."""
    if len(arguments) > 1:
        raise SpecjaxError(f"unexpected argument {arguments[1]!r}; datasets go to --data_dir")
    options = shared.read(flags.FLAGS)
    check_save(options.save)
    figures = shared.figure_names(flags.FLAGS.figure, FIGURES)
    if "variance" in figures:
        return runner.run(options, lambda *parts: make_job(*parts, figures), check)
    # Alone it is no run: the folder may still become one.
    print(*draw_toy(options.output_dir or pathlib.Path("outputs/similarity-toy")), sep="\n")
    return 0


if __name__ == "__main__":
    shared.define()
    shared.define_figure(FIGURES)
    flags.adopt_module_key_flags(shared)
    runner.execute(main)
