"""Which process of how many this one is, as the cluster that started it says.

JAX knows how TPU pods, Slurm, Kubernetes and Open MPI tell their processes. It is asked for that
alone: `jax.distributed.initialize` would go on to connect the processes, which nothing here needs,
and which would make each depend on the others. Once connected, all are ended when one dies, and
one that is started again later waits for the others in vain and is aborted. Unconnected, each
computes on its own devices and knows no other.
"""

import os

import jax

from experiments.runs.parts import Part
from specjax.errors import SpecjaxError

# Asked for by nobody: it keeps JAX from looking for a process to connect to.
_NO_COORDINATOR = "localhost:0"
_SECONDS = 300
_BY_HAND = "give each process its part instead, such as --part=1/2 and --part=2/2"


def find_part() -> Part:
    """The part of this process; it sees, from then on, the accelerators that are its own.

    Call it before JAX computes anything.

    Raises:
        SpecjaxError: there is no cluster that JAX knows, or it does not say what it should.
    """
    try:
        # Not public, but what jax.distributed.initialize itself starts with.
        from jax._src.clusters import ClusterEnv

        detect = ClusterEnv.auto_detect_unset_distributed_params
    except (ImportError, AttributeError):
        raise SpecjaxError(
            f"--distributed: JAX {jax.__version__} does not tell of its cluster; {_BY_HAND}"
        ) from None
    try:
        _, count, index, devices = detect(_NO_COORDINATOR, None, None, _devices(), None, _SECONDS)
    # What can go wrong is different in each kind of cluster, and none of it is ours.
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise SpecjaxError(
            f"--distributed: the cluster cannot be read ({reason}); {_BY_HAND}"
        ) from error
    if count is None or index is None:
        raise SpecjaxError(
            "--distributed: no cluster found (TPU pod, Slurm, Kubernetes or Open MPI);"
            f" {_BY_HAND}"
        )
    if not 0 <= index < count:
        raise SpecjaxError(f"--distributed: process {index} of {count} cannot be; {_BY_HAND}")
    if devices:
        visible = ",".join(map(str, devices))
        jax.config.update("jax_cuda_visible_devices", visible)
        jax.config.update("jax_rocm_visible_devices", visible)
    return Part(index, count)


def _devices() -> list[int] | None:
    """The numbers of the accelerators to use, where the user says so as JAX documents it."""
    text = os.environ.get("JAX_LOCAL_DEVICE_IDS")
    return [int(number) for number in text.split(",")] if text else None
