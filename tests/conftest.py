"""Strict JAX for every test: no silent rank or dtype promotion, shapes checked at run time."""

import gc
import mmap
import os
import pathlib
import shutil

# Before numpy and jax are loaded, for the reason that experiments/__init__.py gives.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import jaxlib
from jaxtyping import install_import_hook

from tests.support import shape_checks


def _compile_quickly(flag: str) -> None:
    """Set a flag of XLA, which ends a process that gives it a flag it does not know."""
    for library in pathlib.Path(jaxlib.__file__).parent.glob("libjax_common.so"):
        with (
            library.open("rb") as stream,
            mmap.mmap(stream.fileno(), 0, prot=mmap.PROT_READ) as text,
        ):
            # Between zeros: the name alone also stands in libraries that no longer take the flag.
            known = text.find(b"\0%b\0" % flag.split("=")[0].strip("-").encode()) >= 0
        if known:
            os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flag}"


# The newer of two code generators takes most of the time of compiling for a CPU.
_compile_quickly("--xla_cpu_use_fusion_emitters=false")
# As the commands do.
_compile_quickly("--xla_backend_optimization_level=1")
# By default, code is cut into 32 parts to compile side by side; the programs of tests are small.
_compile_quickly("--xla_cpu_parallel_codegen_split_count=1")
install_import_hook("specjax", f"{shape_checks.__name__}.check")

import jax  # noqa: E402
import pytest  # noqa: E402

from specjax._memory import memory_maps  # noqa: E402
from tests.support.run_binary import World, run  # noqa: E402

# Tests make many objects that last: by default, the collector goes through all of them often.
gc.set_threshold(50_000, 20, 100)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")

SHARED = pathlib.Path(
    os.environ.get("SPECJAX_SHARED", pathlib.Path(__file__).resolve().parents[2] / "shared")
)


def pytest_sessionfinish():
    """At its end, pytest collects garbage five times: once is enough for all that is there now."""
    gc.collect()
    gc.freeze()


def pytest_configure(config):
    """Compile little, and keep what was compiled for later sessions: it is most of the time."""
    if hasattr(config, "workerinput"):
        return  # A worker has inherited the environment.
    folder = config.cache.mkdir("programs")
    for program in folder.glob("*-cache"):
        # A process that was killed as it wrote one left half of it, and no time of its use.
        if not folder.joinpath(program.name.removesuffix("cache") + "atime").exists():
            program.unlink()
    settings = {
        "jax_disable_most_optimizations": True,
        "jax_compilation_cache_dir": str(folder),
        "jax_persistent_cache_min_compile_time_secs": 0.1,
        # Where there is a limit, processes lock the folder while they read and write.
        "jax_compilation_cache_max_size": 2**30,
    }
    for name, value in settings.items():
        jax.config.update(name, value)
        os.environ[name.upper()] = str(value)  # for the processes that tests start


@pytest.fixture(scope="module")
def optimised():
    """Compiles as the commands do, for tests of programs that run longer than they compile."""
    # JAX would take a program that it has compiled without them.
    jax.clear_caches()
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.clear_caches()
    jax.config.update("jax_disable_most_optimizations", True)


# Memory maps of a process (the system allows some 65,000): compiled programs hold several each.
_MANY_MAPS = 30_000


@pytest.fixture(autouse=True, scope="module")
def _few_programs():
    """Forget compiled programs when there are many: a process that runs out of maps crashes."""
    yield
    if memory_maps() > _MANY_MAPS:
        jax.clear_caches()


def _shared(name: str) -> pathlib.Path:
    """A folder beside the checkout; tests that need it are skipped if it is missing."""
    folder = SHARED / name
    if not folder.is_dir():
        if os.environ.get("SPECJAX_REQUIRE_SHARED"):
            pytest.fail(f"{folder} is required here and missing")
        pytest.skip(f"{folder} is not on this machine")
    return folder


@pytest.fixture(scope="session")
def shared_oracle():
    """Reference arrays of an independent run of the published method."""
    return _shared("oracle")


@pytest.fixture(scope="session")
def shared_checkpoints():
    """Real self-supervised backbones."""
    return _shared("checkpoints")


@pytest.fixture(scope="session")
def shared_data():
    """Real photographs with instance masks."""
    return _shared("data")


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    """A tiny checkpoint and tiny datasets; tests that change them work on copies."""
    return World(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="session")
def voc_run(world, tmp_path_factory):
    """A finished `instance` run over the tiny VOC folder; tests that change it use `voc_copy`."""
    folder = tmp_path_factory.mktemp("voc_run") / "run"
    finished = run("instance", folder, *world.flags("voc"), "--save=labels")
    assert finished.status == 0 and finished.stderr == ""
    return finished


@pytest.fixture(scope="session")
def voc_flags(world):
    """Flags of the tiny VOC folder, with which `voc_run` was made."""
    return world.flags("voc")


@pytest.fixture
def voc_copy(voc_run, tmp_path):
    """A copy of the folder of `voc_run`, for a test that changes it."""
    return shutil.copytree(voc_run.folder, tmp_path / "copy")
