r"""Instance masks for your own photographs; no annotation needed.

    python -m experiments.segment photos/ --num_instances=3

takes folders, images, globs and text lists of paths. It writes, to --output_dir, label maps,
pictures to look at, and COCO JSON.
"""

from experiments.analyses.instance import Segment
from experiments.loop import flags, program

if __name__ == "__main__":
    save = ["labels", "overlays", "gallery", "coco"]
    flags.define(metric=True, dataset="folder", save=save)
    program.run_experiment(Segment, photographs=True)
