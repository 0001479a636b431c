r"""MIoU over a grid of M and N, the numbers of channels that NCR and DCR keep, as a heat map.

    python -m experiments.sweep --M=C,C/2,C/3,C/5 --N=15,30,60,120

runs on the built-in samples; on a dataset:

    python -m experiments.sweep --M=C,C/2,C/3,C/5 --N=15,30,60,120 \
        --dataset=voc --data_dir=VOCdevkit/VOC2012 --checkpoint=facebook/dino-vits16

Prints a table with a row for each pair and writes `summary.json`, `per_image.jsonl` and
`heat_map.png`. M holds for both stages, as in `experiments.instance`. Pairs with N above M do not
exist and are left out. The features of an image are computed once, its foreground once for each M.
The same command with more values of M or N computes only the new pairs.
"""

from experiments.analyses.sweep import Sweep
from experiments.loop import flags, program

if __name__ == "__main__":
    flags.define(metric=True, M="C,C/2,C/3,C/5", N="15,30,60,120")
    program.run_experiment(Sweep, several="MN")
