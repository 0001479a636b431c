r"""What affinities make of the tokens of one instance: Fig. 6, 7 and 13.

    python -m experiments.similarity --figure=toy,variance

runs on the built-in samples; on a dataset, with the flags of `experiments.instance`. It writes, to
`figures/` in its folder,

- toy (Fig. 6, 7): three made-up pixels of one instance with irregular values in some channels, and
  their similarities under the dot product, Bray-Curtis and BoC; no dataset is opened for it;
- variance (Fig. 13): mR, the variance of similarities within instances over that between them, for
  each of the nine metrics (`experiments.plots.similarity_variance` says exactly how).
"""

import pathlib

from experiments.analyses.similarity import Similarity
from experiments.loop import flags, program
from experiments.loop.flags import Options
from experiments.plots import toy_pixels


def toy(options: Options) -> int:
    """The figure that needs no dataset; the folder may still become that of a run."""
    print(*toy_pixels.write(options.output_dir or pathlib.Path("outputs/similarity-toy")), sep="\n")
    return 0


if __name__ == "__main__":
    flags.define(figures=Similarity.figures)
    program.run_experiment(Similarity, instead={("toy",): toy})
