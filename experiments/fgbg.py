r"""Foreground segmentation, with and without post-processing, by number of channels.

    python -m experiments.fgbg --M=C/3

runs on the built-in samples. `--M` also takes several values, as in `--M=C,3C/4,C/2,C/3`. On a
dataset:

    python -m experiments.fgbg --M=C/3 --dataset=voc --data_dir=VOCdevkit/VOC2012 --split=trainval

Prints F-scores in percent, with and without ("raw") post-processing, beside the published ones
(Table I), and writes `summary.json` and `per_image.jsonl`. If there are several M, it also draws
F-score against M, with the published curves, as `foreground_curve.png` (Fig. 8 and 9). With
`--save=overlays` each M has a folder of pictures (Fig. 10).
"""

from experiments.analyses.foreground import ForegroundExperiment
from experiments.loop import flags, program

if __name__ == "__main__":
    flags.define()
    program.run_experiment(ForegroundExperiment, several="M")
