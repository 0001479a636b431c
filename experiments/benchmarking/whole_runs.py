"""Whole commands over a folder of photographs: ours with warm caches, and a plain loop."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from typing import Any

from specjax import SpecjaxError

_ROOT = pathlib.Path(__file__).resolve().parents[2]
# Work on a device, or waiting for it; what is left of a run is the host's alone.
_DEVICE_STAGES = ("backbone", "foreground", "instances")


def compare(photographs: str) -> dict[str, Any]:
    """`experiments.instance` the second time, and `per_size`: seconds of the commands.

    Both use a ViT-S/16 of random weights and three instances an image; ours writes label maps.
    `host_share` is the part of our run that is not work on the device.

    Raises:
        SpecjaxError: a command failed.
    """
    photographs = os.path.abspath(photographs)
    plain = {key: value for key, value in os.environ.items() if "COMPILATION_CACHE" not in key}
    # Programs are compiled in the first run and kept for the second; the loop keeps none.
    with tempfile.TemporaryDirectory(prefix="specjax-benchmark-") as name:
        cached = {**plain, "XDG_CACHE_HOME": name}
        flags = ["--checkpoint=random", "--num_instances=3", "--save=labels", "--overwrite"]
        where = ["--dataset=folder", f"--data_dir={photographs}", f"--output_dir={name}/run"]
        ours = ["experiments.instance", *flags, *where]
        first, _ = _timed(ours, cached)
        second, _ = _timed(ours, cached)
        summary = json.loads((pathlib.Path(name) / "run" / "summary.json").read_text())
    images = summary["results"][0]["images_without_instances"]
    stages = summary["seconds"]
    on_devices = sum(stages.get(stage, 0.0) for stage in _DEVICE_STAGES)
    loop, line = _timed(["experiments.benchmarking.per_size", photographs, "3"], plain)
    return {
        "images": images,
        "sizes": json.loads(line)["sizes"],
        "first_seconds": first,
        "seconds": second,
        "seconds_per_stage": stages,
        "host_share": 1 - on_devices / stages["total"],
        "loop_seconds": loop,
        "speedup": loop / second,
    }


def _timed(module_and_flags: list[str], environment: dict[str, str]) -> tuple[float, str]:
    start = time.perf_counter()
    finished = subprocess.run(
        [sys.executable, "-m", *module_and_flags],
        cwd=_ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    seconds = time.perf_counter() - start
    if finished.returncode:
        last = (finished.stderr.strip().splitlines() or ["no message"])[-1]
        raise SpecjaxError(f"{module_and_flags[0]} failed: {last}")
    return seconds, finished.stdout.strip().splitlines()[-1]
