r"""How fast each stage is here, how fast it could be, and how fast the published way is.

    python -m experiments.benchmark

times, warm and on one image at a time, every stage at four image sizes, beside the same stages as
the published code computes them (numpy, scipy, scikit-learn) and beside a floor: what the machine's
measured matrix product and copy allow. Writes `benchmark.json` and `benchmark.md`.
"""

import pathlib
import platform
import re
from collections.abc import Sequence
from typing import Any

import jax
import tqdm
from absl import flags

from experiments.benchmarking import clock, machine
from experiments.benchmarking.stages import stages_of
from experiments.harness import runner
from experiments.harness.files import write_atomically, write_json
from specjax.errors import UserError
from specjax.models.config import VIT_S16
from specjax.models.weights import load_checkpoint, random_checkpoint
from specjax.pipeline import Config

_AFTER = ("channels", "foreground", "affinity", "eigen", "clustering")


def define() -> None:
    """Declare the flags."""
    flags.DEFINE_list("sizes", ["500x375", "854x480", "1280x720", "1920x1080"], "Images to time,"
                      " width x height.")
    flags.DEFINE_integer("repeats", 5, "Timed calls of each stage; the median counts.",
                         lower_bound=1)
    flags.DEFINE_integer("baseline_tokens", 4000, "Largest image, in tokens, to run the published"
                         " way on: it takes minutes, and memory, beyond.", lower_bound=0)
    flags.DEFINE_string("output_dir", "outputs/benchmark", "Where benchmark.json and benchmark.md"
                        " go.")


def main(arguments: Sequence[str]) -> int:
    """Read the flags, time, write."""
    values = flags.FLAGS
    if len(arguments) > 1:
        raise UserError(f"unexpected argument {arguments[1]!r}")
    sizes = [_size(text) for text in values.sizes]
    compilations = clock.Compilations()
    rates = machine.measure(repeats=values.repeats)
    features_from = load_checkpoint("specjax-mini")
    backbone = random_checkpoint(VIT_S16, seed=0)
    rows = []
    for width, height in tqdm.tqdm(sizes, unit=" sizes", disable=None):
        before = compilations.count
        stages, tokens = stages_of(
            width, height, rates, features_from=features_from, backbone=backbone, config=Config()
        )
        theirs = {
            f"baseline {name}": stage.theirs
            for name, stage in stages.items()
            if stage.theirs is not None and tokens.tokens <= values.baseline_tokens
        }
        ours = {name: stage.ours for name, stage in stages.items()}
        seconds = clock.medians({**ours, **theirs}, repeats=values.repeats)
        row = {
            "size": f"{width}x{height}",
            "tokens": tokens.tokens,
            "foreground_tokens": tokens.foreground,
            "seconds": {name: seconds[name] for name in ours},
            "baseline_seconds": {
                name: seconds[f"baseline {name}"] for name in ours if f"baseline {name}" in theirs
            },
            "floor_seconds": {name: stage.floor for name, stage in stages.items()},
            "programs_compiled": compilations.count - before,
            "peak_memory_bytes": clock.peak_memory(),
        }
        row["after_backbone"] = sum(row["seconds"][name] for name in _AFTER)
        if row["baseline_seconds"]:
            total = sum(row["baseline_seconds"][name] for name in _AFTER)
            row["baseline_after_backbone"] = total
            row["speedup_after_backbone"] = total / row["after_backbone"]
        rows.append(row)
    device = jax.devices()[0]
    result = {
        "machine": {
            "device": f"{device.platform}: {device.device_kind}",
            "processor": platform.processor() or platform.machine(),
            "matrix_product_flops": rates.flops,
            "copy_bytes_per_second": rates.bytes,
        },
        "versions": runner.versions(),
        "repeats": values.repeats,
        "sizes": rows,
    }
    folder = pathlib.Path(values.output_dir)
    write_json(folder / "benchmark.json", result)
    table = _markdown(result)
    write_atomically(folder / "benchmark.md", lambda stream: stream.write(table.encode()))
    print(table)
    print(folder / "benchmark.json", folder / "benchmark.md", sep="\n")
    return 0


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"\s*(\d{2,5})x(\d{2,5})\s*", text)
    if not match:
        raise UserError(f"--sizes={text}: give width x height, such as 1280x720")
    return int(match[1]), int(match[2])


def _markdown(result: dict[str, Any]) -> str:
    """A table per size: ours, its floor, and the published way."""
    rates = result["machine"]
    lines = [
        f"Float32 matrix product {rates['matrix_product_flops'] / 1e9:.0f} GFLOP/s, copy"
        f" {rates['copy_bytes_per_second'] / 1e9:.1f} GB/s, {rates['device']}, median of"
        f" {result['repeats']}.",
    ]
    for row in result["sizes"]:
        lines += [
            "",
            f"{row['size']}: {row['tokens']} tokens, {row['foreground_tokens']} of them foreground;"
            f" {row['programs_compiled']} programs compiled; peak memory so far"
            f" {row['peak_memory_bytes'] / 2**30:.2f} GiB.",
            "",
            "| stage | s | floor, s | times floor | published way, s | times faster |",
            "|---|---|---|---|---|---|",
        ]
        for name, seconds in row["seconds"].items():
            floor, theirs = row["floor_seconds"][name], row["baseline_seconds"].get(name)
            lines.append(_line(name, seconds, floor, theirs))
        floor = sum(row["floor_seconds"][name] for name in _AFTER)
        lines.append(
            _line("after the backbone", row["after_backbone"], floor,
                  row.get("baseline_after_backbone"))
        )  # fmt: skip
    return "\n".join(lines) + "\n"


def _line(name: str, seconds: float, floor: float, theirs: float | None) -> str:
    compared = ("", "") if theirs is None else (f"{theirs:.4f}", f"{theirs / seconds:.1f}")
    cells = (name, f"{seconds:.4f}", f"{floor:.5f}", f"{seconds / floor:.1f}", *compared)
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    define()
    runner.execute(main)
