r"""What single channels say of instances: Fig. 1, 2, 4 and 5.

    python -m experiments.channels --figure=oracle,gallery,deviation

runs on the built-in samples; on a dataset, with the flags of `experiments.instance`. It writes, to
`figures/` in its folder,

- oracle (Fig. 2): the mIoU of each image's best single channel beside the method's, by number of
  instances (`experiments.plots.channel_oracle` says exactly how);
- gallery (Fig. 1, 4): for each of the first 24 images a sheet of all channels by entropy, and of
  the selected ones times the foreground;
- deviation (Fig. 5): standard deviation by rank beside the mean difference between instances
  (`experiments.plots.channel_deviation`).
"""

from experiments.analyses.channels import Channels
from experiments.loop import flags, program

if __name__ == "__main__":
    flags.define(figures=Channels.figures)
    program.run_experiment(Channels)
