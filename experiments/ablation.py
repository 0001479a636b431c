r"""Table V: what NCR, DCR and BoC each add, beside the published numbers.

    python -m experiments.ablation --M=128 --N=60

runs on the built-in samples. The six settings concern the instance stage: without NCR it keeps all
channels, without DCR all of NCR's (N = M), without BoC it compares tokens by their dot product. In
the first table the foreground is the same for all six, at the given M. The paper does not say
whether its settings without NCR also find the foreground on all channels: in the second table they
do, and the others are as in the first.
"""

from experiments.analyses.ablation import Ablation
from experiments.loop import flags, program

if __name__ == "__main__":
    flags.define()
    program.run_experiment(Ablation)
