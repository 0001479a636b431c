"""The command on a system without `fcntl`, whose absence is simulated. Windows was not tried."""

import pytest

from tests.support.run_binary import finish
from tests.support.run_command import run_command, start_command

WITHOUT = """
import sys
sys.modules["fcntl"] = None
import warnings
warnings.filterwarnings("ignore", "only soft file lock is available")
from specjax import cli
{also}
cli.run()
"""
KILLED = """
import os, signal
from specjax._output import Output
Output.write = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
"""


# With a limit, which the tests have, JAX locks its cache of programs: it would wait for ever.
NO_LIMIT = {"JAX_COMPILATION_CACHE_MAX_SIZE": "-1"}


@pytest.mark.parametrize("earlier", ["none", "with fcntl", "killed"])
def test_the_command_runs(world, tmp_path, earlier):
    """Also in the folder of a run that had `fcntl`, or that was killed while it held the lock."""
    folder, photo = tmp_path / "out", world.photos / "2007_000000.jpg"
    flags = [photo, world.checkpoint, "--N=16", "--num_instances=2"]
    if earlier == "with fcntl":
        run_command(folder, *flags, "--seed=1")
    elif earlier == "killed":
        prefix = ("-c", WITHOUT.format(also=KILLED))
        process = start_command(folder, *flags, cwd=tmp_path, prefix=prefix, **NO_LIMIT)
        assert finish(process, folder).status == -9
    prefix = ("-c", WITHOUT.format(also=""))
    process = start_command(folder, *flags, cwd=tmp_path, prefix=prefix, **NO_LIMIT)
    finished = finish(process, folder)
    assert (finished.status, finished.stderr) == (0, "")
    assert (folder / "labels" / "2007_000000.png").exists()
