r"""How fast each stage is here, how fast it could be, and how fast the published way is.

    python -m experiments.benchmark

times, warm and on one image at a time, every stage at four image sizes, beside the same stages as
the published code computes them (numpy, scipy, scikit-learn) and beside a floor: what the machine's
measured matrix product and copy allow. Then images per second by batch size, nine metrics beside
one and, with

    python -m experiments.benchmark --photographs=photos/

a whole run beside a loop that compiles for each size. Writes `benchmark.json` and `benchmark.md`.
"""

import dataclasses
import functools
import pathlib
import platform
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import tqdm
from absl import flags

from experiments.benchmarking import batches, clock, machine, markdown, whole_runs
from experiments.benchmarking.stages import AFTER, Stage, stages_of
from experiments.loop import runner
from specjax._folder import write_atomically, write_json
from specjax.config import Config
from specjax.errors import SpecjaxError
from specjax.models.checkpoints.loading import load_checkpoint, random_checkpoint
from specjax.models.config import VIT_S16
from specjax.pipeline import solve_instance_graph

# The dense solver takes minutes beyond.
_EIGH_NODES = 2000


def define() -> None:
    """Declare the flags."""
    flags.DEFINE_list("sizes", ["500x375", "854x480", "1280x720", "1920x1080"], "Images to time,"
                      " width x height.")
    flags.DEFINE_integer("repeats", 5, "Timed calls of each stage; the median counts.",
                         lower_bound=1)
    flags.DEFINE_integer("baseline_tokens", 4000, "Largest image, in tokens, to run the published"
                         " way on: it takes minutes, and memory, beyond.", lower_bound=0)
    flags.DEFINE_string("batches_of", "854x480", "Size of the images whose number per second is"
                        " measured by batch size, and of the one that nine metrics are computed"
                        " of; empty for neither.")
    flags.DEFINE_list("batch_sizes", ["1", "4", "16"], "Images on each device at a time.")
    flags.DEFINE_enum("dtype", "float32", ["float32", "bfloat16"], "Precision of the backbone's"
                      " matrix products.")
    flags.DEFINE_string("photographs", None, "Folder of photographs of many sizes, to time a whole"
                        " run of experiments.instance over. Default: no such run.")
    flags.DEFINE_string("output_dir", "outputs/benchmark", "Where benchmark.json and benchmark.md"
                        " go.")


def main(arguments: Sequence[str]) -> int:
    """Read the flags, time, write."""
    values = flags.FLAGS
    if len(arguments) > 1:
        raise SpecjaxError(f"unexpected argument {arguments[1]!r}")
    sizes = [_size(text) for text in values.sizes]
    batches_of = _size(values.batches_of) if values.batches_of else None
    batch_sizes = [_number(text) for text in values.batch_sizes]
    compilations = clock.Compilations()
    trained, backbone = load_checkpoint("specjax-mini"), random_checkpoint(VIT_S16, seed=0)
    rows = []
    for width, height in tqdm.tqdm(sizes, unit=" sizes", disable=None):
        before = compilations.count
        stages, tokens = stages_of(
            width, height, features_from=trained, backbone=backbone, config=Config(),
            dtype=values.dtype,
        )  # fmt: skip
        row = {
            "size": f"{width}x{height}",
            "tokens": tokens.tokens,
            "foreground_tokens": tokens.foreground,
            **_time(stages, values.repeats, baseline=tokens.tokens <= values.baseline_tokens),
            "solver_seconds": _time_solvers(stages, values.repeats),
            "programs_compiled": compilations.count - before,
            "peak_memory_bytes": clock.peak_memory(),
        }
        rows.append(row)
    metrics, throughput = None, None
    if batches_of is not None:
        common = {"config": Config(), "repeats": values.repeats}
        metrics = {
            "size": values.batches_of,
            **batches.metrics_beside_one(*batches_of, features_from=trained, **common),
        }
        speeds = batches.images_per_second(
            *batches_of, batch_sizes, backbone=backbone, dtype=values.dtype, **common
        )
        throughput = {"size": values.batches_of, "dtype": values.dtype, "rows": speeds}
    whole_run = whole_runs.compare(values.photographs) if values.photographs else None
    result = {
        "machine": _description(),
        "versions": runner.versions(),
        "repeats": values.repeats,
        "dtype": values.dtype,
        "sizes": rows,
        "metrics": metrics,
        "throughput": throughput,
        "whole_run": whole_run,
    }
    folder = pathlib.Path(values.output_dir)
    write_json(folder / "benchmark.json", result)
    table = markdown.render(result)
    write_atomically(folder / "benchmark.md", lambda stream: stream.write(table.encode()))
    print(table)
    print(folder / "benchmark.json", folder / "benchmark.md", sep="\n")
    return 0


def _time(stages: Mapping[str, Stage], repeats: int, *, baseline: bool) -> dict[str, Any]:
    """Seconds of each stage, ours and, where wanted, the published way's, in turn."""
    ours = {name: stage.ours for name, stage in stages.items()}
    compared = [name for name, stage in stages.items() if baseline and stage.theirs is not None]
    theirs = {f"baseline {name}": stages[name].theirs for name in compared}
    seconds = clock.medians({**machine.calls(), **ours, **theirs}, repeats=repeats)
    rates = machine.of(seconds)
    found = {
        "matrix_product_flops": rates.flops,
        "copy_bytes_per_second": rates.bytes,
        "seconds": {name: seconds[name] for name in ours},
        "baseline_seconds": {name: seconds[f"baseline {name}"] for name in compared},
        "floor_seconds": {name: rates.floor(stage.work) for name, stage in stages.items()},
        "after_backbone": sum(seconds[name] for name in AFTER),
    }
    if compared:
        total = sum(found["baseline_seconds"][name] for name in AFTER)
        found["baseline_after_backbone"] = total
        found["speedup_after_backbone"] = total / found["after_backbone"]
    return found


def _time_solvers(stages: Mapping[str, Stage], repeats: int) -> dict[str, float]:
    """Seconds of the instance graph's eigenpairs by each solver."""
    graph, nodes = stages["affinity"].ours()
    names = ["lobpcg", "krylov"]
    if nodes.shape[0] <= _EIGH_NODES:
        names.insert(0, "eigh")
    calls = {
        name: functools.partial(
            solve_instance_graph, graph, nodes, config=dataclasses.replace(Config(), solver=name)
        )
        for name in names
    }
    return clock.medians(calls, repeats=repeats)


def _description() -> dict[str, str]:
    device = jax.devices()[0]
    return {
        "device": f"{device.platform}: {device.device_kind}",
        "processor": platform.processor() or platform.machine(),
    }


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"\s*(\d{2,5})x(\d{2,5})\s*", text)
    if not match:
        raise SpecjaxError(f"{text!r} is no size: give width x height, such as 1280x720")
    return int(match[1]), int(match[2])


def _number(text: str) -> int:
    if not re.fullmatch(r"\s*[1-9]\d{0,3}\s*", text):
        raise SpecjaxError(f"--batch_sizes: {text!r} is no number from 1 to 9999")
    return int(text)


if __name__ == "__main__":
    define()
    runner.execute(main)
