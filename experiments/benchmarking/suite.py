"""Everything that the benchmark measures, as plain values for its files."""

import platform
from typing import Any

import jax
import tqdm
from absl import flags

from experiments.benchmarking import batches, clock, machine, whole_runs
from experiments.benchmarking.flags import size_of
from experiments.benchmarking.stages import AFTER, Case, case_of
from experiments.loop.versions import versions
from specjax import VIT_S16, load_checkpoint, random_checkpoint
from specjax._flags import counts


def measure(values: flags.FlagValues) -> dict[str, Any]:
    """What the flags ask for.

    Raises:
        SpecjaxError: a size or a number that is none, or a run that failed.
    """
    sizes, repeats, dtype = [size_of(text) for text in values.sizes], values.repeats, values.dtype
    batches_of = size_of(values.batches_of) if values.batches_of else None
    batch_sizes = counts("batch_sizes", values.batch_sizes)
    compilations = clock.Compilations()
    trained, backbone = load_checkpoint("specjax-mini"), random_checkpoint(VIT_S16, seed=0)
    rows = []
    for size in tqdm.tqdm(sizes, unit=" sizes", disable=None):
        before = compilations.count
        case = case_of(size, features_from=trained, backbone=backbone, dtype=dtype)
        row = _row(case, repeats, with_baseline=case.tokens <= values.baseline_tokens)
        counted = {"programs_compiled": compilations.count - before}
        rows.append({"size": str(size), **row, **counted, "peak_memory_bytes": clock.peak_memory()})
    metrics = throughput = None
    if batches_of is not None:
        metrics = batches.metrics_beside_one(batches_of, trained, repeats=repeats)
        throughput = batches.images_per_second(
            batches_of, batch_sizes, backbone, dtype=dtype, repeats=repeats
        )
    photographs = values.photographs
    device = jax.devices()[0]
    return {
        "machine": {
            "device": f"{device.platform}: {device.device_kind}",
            "processor": platform.processor() or platform.machine(),
        },
        "versions": versions(),
        "repeats": repeats,
        "dtype": dtype,
        "sizes": rows,
        "metrics": metrics,
        "throughput": throughput,
        "whole_run": whole_runs.compare(photographs) if photographs else None,
    }


def _row(case: Case, repeats: int, *, with_baseline: bool) -> dict[str, Any]:
    """Seconds of each stage, ours and, where wanted, the reference implementation's, in turn."""
    ours = {name: stage.run for name, stage in case.stages.items()}
    compared = {name: case.stages[name].baseline for name in AFTER if with_baseline}
    calls = {f"baseline {name}": call for name, call in compared.items()}
    seconds = clock.medians({**machine.calls(), **ours, **calls}, repeats=repeats)
    rates = machine.rates(seconds)
    row = {
        "tokens": case.tokens,
        "foreground_tokens": case.foreground_tokens,
        "matrix_product_flops": rates.flops,
        "copy_bytes_per_second": rates.traffic,
        "seconds": {name: seconds[name] for name in ours},
        "baseline_seconds": {name: seconds[f"baseline {name}"] for name in compared},
        "floor_seconds": {
            name: machine.floor(stage.work, rates) for name, stage in case.stages.items()
        },
        "after_backbone": sum(seconds[name] for name in AFTER),
    }
    solvers = dict(case.solvers)
    if with_baseline:
        row["baseline_after_backbone"] = sum(row["baseline_seconds"].values())
        row["speedup_after_backbone"] = row["baseline_after_backbone"] / row["after_backbone"]
        solvers["scipy"] = case.scipy_solver
    return {**row, "solver_seconds": clock.medians(solvers, repeats=repeats)}
