r"""How fast each stage is here, how fast it could be, and how fast a reference implementation is.

    python -m experiments.benchmark

times, warm and on one image at a time, every stage at four image sizes, beside the same stages in
numpy, scipy and scikit-learn (as the paper's authors compute them) and beside a floor: what the
machine's measured matrix product and copy allow. Then images per second by batch size, nine metrics
beside one and, with

    python -m experiments.benchmark --photographs=photos/

a whole run beside a loop that compiles for each size. Writes `benchmark.json` and `benchmark.md`.
"""

import pathlib
import re
from collections.abc import Sequence

from absl import flags

from experiments.benchmarking import markdown, suite
from experiments.benchmarking.stages import Size
from specjax import SpecjaxError
from specjax._flags import METHOD, Flag, at_least, check_texts, counts, declare
from specjax._folder import write_bytes, write_json
from specjax._program import execute, refuse_arguments

FLAGS = {
    "sizes": Flag(
        "list", ["500x375", "854x480", "1280x720", "1920x1080"], "Images to time, width x height."
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


def main(arguments: Sequence[str]) -> int:
    """Read the flags, time, write."""
    values = flags.FLAGS
    refuse_arguments(arguments, "photographs go to --photographs")
    check_texts(values, ["photographs", "output_dir"])
    result = suite.measure(
        [_size(text) for text in values.sizes],
        batches_of=_size(values.batches_of) if values.batches_of else None,
        batch_sizes=counts("batch_sizes", values.batch_sizes),
        photographs=values.photographs,
        repeats=values.repeats,
        baseline_tokens=values.baseline_tokens,
        dtype=values.dtype,
    )
    table, folder = markdown.render(result), pathlib.Path(values.output_dir)
    numbers = write_json(folder / "benchmark.json", result)
    print(table, numbers, write_bytes(folder / "benchmark.md", table.encode()), sep="\n")
    return 0


def _size(text: str) -> Size:
    match = re.fullmatch(r"\s*(\d{2,5})x(\d{2,5})\s*", text)
    if not match:
        raise SpecjaxError(f"{text!r} is no size: give width x height, such as 1280x720")
    return Size(int(match[1]), int(match[2]))


if __name__ == "__main__":
    declare(FLAGS)
    execute(main)
