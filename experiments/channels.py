r"""What single channels reveal about instances: Fig. 1, 2, 4 and 5.

    python -m experiments.channels --figure=oracle,gallery,deviation

runs on the built-in samples; on a dataset, with the flags of `experiments.instance`. Prints the
means and writes three figures to the run's `figures/`:

- oracle (Fig. 2): the mIoU of each image's best single channel, chosen with the annotation, beside
  the mIoU of the method, by number of instances (`experiments.plots.channel_oracle` has the exact
  definition);
- gallery (Fig. 1, 4): for each of the first 24 images, a sheet of all channels in the order of
  their entropy, and of the selected channels times the foreground;
- deviation (Fig. 5): for channels ranked by standard deviation, that deviation beside the mean
  difference between instances (`experiments.plots.channel_deviation`).

The paper draws these figures without giving their numbers; where it leaves a definition open, the
modules named above state ours.
"""

from experiments.analyses.channels import Channels
from experiments.loop import flags, program

if __name__ == "__main__":
    flags.define(figures=Channels.figures)
    program.run_experiment(Channels)
