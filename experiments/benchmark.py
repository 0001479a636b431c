r"""How fast each stage is on this machine, beside its lower bound and a reference implementation.

    python -m experiments.benchmark

times every stage at four image sizes, one image at a time, after compilation. Beside these times
stand those of a reference implementation (numpy, scipy and scikit-learn, as the paper's authors
compute the stages) and a floor: the least time that the operations and bytes of a stage take at the
measured rates of a large matrix product and of a large copy. Then it measures images per second by
batch size, nine metrics beside one, and the seconds until the `specjax` command has segmented a
first photograph. With

    python -m experiments.benchmark --photographs=photos/

it also times a whole run, beside a plain loop that compiles for each image size. Prints the tables
and writes them as `benchmark.json` and `benchmark.md`.
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
        "list",
        ["500x375", "854x480", "1280x720", "1920x1080"],
        "Sizes of the images to time, width x height in pixels.",
    ),
    "repeats": Flag(
        "integer", 5, "Timed calls of each stage; their median is reported.", at_least(1)
    ),
    "baseline_tokens": Flag(
        "integer",
        4000,
        "Run the reference implementation on images of up to this many tokens: larger ones take it"
        " minutes and much memory.",
        at_least(0),
    ),
    "batches_of": Flag(
        "string",
        "854x480",
        "Image size for measuring images per second by batch size, and nine metrics beside one."
        " Empty: skip both.",
    ),
    "batch_sizes": Flag("string", "1,4,16", "Batch sizes to measure, in images per device."),
    "dtype": METHOD["dtype"],
    "photographs": Flag(
        "string",
        None,
        "Folder of photographs of many sizes on which to time a whole run of experiments.instance."
        " Default: no such run.",
    ),
    "first_photograph": Flag(
        "string",
        "640x427",
        "Image size for measuring the seconds until the specjax command has segmented a first"
        " photograph. Empty: skip this.",
    ),
    "checkpoint": METHOD["checkpoint"]._replace(
        default="specjax-mini", help="Backbone of the first photograph, as --checkpoint of specjax."
    ),
    "output_dir": Flag(
        "string", "outputs/benchmark", "Folder for benchmark.json and benchmark.md."
    ),
}


def main(arguments: Sequence[str]) -> int:
    """Read the flags, measure, print and write the tables."""
    values = flags.FLAGS
    refuse_arguments(arguments, "give photographs with --photographs")
    check_texts(values, ["photographs", "checkpoint", "output_dir"])
    result = suite.measure(
        [_size(text) for text in values.sizes],
        batches_of=_size(values.batches_of) if values.batches_of else None,
        batch_sizes=counts("batch_sizes", values.batch_sizes),
        photographs=values.photographs,
        first=_size(values.first_photograph) if values.first_photograph else None,
        checkpoint=values.checkpoint,
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
        raise SpecjaxError(f"{text!r} is not a size: give width x height, such as 1280x720")
    return Size(int(match[1]), int(match[2]))


if __name__ == "__main__":
    declare(FLAGS)
    execute(main)
