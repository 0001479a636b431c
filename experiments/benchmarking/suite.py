"""All measurements of the benchmark, as plain values for its files."""

import platform
import resource
from collections.abc import Sequence
from typing import Any

import tqdm

from experiments.benchmarking import batches, clock, first_photograph, per_size
from experiments.benchmarking.stages import AFTER, Case, Size, case_of
from experiments.loop.run import versions
from specjax import VIT_S16, load_checkpoint, random_checkpoint


def measure(
    sizes: Sequence[Size],
    *,
    batches_of: Size | None,
    batch_sizes: Sequence[int],
    photographs: str | None,
    first: Size | None,
    checkpoint: str,
    repeats: int,
    baseline_tokens: int,
    dtype: str,
) -> dict[str, Any]:
    """The rows of all sizes, then the measurements of batches and of a whole run, if wanted."""
    compilations = clock.Compilations()
    trained, backbone = load_checkpoint("specjax-mini"), random_checkpoint(VIT_S16, seed=0)
    rows = []
    for size in tqdm.tqdm(sizes, unit=" sizes", disable=None):
        before = compilations.count
        case = case_of(size, features_from=trained, backbone=backbone, dtype=dtype)
        row = _row(case, compare=case.tokens <= baseline_tokens, repeats=repeats)
        compiled = {"programs_compiled": compilations.count - before}
        # The peak so far, which Linux gives in KiB.
        memory = {"peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}
        rows.append({"size": str(size), **row, **compiled, **memory})
    metrics, throughput = None, None
    if batches_of is not None:
        name, seconds = str(batches_of), batches.metrics_beside_one(batches_of, trained, repeats)
        metrics = {"size": name, **seconds}
        speeds = batches.images_per_second(batches_of, batch_sizes, backbone, dtype, repeats)
        throughput = {"size": name, "dtype": dtype, "rows": speeds}
    processor = platform.processor() or platform.machine()
    return {
        "machine": {"device": versions()["device"], "processor": processor},
        "versions": versions(),
        "repeats": repeats,
        "dtype": dtype,
        "sizes": rows,
        "metrics": metrics,
        "throughput": throughput,
        "whole_run": per_size.compare(photographs) if photographs else None,
        "first_photograph": (
            first_photograph.measure(first, checkpoint, repeats=repeats) if first else None
        ),
    }


def _row(case: Case, *, compare: bool, repeats: int) -> dict[str, Any]:
    """The seconds of each stage and, if `compare`, of its reference implementation, in turn."""
    stages = {name: stage.run for name, stage in case.stages.items()}
    solvers = {name: run for name, run in case.solvers.items() if compare or name != "scipy"}
    compared = {
        f"baseline {name}": stage.baseline
        for name, stage in case.stages.items()
        if compare and stage.baseline is not None
    }
    seconds = clock.medians({**clock.machine_calls(), **stages, **compared}, repeats=repeats)
    rates = clock.machine_of(seconds)
    baseline = {name.removeprefix("baseline "): seconds[name] for name in compared}
    after_backbone = sum(seconds[name] for name in AFTER)
    row = {
        "tokens": case.tokens,
        "foreground_tokens": case.foreground_tokens,
        "matrix_product_flops": rates.flops,
        "copy_bytes_per_second": rates.bytes,
        "seconds": {name: seconds[name] for name in stages},
        "baseline_seconds": baseline,
        "floor_seconds": {name: rates.floor(stage.work) for name, stage in case.stages.items()},
        "after_backbone": after_backbone,
        "solver_seconds": clock.medians(solvers, repeats=repeats),
    }
    if baseline:
        baseline_after_backbone = sum(baseline[name] for name in AFTER)
        row["baseline_after_backbone"] = baseline_after_backbone
        row["speedup_after_backbone"] = baseline_after_backbone / after_backbone
    return row
