"""Seconds until a person sees the first result: the `specjax` command on one photograph."""

import os
import pathlib
import tempfile
from typing import Any

from PIL import Image

from experiments.benchmarking import clock
from experiments.benchmarking.commands import timed
from experiments.benchmarking.stages import Size, draw


def measure(size: Size, checkpoint: str, *, repeats: int) -> dict[str, Any]:
    """Seconds of the whole command with no compiled programs on disk, and with all of them.

    The photograph is a drawn scene. The rate of a matrix product, measured in turn, says what kind
    of machine it was.
    """
    with tempfile.TemporaryDirectory() as folder:
        photo = pathlib.Path(folder, "photo.jpg")
        Image.fromarray(draw(size, 1)).save(photo, quality=95)
        command = ["specjax", str(photo), "--num_instances=3", f"--checkpoint={checkpoint}"]
        command += [f"--output_dir={folder}/out", "--overwrite"]
        # Compiled programs are kept as for any user, but in a folder that is new.
        environment = {**os.environ, "XDG_CACHE_HOME": folder}
        environment.pop("JAX_COMPILATION_CACHE_DIR", None)
        first, _ = timed(command, environment)
        calls = {"command": lambda: timed(command, environment), **clock.machine_calls()}
        seconds = clock.medians(calls, repeats=repeats)
    return {
        "size": str(size),
        "checkpoint": checkpoint,
        "first_seconds": first,
        "seconds": seconds["command"],
        "matrix_product_flops": clock.machine_of(seconds).flops,
    }
