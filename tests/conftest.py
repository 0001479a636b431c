"""Strict JAX for every test: no silent rank or dtype promotion, shapes checked at run time."""

import os
import pathlib

# Before numpy and jax are loaded, for the reason that experiments/__init__.py gives.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from jaxtyping import install_import_hook

install_import_hook("specjax", "beartype.beartype")

import jax  # noqa: E402
import pytest  # noqa: E402

from specjax._memory import memory_maps  # noqa: E402
from tests.support.run_binary import World  # noqa: E402

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")

SHARED = pathlib.Path(
    os.environ.get("SPECJAX_SHARED", pathlib.Path(__file__).resolve().parents[2] / "shared")
)


# Memory maps of a process (the system allows some 65,000): compiled programs hold several each.
_MANY_MAPS = 20_000


@pytest.fixture(autouse=True, scope="module")
def _few_programs():
    """Forget compiled programs where they are many: a process that runs out of maps crashes."""
    yield
    if memory_maps() > _MANY_MAPS:
        jax.clear_caches()


def _shared(name: str) -> pathlib.Path:
    """A folder beside the checkout; a test that needs it is skipped where it is missing."""
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
def shared_data():
    """Real photographs with instance masks."""
    return _shared("data")


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    """A tiny checkpoint and tiny datasets; a test that changes them copies them first."""
    return World(tmp_path_factory.mktemp("world"))
