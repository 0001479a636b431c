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
from collections.abc import Sequence

from absl import flags

from experiments.benchmarking import markdown, suite
from experiments.benchmarking.flags import FLAGS
from specjax import _flags as shared
from specjax._folder import write_bytes, write_json
from specjax._program import execute, refuse_arguments


def main(arguments: Sequence[str]) -> int:
    """Read the flags, time, write."""
    values = flags.FLAGS
    refuse_arguments(arguments, "photographs go to --photographs")
    shared.check_texts(values, ["photographs", "output_dir"])
    result = suite.measure(values)
    table = markdown.render(result)
    folder = pathlib.Path(values.output_dir)
    written = [
        write_json(folder / "benchmark.json", result),
        write_bytes(folder / "benchmark.md", table.encode()),
    ]
    print(table, *written, sep="\n")
    return 0


if __name__ == "__main__":
    shared.declare(FLAGS)
    flags.adopt_module_key_flags(shared)
    execute(main)
