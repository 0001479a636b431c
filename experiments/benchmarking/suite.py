"""Everything that the benchmark measures, as plain values for its files."""

import platform
from typing import Any

import jax
import tqdm

from experiments.benchmarking import batches, clock, machine, whole_runs
from experiments.benchmarking.flags import Options
from experiments.benchmarking.stages import AFTER, Case, case_of
from experiments.loop.versions import versions
from specjax import VIT_S16, load_checkpoint, random_checkpoint


def measure(options: Options) -> dict[str, Any]:
    """The rows of all sizes, then what is measured of batches and of whole runs, where wanted."""
    compilations = clock.Compilations()
    trained, backbone = load_checkpoint("specjax-mini"), random_checkpoint(VIT_S16, seed=0)
    rows = []
    for size in tqdm.tqdm(options.sizes, unit=" sizes", disable=None):
        before = compilations.count
        case = case_of(size, features_from=trained, backbone=backbone, dtype=options.dtype)
        rows.append({"size": str(size), **_row(case, options)})
        rows[-1]["programs_compiled"] = compilations.count - before
        rows[-1]["peak_memory_bytes"] = clock.peak_memory()
    metrics, throughput, size = None, None, options.batches_of
    if size is not None:
        seconds = batches.metrics_beside_one(size, trained, repeats=options.repeats)
        metrics = {"size": str(size), **seconds}
        speeds = batches.images_per_second(
            size, options.batch_sizes, backbone, dtype=options.dtype, repeats=options.repeats
        )
        throughput = {"size": str(size), "dtype": options.dtype, "rows": speeds}
    device = jax.devices()[0]
    return {
        "machine": {
            "device": f"{device.platform}: {device.device_kind}",
            "processor": platform.processor() or platform.machine(),
        },
        "versions": versions(),
        "repeats": options.repeats,
        "dtype": options.dtype,
        "sizes": rows,
        "metrics": metrics,
        "throughput": throughput,
        "whole_run": whole_runs.compare(options.photographs) if options.photographs else None,
    }


def _row(case: Case, options: Options) -> dict[str, Any]:
    """Seconds of each stage, ours and, where wanted, the reference implementation's, in turn."""
    solvers, compared = dict(case.solvers), {}
    if case.tokens <= options.baseline_tokens:
        solvers["scipy"] = case.scipy_solver
        compared = {
            f"baseline {name}": stage.baseline
            for name, stage in case.stages.items()
            if stage.baseline is not None
        }
    ours = {name: stage.run for name, stage in case.stages.items()}
    seconds = clock.medians({**machine.calls(), **ours, **compared}, repeats=options.repeats)
    rates = machine.of(seconds)
    baseline = {name.removeprefix("baseline "): seconds[name] for name in compared}
    row = {
        "tokens": case.tokens,
        "foreground_tokens": case.foreground_tokens,
        "matrix_product_flops": rates.flops,
        "copy_bytes_per_second": rates.bytes,
        "seconds": {name: seconds[name] for name in ours},
        "baseline_seconds": baseline,
        "floor_seconds": {name: rates.floor(stage.work) for name, stage in case.stages.items()},
        "after_backbone": sum(seconds[name] for name in AFTER),
        "solver_seconds": clock.medians(solvers, repeats=options.repeats),
    }
    if baseline:
        row["baseline_after_backbone"] = sum(baseline[name] for name in AFTER)
        row["speedup_after_backbone"] = row["baseline_after_backbone"] / row["after_backbone"]
    return row
