"""The benchmark: an honest baseline, floors from counted operations, a run of the binary."""

import contextlib
import dataclasses
import io
import json
import os
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from experiments.benchmarking import (
    baseline,
    batches,
    clock,
    per_size,
    suite,
)
from experiments.benchmarking.clock import Machine, Work
from experiments.benchmarking.commands import timed as timed_command
from experiments.benchmarking.stages import backbone_flops
from experiments.loop import backbone
from specjax import (
    VIT_S16,
    Config,
    SpecjaxError,
    affinity_matrix,
    channel_entropy,
    noise_channel_reduction,
    normalize_tokens,
    pad_tokens,
    reduce_features,
    segment_foreground,
)
from tests.support.run_binary import assert_refused, run

GRID = (12, 15)
# Arrays as large as the binary's, which share programs.
CHANNELS, CONFIG = 384, Config()


@pytest.fixture
def small_models(monkeypatch):
    """Models of two blocks, two metrics, and quick machine calls."""
    small = dataclasses.replace(VIT_S16, num_layers=2)
    for module in (backbone, per_size, suite):
        monkeypatch.setattr(module, "VIT_S16", small)
    monkeypatch.setattr(batches, "METRICS", ("boc", "dot"))
    monkeypatch.setattr(clock, "_MATRIX", 64)


@pytest.fixture(scope="module")
def features():
    """Two similar blobs on a less similar background, with noise."""
    rng = np.random.default_rng(0)
    (common, shared), own = rng.normal(size=(2, CHANNELS)), rng.normal(size=(3, CHANNELS))
    # A common part, so that the graph is connected.
    directions = 2 * common + np.array([-1, 1, 1])[:, None] * shared + 0.5 * own
    regions = np.zeros(GRID, int)
    regions[2:9, 2:7], regions[3:10, 9:14] = 1, 2
    noise = 0.1 * rng.normal(size=(regions.size, CHANNELS))
    return (directions[regions.ravel()] + noise).astype(np.float32), regions.ravel()


def test_the_baseline_computes_what_we_compute(features):
    array, regions = features
    ours, grid = jnp.asarray(array), jnp.array(GRID)
    padded, objects = jnp.asarray(pad_tokens(array)), jnp.asarray(pad_tokens(regions > 0))
    np.testing.assert_allclose(baseline.entropies(array), channel_entropy(ours), atol=1e-5)
    normal = normalize_tokens(ours[:, noise_channel_reduction(ours, keep=CONFIG.M)])
    np.testing.assert_allclose(baseline.reduced(array, CONFIG.M), normal, atol=1e-6)

    raw = segment_foreground(padded, grid, config=CONFIG).raw[: len(array)]
    mask = baseline.foreground(np.asarray(normal, np.float64), GRID)
    assert np.mean(mask == (regions > 0)) > 0.9 and np.mean(mask == np.asarray(raw)) > 0.9

    masked = baseline.instance_features(array, regions > 0, CONFIG.M, CONFIG.N)
    reduced = reduce_features(padded, objects, grid, config=CONFIG)[: len(array)]
    np.testing.assert_allclose(masked, reduced, atol=1e-6)
    weights = np.asarray(affinity_matrix(reduced, metric="boc"))
    np.testing.assert_allclose(baseline.affinity(masked), weights / weights.max(), atol=1e-5)

    maps = baseline.eigenvectors(baseline.affinity(masked.astype(np.float64)))
    labels = baseline.clusters(maps, regions > 0, GRID, 2)
    assert (labels > 0).tolist() == (regions > 0).tolist() and labels.max() == 2


def test_floors():
    machine = Machine(flops=100.0, bytes=10.0)
    assert machine.floor(Work(flops=50.0)) == 0.5
    assert machine.floor(Work(flops=50.0, traffic=20.0)) == 2.0
    # ViT-S/16 at 224 pixels: 4.6 G multiply-adds in the literature, the whole last block and the
    # class token's head included; here that block ends at its keys.
    assert backbone_flops(VIT_S16, 196) == pytest.approx(2 * 4.25e9, rel=0.03)


def test_medians_are_of_warm_calls_in_turn(monkeypatch):
    now, order = [0.0], []
    monkeypatch.setattr(clock.time, "perf_counter", lambda: now[0])
    seconds = {"a": iter([90.0, 2.0, 1.0, 9.0]), "b": iter([90.0, 5.0, 3.0, 4.0])}

    def call(name):
        order.append(name)
        now[0] += next(seconds[name])

    found = clock.medians({"a": lambda: call("a"), "b": lambda: call("b")}, repeats=3)
    assert order == ["a", "b"] * 4 and found == {"a": 2.0, "b": 4.0}


def test_compilations_are_counted():
    counter = clock.Compilations()
    program = jax.jit(lambda x: x * 3 + counter.count * 0)
    program(jnp.ones(3)), program(jnp.ones(3))
    once = counter.count
    program(jnp.ones((2, 7)))
    assert counter.count > once > 0


def test_the_binary(tmp_path, small_models, world):
    flags = ["--batches_of=96x80", "--batch_sizes=1", "--repeats=1", "--baseline_tokens=120"]
    flags += ["--first_photograph=160x128", world.checkpoint]
    finished = run("benchmark", tmp_path, "--sizes=208x176, 192x160", *flags)
    assert finished.status == 0, finished.stderr
    result = json.loads((tmp_path / "benchmark.json").read_text())
    large, small = result["sizes"]
    assert (large["tokens"], small["tokens"]) == (143, 120)
    assert large["baseline_seconds"] == {} and "speedup_after_backbone" not in large
    stages = ["decode", "backbone", "foreground", "reduce", "eigenpairs", "labels"]
    others = ["tokencut", "maskcut", "dsm"]
    assert list(small["seconds"]) == list(small["floor_seconds"]) == [*stages, *others]
    assert list(small["baseline_seconds"]) == stages[2:]
    assert small["after_backbone"] == pytest.approx(sum(list(small["seconds"].values())[2:6]))
    speedup = small["baseline_after_backbone"] / small["after_backbone"]
    assert small["speedup_after_backbone"] == pytest.approx(speedup) and speedup > 0
    assert large["programs_compiled"] > 5
    assert min([*large["seconds"].values(), *large["floor_seconds"].values()]) > 0
    assert set(small["solver_seconds"]) == {"eigh", "krylov", "scipy"}
    assert set(large["solver_seconds"]) == {"eigh", "krylov"}
    found = result["metrics"]
    assert found["ratio"] == pytest.approx(found["nine"] / found["one"]) and found["one"] > 0
    speeds = {row["batch_size"]: row["images_per_second"] for row in result["throughput"]["rows"]}
    assert set(speeds) == {1} and min(speeds.values()) > 0 and result["whole_run"] is None
    first = result["first_photograph"]
    assert first["first_seconds"] > 0 and first["seconds"] > 0
    table = (tmp_path / "benchmark.md").read_text()
    assert "The first photograph, 160x128" in table
    assert "208x176: 143 tokens" in table and table in finished.stdout
    assert "reference implementation, s" in table and "| 1 | " in table


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("--sizes=large", ["'large'", "1280x720"]),
        ("--batches_of=854", ["'854'", "1280x720"]),
        ("--batch_sizes=0", ["--batch_sizes=0"]),
        ("stray", ["'stray'", "--photographs"]),
    ],
)
def test_mistakes_get_one_line(flag, words, tmp_path):
    assert_refused(run("benchmark", tmp_path / "out", flag), *words)
    assert not (tmp_path / "out").exists()


def test_whole_runs(tmp_path, monkeypatch, small_models):
    for number, size in enumerate([(64, 48), (65, 48), (70, 50)]):
        Image.effect_noise(size, 60).convert("RGB").save(tmp_path / f"{number}.png")
    commands = []

    def timed(command, environment):
        """In this process, where programs are compiled already."""
        commands.append(command[0])
        assert ("XDG_CACHE_HOME" in environment) == (command[0] == "experiments.instance")
        if command[0] == "experiments.instance":
            *flags, folder = command[1:]
            folder = pathlib.Path(folder.removeprefix("--output_dir="))
            finished = run("instance", folder, *flags, "--batch_size=1")
            assert finished.status == 0, finished.stderr
            return 9.0 - len(commands), ""
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            per_size.main(*command[1:])
        return 28.0, out.getvalue().strip()

    monkeypatch.setattr(per_size, "timed", timed)
    found = per_size.compare(tmp_path)
    assert commands == ["experiments.instance"] * 2 + ["experiments.benchmarking.per_size"]
    assert (found["images"], found["sizes"]) == (3, 1) and 0 < found["host_share"] < 1
    assert (found["first_seconds"], found["seconds"], found["loop_seconds"]) == (8.0, 7.0, 28.0)
    assert found["speedup"] == 4.0 and found["seconds_per_stage"]["total"] > 0


def test_commands_are_timed():
    seconds, line = timed_command(["this"], os.environ)
    assert seconds > 0 and line.startswith("Namespaces are one honking great idea")
    with pytest.raises(SpecjaxError, match=r"^json\.tool failed: .*nothing"):
        timed_command(["json.tool", "nothing"], os.environ)
