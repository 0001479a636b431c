"""The benchmark's numbers as Markdown tables."""

from collections.abc import Mapping
from typing import Any

from experiments.benchmarking.stages import AFTER
from experiments.results import tables

_COLUMNS = "stage; s; floor, s; times floor; reference implementation, s; times faster".split("; ")


def render(result: Mapping[str, Any]) -> str:
    """All tables of a benchmark's result."""
    parts = [f"{result['machine']['device']}, medians of {result['repeats']}."]
    parts += [_stages(row) for row in result["sizes"]]
    if found := result["metrics"]:
        parts.append(
            f"After the backbone at {found['size']}: one metric {found['one']:.4f} s, all nine"
            f" {found['nine']:.4f} s, {found['ratio']:.2f} times as long."
        )
    if found := result["throughput"]:
        speeds = [(row["batch_size"], row["images_per_second"]) for row in found["rows"]]
        rows = [(str(batch_size), f"{speed:.2f}") for batch_size, speed in speeds]
        parts.append(
            f"Images of {found['size']}, from decoded image to labels, {found['dtype']}, by the"
            f" number of images per device:\n\n{tables.markdown(['batch size', 'images/s'], rows)}"
        )
    if first := result["first_photograph"]:
        parts.append(
            f"The first photograph, {first['size']}, by `specjax photo.jpg --num_instances=3"
            f" --checkpoint={first['checkpoint']}`: {first['first_seconds']:.1f} s with no compiled"
            f" programs on disk, {first['seconds']:.1f} s with all of them, while a float32 matrix"
            f" product ran at {first['matrix_product_flops'] / 1e9:.0f} GFLOP/s."
        )
    if run := result["whole_run"]:
        parts.append(
            f"{run['images']} photographs of {run['sizes']} sizes in tokens, whole commands:"
            f" `experiments.instance` takes {run['first_seconds']:.1f} s the first time and"
            f" {run['seconds']:.1f} s with its programs compiled, of which"
            f" {100 * run['host_share']:.0f} % is spent outside the device; a plain loop that"
            f" compiles for each size takes {run['loop_seconds']:.1f} s, {run['speedup']:.1f} times"
            " as long."
        )
    return "\n\n".join(parts) + "\n"


def _stages(row: Mapping[str, Any]) -> str:
    """The seconds of each stage, its floor, and the seconds of the reference implementation."""
    floors, baseline = row["floor_seconds"], row["baseline_seconds"]
    lines = [
        _stage(name, seconds, floors[name], baseline.get(name))
        for name, seconds in row["seconds"].items()
    ]
    floor, total = sum(floors[name] for name in AFTER), row.get("baseline_after_backbone")
    lines.append(_stage("after the backbone", row["after_backbone"], floor, total))
    solvers = ", ".join(f"{name} {value:.4f} s" for name, value in row["solver_seconds"].items())
    return (
        f"{row['size']}: {row['tokens']} tokens, {row['foreground_tokens']} of them foreground;"
        f" {row['programs_compiled']} programs compiled; peak memory so far"
        f" {row['peak_memory_bytes'] / 2**30:.2f} GiB. Meanwhile a float32 matrix product ran at"
        f" {row['matrix_product_flops'] / 1e9:.0f} GFLOP/s, a copy at"
        f" {row['copy_bytes_per_second'] / 1e9:.0f} GB/s. The instance graph by solver: {solvers}."
        f"\n\n{tables.markdown(_COLUMNS, lines)}"
    )


def _stage(name: str, seconds: float, floor: float, baseline: float | None) -> list[str]:
    compared = ["", ""] if baseline is None else [f"{baseline:.4f}", f"{baseline / seconds:.1f}"]
    return [name, f"{seconds:.4f}", f"{floor:.5f}", f"{seconds / floor:.1f}", *compared]
