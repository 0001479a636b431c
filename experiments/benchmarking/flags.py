"""The flags of the benchmark, and the plain values they become."""

import dataclasses
import re
from typing import NamedTuple

from absl import flags

from specjax import SpecjaxError
from specjax._flags import METHOD, Flag, at_least, check_texts, counts

FLAGS = {
    "sizes": Flag(
        "list",
        ["500x375", "854x480", "1280x720", "1920x1080"],
        "Images to time, width x height.",
    ),
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


@dataclasses.dataclass(frozen=True)
class Options:
    """What to measure: `FLAGS`, checked; `batches_of` and `photographs` may be None."""

    sizes: tuple[Size, ...]
    repeats: int
    baseline_tokens: int
    batches_of: Size | None
    batch_sizes: tuple[int, ...]
    dtype: str
    photographs: str | None


def read(values: flags.FlagValues) -> Options:
    """The flags as `Options`.

    Raises:
        SpecjaxError: a size or a number that is none.
    """
    check_texts(values, ["photographs", "output_dir"])
    return Options(
        sizes=tuple(map(_size, values.sizes)),
        repeats=values.repeats,
        baseline_tokens=values.baseline_tokens,
        batches_of=_size(values.batches_of) if values.batches_of else None,
        batch_sizes=counts("batch_sizes", values.batch_sizes),
        dtype=values.dtype,
        photographs=values.photographs,
    )


def _size(text: str) -> Size:
    match = re.fullmatch(r"\s*(\d{2,5})x(\d{2,5})\s*", text)
    if not match:
        raise SpecjaxError(f"{text!r} is no size: give width x height, such as 1280x720")
    return Size(int(match[1]), int(match[2]))
