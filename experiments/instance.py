r"""Instance segmentation with scores; without flags, the default run.

    python -m experiments.instance --metric=boc --M=128 --N=60

runs on the built-in samples, with nothing to download. On a dataset:

    python -m experiments.instance --metric=boc --M=128 --N=60 \
        --dataset=voc --data_dir=VOCdevkit/VOC2012 --checkpoint=facebook/dino-vits16

Prints mIoU and F-score in percent beside the published numbers (Table II), and the mIoU of images
grouped by how much their instances overlap and differ in size (Tables III and IV). Writes
`summary.json`, `per_image.jsonl` and a picture of the first images, `gallery.png`. If there are
several metrics, it also draws their mIoU in these groups, as `strata_mbor.png` and
`strata_size_ratio.png` (Fig. 11 and 12).

The number of instances is the annotated one, as in the paper; `--num_instances` sets another one.
The published numbers are for YouTube-VIS 2019 and DINO ViT-S/16: the line under the table names the
dataset and the backbone of the run beside them.
"""

from experiments.analyses.instance import Instance
from experiments.loop import flags, program

if __name__ == "__main__":
    flags.define(metric=True, save=["gallery"])
    program.run_experiment(Instance)
