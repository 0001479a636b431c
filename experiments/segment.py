r"""Instance masks for your own photographs; no annotation needed.

    python -m experiments.segment photos/ --num_instances=3

takes folders, images, globs and text lists of paths. It writes, to --output_dir, label maps,
pictures to look at, and COCO JSON.
"""

import dataclasses
from collections.abc import Sequence

from absl import flags

from experiments import instance
from experiments.loop import flags as shared
from experiments.loop import runner
from specjax.errors import SpecjaxError


def with_images(options: shared.Options, paths: Sequence[str]) -> shared.Options:
    """The options with the images that are named as arguments, if any are.

    Raises:
        SpecjaxError: images are named in two ways, or in none.
    """
    if paths and options.dataset != "folder":
        raise SpecjaxError(f"images as arguments and --dataset={options.dataset} exclude each other")
    if paths and options.data_dir:
        raise SpecjaxError("give images as arguments or by --data_dir, not both")
    if paths:
        return dataclasses.replace(options, data_dir=paths)
    if options.dataset == "folder" and not options.data_dir:
        raise SpecjaxError("no images given: name a folder, an image, a glob or a text list of paths")
    return options


def main(arguments: Sequence[str]) -> int:
    """Read the flags and run."""
    options = with_images(shared.read(flags.FLAGS), arguments[1:])
    metrics = shared.metric_names(flags.FLAGS.metric)
    return runner.run(
        options, lambda *parts: instance.make_job(*parts, metrics, "segment"), instance.check
    )


if __name__ == "__main__":
    shared.define(dataset="folder", save=("labels", "overlays", "gallery", "coco"))
    shared.define_metric()
    flags.adopt_module_key_flags(shared)
    runner.execute(main)
