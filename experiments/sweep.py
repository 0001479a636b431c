r"""MIoU over a grid of M and N, the channels kept by NCR and of those by DCR, as a heat map.

    python -m experiments.sweep --M=C,C/2,C/3,C/5 --N=15,30,60,120

runs on the built-in samples; on a dataset:

    python -m experiments.sweep --M=C,C/2,C/3,C/5 --N=15,30,60,120 \
        --dataset=voc --data_dir=VOCdevkit/VOC2012 --checkpoint=facebook/dino-vits16

M governs both stages, as in the default run: an image's foreground is found once for each M, its
features once. Pairs with N above M do not exist and are left out. Writes `heat_map.png` beside what
every run writes; M and N may be added to later.
"""

from experiments.analyses.sweep import Sweep
from experiments.loop import flags, program

if __name__ == "__main__":
    flags.define(metric=True, M="C,C/2,C/3,C/5", N="15,30,60,120")
    program.run_experiment(Sweep, several="MN")
