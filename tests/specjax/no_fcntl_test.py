"""The command on a system without `fcntl`, whose absence is simulated. Windows was not tried."""

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


def test_the_command_runs(world, tmp_path):
    """In the folder of a run that had `fcntl`, and of one that was killed as it held the lock."""
    folder, photo = tmp_path / "out", world.photos / "2007_000000.jpg"
    flags = [photo, world.checkpoint, "--N=16", "--num_instances=2"]
    run_command(folder, *flags, "--seed=1")
    for also, ended in ((KILLED, (-9, "")), ("", (0, ""))):
        prefix = ("-c", WITHOUT.format(also=also))
        process = start_command(folder, *flags, cwd=tmp_path, prefix=prefix, **NO_LIMIT)
        finished = finish(process, folder)
        assert (finished.status, finished.stderr) == ended
    assert (folder / "labels" / "2007_000000.png").exists()


def test_the_command_runs_in_a_new_folder(world, tmp_path):
    flags = [world.photos / "2007_000000.jpg", world.checkpoint, "--N=16", "--num_instances=2"]
    prefix = ("-c", WITHOUT.format(also=""))
    process = start_command(tmp_path / "out", *flags, cwd=tmp_path, prefix=prefix, **NO_LIMIT)
    finished = finish(process, tmp_path / "out")
    assert (finished.status, finished.stderr) == (0, "")
