"""Which part a process of a cluster gets: JAX's own detection, told by the environment."""

import subprocess
import sys

import jax
import pytest
from jax._src.clusters import cloud_tpu_cluster, cluster

from experiments.loop.cluster import find_part
from experiments.runs.parts import Part
from specjax.errors import SpecjaxError
from tests.support.run_binary import ROOT

SLURM = {
    "SLURM_JOB_ID": "4711",
    "SLURM_STEP_NODELIST": "node[3-4]",
    "SLURM_NTASKS": "8",
    "SLURM_PROCID": "5",
    "SLURM_LOCALID": "1",
}
OPEN_MPI = {
    "OMPI_MCA_orte_hnp_uri": "1531576320.0;tcp://10.96.0.1:34911",
    "OMPI_COMM_WORLD_SIZE": "4",
    "OMPI_COMM_WORLD_RANK": "3",
    "OMPI_COMM_WORLD_LOCAL_RANK": "0",
}
TPU_POD = {
    "TPU_WORKER_HOSTNAMES": "host0,host1,host2,host3",
    "TPU_WORKER_ID": "2",
    "TPU_SKIP_MDS_QUERY": "1",
    "MEGASCALE_NUM_SLICES": "2",
    "MEGASCALE_SLICE_ID": "1",
}


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """No cluster, whatever runs the tests; accelerators as they were."""
    for name in (*SLURM, *OPEN_MPI, *TPU_POD, "KUBERNETES_SERVICE_HOST", "JAX_LOCAL_DEVICE_IDS"):
        monkeypatch.delenv(name, raising=False)
    yield
    visible("all")


def visible(value=None):
    names = ("jax_cuda_visible_devices", "jax_rocm_visible_devices")
    if value is not None:
        for name in names:
            jax.config.update(name, value)
    assert len({jax.config.values[name] for name in names}) == 1
    return jax.config.values[names[0]]


def tell(monkeypatch, environment):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("environment", "part", "device"),
    [(SLURM, Part(5, 8), "1"), (OPEN_MPI, Part(3, 4), "0")],
)
def test_the_launcher_says_which_process_this_is(monkeypatch, environment, part, device):
    tell(monkeypatch, environment)
    assert find_part() == part
    # As JAX has it: a process for each accelerator of a machine.
    assert visible() == device


def test_a_tpu_pod(monkeypatch):
    # There is no TPU here; all else is JAX's own.
    for module in (cloud_tpu_cluster, cluster):
        monkeypatch.setattr(module, "running_in_cloud_tpu_vm", True)
    tell(monkeypatch, TPU_POD)
    assert find_part() == Part(6, 8)
    assert visible() == "all"


def test_the_user_may_choose_accelerators(monkeypatch):
    tell(monkeypatch, {**SLURM, "JAX_LOCAL_DEVICE_IDS": "2,3"})
    assert find_part() == Part(5, 8) and visible() == "2,3"


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({}, "no cluster found"),
        ({**SLURM, "SLURM_PROCID": "x"}, "cannot be read .*'x'"),
        ({**SLURM, "SLURM_PROCID": "8"}, "process 8 of 8"),
        ({**SLURM, "JAX_LOCAL_DEVICE_IDS": "a"}, "cannot be read .*'a'"),
    ],
)
def test_no_cluster_or_one_that_says_nonsense(monkeypatch, environment, words):
    tell(monkeypatch, environment)
    with pytest.raises(SpecjaxError, match=rf"--distributed: .*{words}.*--part=1/2"):
        find_part()
    assert visible() == "all"


def test_a_jax_that_does_not_tell(monkeypatch):
    monkeypatch.delattr(cluster.ClusterEnv, "auto_detect_unset_distributed_params")
    with pytest.raises(SpecjaxError, match=rf"JAX {jax.__version__} .*--part=1/2"):
        find_part()


def test_no_process_waits_for_another(monkeypatch):
    """One of eight, the others absent: it computes at once, on its own device alone."""
    tell(monkeypatch, SLURM)
    code = (
        "from experiments.loop.cluster import find_part\n"
        "import jax\n"
        "print(find_part(), int(jax.numpy.ones(3).sum()), jax.device_count(), jax.process_count())"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert finished.stdout.split() == ["6/8", "3", "1", "1"], finished.stderr
