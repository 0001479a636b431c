"""The benchmark's numbers as Markdown tables."""

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.benchmarking.stages import AFTER


def render(result: Mapping[str, Any]) -> str:
    """All tables of a result."""
    parts = [f"{result['machine']['device']}, medians of {result['repeats']}."]
    parts += [_stages(row) for row in result["sizes"]]
    if result["metrics"]:
        parts.append(_metrics(result["metrics"]))
    if result["throughput"]:
        parts.append(_throughput(result["throughput"]))
    if result["whole_run"]:
        parts.append(_whole_run(result["whole_run"]))
    return "\n\n".join(parts) + "\n"


def _stages(row: Mapping[str, Any]) -> str:
    """Seconds, floors and the reference implementation's seconds, stage by stage."""
    floors, baseline = row["floor_seconds"], row["baseline_seconds"]
    lines = [
        _stage(name, seconds, floors[name], baseline.get(name))
        for name, seconds in row["seconds"].items()
    ]
    floor = sum(floors[name] for name in AFTER)
    total = row.get("baseline_after_backbone")
    lines.append(_stage("after the backbone", row["after_backbone"], floor, total))
    header = [
        "stage",
        "s",
        "floor, s",
        "times floor",
        "reference implementation, s",
        "times faster",
    ]
    solvers = ", ".join(f"{name} {_seconds(s)} s" for name, s in row["solver_seconds"].items())
    return (
        f"{row['size']}: {row['tokens']} tokens, {row['foreground_tokens']} of them foreground;"
        f" {row['programs_compiled']} programs compiled; peak memory so far"
        f" {row['peak_memory_bytes'] / 2**30:.2f} GiB. Meanwhile a float32 matrix product ran at"
        f" {row['matrix_product_flops'] / 1e9:.0f} GFLOP/s, a copy at"
        f" {row['copy_bytes_per_second'] / 1e9:.0f} GB/s. The instance graph by solver: {solvers}."
        f"\n\n{_table(header, lines)}"
    )


def _stage(name: str, seconds: float, floor: float, baseline: float | None) -> list[str]:
    compared = ["", ""] if baseline is None else [_seconds(baseline), f"{baseline / seconds:.1f}"]
    return [name, _seconds(seconds), f"{floor:.5f}", f"{seconds / floor:.1f}", *compared]


def _metrics(found: Mapping[str, Any]) -> str:
    return (
        f"After the backbone at {found['size']}: one metric {_seconds(found['one'])} s, all nine"
        f" {_seconds(found['nine'])} s, {found['ratio']:.2f} times that."
    )


def _throughput(found: Mapping[str, Any]) -> str:
    rows = [[str(row["batch_size"]), f"{row['images_per_second']:.2f}"] for row in found["rows"]]
    return (
        f"Images of {found['size']}, from decoded to labelled, {found['dtype']}, by how many each"
        f" device works on at a time:\n\n{_table(['batch size', 'images/s'], rows)}"
    )


def _whole_run(run: Mapping[str, Any]) -> str:
    return (
        f"{run['images']} photographs of {run['sizes']} sizes in tokens, whole commands:"
        f" `experiments.instance` {run['first_seconds']:.1f} s the first time, {run['seconds']:.1f}"
        f" s with warm caches, {100 * run['host_share']:.0f} % of it on the host alone; a loop that"
        f" compiles for each size {run['loop_seconds']:.1f} s, {run['speedup']:.1f} times as long."
    )


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _seconds(value: float) -> str:
    return f"{value:.4f}"
