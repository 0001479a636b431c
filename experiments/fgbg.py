r"""Foreground segmentation, with and without post-processing, by number of channels.

    python -m experiments.fgbg --M=C/3

runs on the built-in samples; `--M` takes several values too, as in `--M=C,3C/4,C/2,C/3`. On a
dataset:

    python -m experiments.fgbg --M=C/3 --dataset=voc --data_dir=VOCdevkit/VOC2012 --split=trainval

Prints F-scores in percent beside the published ones (Table I). Several M are also drawn as a curve
with the published ones, `foreground_curve.png` (Fig. 8 and 9); with `--save=overlays` each M has a
folder of pictures (Fig. 10).
"""

from experiments.analyses.foreground import ForegroundExperiment
from experiments.loop import flags, program

if __name__ == "__main__":
    flags.define()
    program.run_experiment(ForegroundExperiment, several="M")
