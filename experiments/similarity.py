r"""How evenly each metric sees the tokens of one instance: Fig. 6, 7 and 13.

    python -m experiments.similarity --figure=toy,variance

runs on the built-in samples; on a dataset, with the flags of `experiments.instance`. Prints mR for
each metric and writes two figures to the run's `figures/`:

- toy (Fig. 6, 7): three made-up pixels of one instance with irregular values in some channels, and
  their similarities under the dot product, Bray-Curtis and BoC. The numbers are ours, as the paper
  gives none. `--figure=toy` alone opens no dataset;
- variance (Fig. 13): mR, the variance of similarities within instances divided by that between
  instances, for each of the nine metrics. The paper defines mR in one line;
  `experiments.plots.similarity_variance` states our reading.
"""

import pathlib

from experiments.analyses.similarity import Similarity
from experiments.loop import flags, program
from experiments.loop.flags import Options
from experiments.plots import toy_pixels


def toy(options: Options) -> int:
    """Draw the figure that needs no dataset; its folder may later become that of a run."""
    print(*toy_pixels.write(options.output_dir or pathlib.Path("outputs/similarity-toy")), sep="\n")
    return 0


if __name__ == "__main__":
    flags.define(figures=Similarity.figures)
    program.run_experiment(Similarity, instead={("toy",): toy})
