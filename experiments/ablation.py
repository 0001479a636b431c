r"""Table V: what NCR, DCR and BoC each add to the mIoU, beside the published numbers.

    python -m experiments.ablation --M=128 --N=60

runs on the built-in samples; on a dataset, with the flags of `experiments.instance`. Prints two
tables of six settings and writes `summary.json` and `per_image.jsonl`.

The six settings change the instance stage. Without NCR it keeps all channels; without DCR it keeps
all M channels (N = M); without BoC it compares tokens by their dot product. In the first table all
six use the same foreground, found with NCR at the given M. The paper does not say whether its
settings without NCR also find the foreground on all channels. In the second table they do; its
other settings are those of the first.
"""

from experiments.analyses.ablation import Ablation
from experiments.loop import flags, program

if __name__ == "__main__":
    flags.define()
    program.run_experiment(Ablation)
