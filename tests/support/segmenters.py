"""A `Segmenter` of the tiny checkpoint, with settings that compile fast."""

import specjax

SIZE = 112


def opened(checkpoint, **settings):
    # "eigh" compiles faster.
    given = {"N": 16, "image_size": SIZE, "solver": "eigh", **settings}
    return specjax.Segmenter(checkpoint, **given)
