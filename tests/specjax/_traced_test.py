"""Programs that are kept on disk as they were traced."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from specjax import _traced
from tests.support.run_binary import ROOT
from tests.support.segmenters import opened

traces = []


def scaled(values, *, factor):
    traces.append(factor)
    return values * factor


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where they are kept."""
    monkeypatch.setattr(_traced, "_folder", tmp_path / "traced")
    traces.clear()
    return tmp_path / "traced"


def call_as_new(*args, **static):
    """`call`, as a new process does."""
    _traced._program.cache_clear()
    return _traced.call(*args, **static)


def test_a_program_is_traced_once(folder):
    for _ in range(3):
        assert call_as_new(scaled, jnp.arange(3.0), factor=2).tolist() == [0, 2, 4]
    assert traces == [2] and len(list(folder.iterdir())) == 1


def test_nothing_is_kept_unless_a_program_says_so(folder, monkeypatch):
    _traced.keep_in(None)
    for _ in range(2):
        assert _traced.call(scaled, jnp.arange(3.0), factor=2).tolist() == [0, 2, 4]
    assert traces == [2, 2] and not folder.exists()


def test_what_a_program_was_made_from(folder, monkeypatch):
    """Other arguments, settings, sources or settings of JAX are another program."""
    call_as_new(scaled, jnp.arange(3.0), factor=2)
    call_as_new(scaled, jnp.arange(4.0), factor=2)
    call_as_new(scaled, jnp.arange(3), factor=2)
    call_as_new(scaled, jnp.arange(3.0), factor=3)
    with jax.default_matmul_precision("float32"):
        call_as_new(scaled, jnp.arange(3.0), factor=2)
        _traced.call(scaled, jnp.arange(3.0), factor=2)
    _traced.call(scaled, jnp.arange(3.0), factor=2)
    assert traces == [2, 2, 2, 3, 2]
    monkeypatch.setattr(_traced, "_sources", lambda: "changed")
    call_as_new(scaled, jnp.arange(3.0), factor=2)
    assert traces == [2, 2, 2, 3, 2, 2] and len(list(folder.iterdir())) == 6


def test_a_damaged_file_is_replaced(folder):
    call_as_new(scaled, jnp.arange(3.0), factor=2)
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    for damaged in (whole[:-1], whole[:-1] + b"x", b""):
        path.write_bytes(damaged)
        for _ in range(2):
            assert call_as_new(scaled, jnp.arange(3.0), factor=2).tolist() == [0, 2, 4]
    assert traces == [2] * 4


def test_a_folder_that_cannot_be_written(folder, monkeypatch):
    folder.write_text("a file")
    monkeypatch.setattr(_traced, "_folder", folder / "below")
    assert call_as_new(scaled, jnp.arange(3.0), factor=2).tolist() == [0, 2, 4]


@pytest.mark.parametrize(
    ("settings", "num_instances"),
    [({}, 3), ({}, None), ({"method": "maskcut"}, None), ({"method": "dsm_segments"}, None)],
)
def test_a_photograph_has_the_same_result(checkpoint, paths, folder, settings, num_instances):
    """With no programs kept, with new ones, and with old ones."""
    names = "labels foreground token_labels scores eigensegments proposals proposal_shares".split()

    def found():
        result = opened(checkpoint, **settings)(paths[0], num_instances=num_instances)
        return [getattr(result, name) for name in names]

    new = found()
    files = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert len(files) == (5 if num_instances else 2)
    _traced._program.cache_clear()
    old = found()
    assert files == {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    _traced.keep_in(None)
    plain = found()
    for one, two, three in zip(new, old, plain, strict=True):
        np.testing.assert_array_equal(one, two, strict=True)
        np.testing.assert_array_equal(one, three, strict=True)


def test_a_module_may_be_loaded_again():
    """As notebooks do; in a process of its own, as classes of the module would be others."""
    code = "import importlib, specjax._analysis\nimportlib.reload(specjax._analysis)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_a_program_has_one_name_in_all_processes():
    """Trees of models name functions by address, and sets have no order."""
    code = (
        "import jax, specjax\n"
        "from specjax import _traced\n"
        "size = dict(hidden_size=8, num_layers=1, mlp_size=16, patch_size=2, image_size=8)\n"
        "static = (('config', specjax.Config(M=4, N=2)),)\n"
        "for heads in (1, 2):\n"
        "    config = specjax.ViTConfig(num_heads=heads, **size)\n"
        "    model = specjax.random_checkpoint(config, seed=0).model\n"
        "    tree = jax.tree.structure(model)\n"
        "    print(_traced._digest(specjax.extract_features, tree, (), static, ()))\n"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in "12"
    ]
    first, second = (process.communicate(timeout=300)[0].split() for process in started)
    assert first == second and len(set(first)) == 2
