"""The flags of the benchmark, and the sizes of images that they name."""

import re
from typing import NamedTuple

from specjax import SpecjaxError
from specjax._flags import METHOD, Flag, at_least

FLAGS = {
    "sizes": Flag("list", "500x375,854x480,1280x720,1920x1080", "Images to time, width x height."),
    "repeats": Flag("integer", 5, "Timed calls of each stage; the median counts.", at_least(1)),
    "baseline_tokens": Flag(
        "integer",
        4000,
        "Largest image, in tokens, to run the reference implementation on: it takes minutes, and"
        " memory, beyond.",
        at_least(0),
    ),
    "batches_of": Flag(
        "string",
        "854x480",
        "Size of the images whose number per second is measured by batch size, and of the one that"
        " nine metrics are computed of; empty for neither.",
    ),
    "batch_sizes": Flag("string", "1,4,16", "Images on each device at a time."),
    "dtype": METHOD["dtype"],
    "photographs": Flag(
        "string",
        None,
        "Folder of photographs of many sizes, to time a whole run of experiments.instance over."
        " Default: no such run.",
    ),
    "output_dir": Flag("string", "outputs/benchmark", "Where benchmark.json and benchmark.md go."),
}


class Size(NamedTuple):
    """Of an image, in pixels."""

    width: int
    height: int

    def __str__(self):
        return f"{self.width}x{self.height}"


def size_of(text: str) -> Size:
    """`1280x720` as a size.

    Raises:
        SpecjaxError: it is none.
    """
    match = re.fullmatch(r"\s*(\d{2,5})x(\d{2,5})\s*", text)
    if not match:
        raise SpecjaxError(f"{text!r} is no size: give width x height, such as 1280x720")
    return Size(int(match[1]), int(match[2]))
