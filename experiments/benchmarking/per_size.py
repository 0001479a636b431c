r"""A plain loop to compare with: one image at a time, compiled anew for each size of image.

    python -m experiments.benchmarking.per_size photos/ 3

reads a folder and labels three instances an image as `experiments.instance` does, with a ViT-S/16
of random weights and nothing saved: what a short script over the library's functions would be.
Nothing is padded, so that each size is compiled; the instance graph has a node for each token,
since its size must be chosen before; nothing is read ahead, and no program is kept on disk.
"""

import functools
import sys
import time

import jax
import jax.numpy as jnp

from experiments.datasets import open_dataset
from specjax import _memory as memory
from specjax import images, pipeline
from specjax.config import Config
from specjax.models.checkpoints.loading import random_checkpoint
from specjax.models.config import VIT_S16


@functools.partial(jax.jit, static_argnames=("grid",))
def segment(model, patches, num_instances, key, *, grid: tuple[int, int]):
    """Labels of one image; `grid` is its exact size in tokens."""
    config, size = Config(), jnp.asarray(grid)
    features = pipeline.extract_features(model, patches, size)
    mask = pipeline.segment_foreground(features, size, config=config).mask
    reduced = pipeline.reduce_for_instances(features, mask, size, config=config)
    graph = pipeline.build_instance_graph(reduced, mask, size, config=config)
    pairs = pipeline.solve_instance_graph(*graph, config=config)
    return pipeline.label_instances(
        pairs, mask, size, num_instances, key, config=config, max_instances=8
    ).labels


def main(folder: str, num_instances: str) -> None:
    """Label every image; print how many, of how many sizes, and how fast."""
    memory.keep_freed_memory()
    start = time.perf_counter()
    model = random_checkpoint(VIT_S16, seed=0).model
    key, count = jax.random.key(0), 0
    for record in open_dataset("folder", data_dir=folder).records():
        image = images.crop_to_patches(record.read_image(), 16, name=record.id)
        grid = (image.shape[0] // 16, image.shape[1] // 16)
        patches = jnp.asarray(images.patchify(images.normalize(image), 16))
        labels = segment(model, patches, int(num_instances), key, grid=grid)
        jax.block_until_ready(labels)
        count += 1
    seconds = time.perf_counter() - start
    print(f"{count} images, {segment._cache_size()} sizes, {seconds:.2f} s")


if __name__ == "__main__":
    main(*sys.argv[1:])
