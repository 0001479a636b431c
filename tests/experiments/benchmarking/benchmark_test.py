"""The benchmark: an honest baseline, floors from counted operations, a run of the binary."""

import json
import os
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from experiments.benchmarking import baseline, clock
from experiments.benchmarking.machine import Machine, Work
from experiments.benchmarking.stages import backbone_flops
from specjax import affinity, channels, pipeline, protocol
from specjax.models.vit import VIT_S16
from tests.support.run_binary import ROOT, quick_environment

GRID = (12, 15)
CONFIG = pipeline.Config(M=16, N=9, protocol=protocol.PAPER)


@pytest.fixture(scope="module")
def features():
    """Two blobs, rather alike, on a background that is less so; and noise."""
    rng = np.random.default_rng(0)
    common, shared, own = rng.normal(size=40), rng.normal(size=40), rng.normal(size=(3, 40))
    # Something in common, so that the graph is connected.
    directions = 2 * common + np.array([-1, 1, 1])[:, None] * shared + 0.5 * own
    regions = np.zeros(GRID, int)
    regions[2:9, 2:7], regions[3:10, 9:14] = 1, 2
    noise = 0.1 * rng.normal(size=(regions.size, 40))
    return (directions[regions.ravel()] + noise).astype(np.float32), regions.ravel()


def test_the_baseline_computes_what_we_compute(features):
    array, regions = features
    ours = channels.channel_entropy(jnp.asarray(array))
    np.testing.assert_allclose(baseline.entropies(array), ours, atol=1e-5)
    grid = jnp.asarray(GRID)
    normal = pipeline.reduce_for_foreground(jnp.asarray(array), grid, config=CONFIG)
    np.testing.assert_allclose(baseline.reduced(array, CONFIG.M), normal, atol=1e-6)

    raw = pipeline.split_foreground(normal, grid, config=CONFIG).raw
    mask = baseline.foreground(np.asarray(normal, np.float64), GRID)
    assert np.mean(mask == (regions > 0)) > 0.9 and np.mean(mask == np.asarray(raw)) > 0.9

    masked = baseline.channels(array, regions > 0, CONFIG.M, CONFIG.N)
    reduced = pipeline.reduce_for_instances(
        jnp.asarray(array), jnp.asarray(regions > 0), grid, config=CONFIG
    )
    np.testing.assert_allclose(masked, reduced, atol=1e-6)
    weights = np.asarray(affinity.affinity_matrix(reduced, metric="boc"))
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


def test_medians_are_of_warm_calls_in_turn():
    order = []

    def call(name, seconds):
        order.append(name)
        time.sleep(seconds if len(order) > 2 else 0.2)

    found = clock.medians(
        {"a": lambda: call("a", 0.0), "b": lambda: call("b", 0.02)}, repeats=3
    )
    assert order == ["a", "b"] * 4 and found["a"] < 0.02 <= found["b"] < 0.15


def test_compilations_are_counted():
    counter = clock.Compilations()
    program = jax.jit(lambda x: x * 3 + counter.count * 0)
    program(jnp.ones(3)), program(jnp.ones(3))
    once = counter.count
    program(jnp.ones((2, 7)))
    assert counter.count > once > 0


def test_the_binary(tmp_path):
    command = [sys.executable, "-m", "experiments.benchmark", f"--output_dir={tmp_path}"]
    photographs = tmp_path / "photographs"
    photographs.mkdir()
    for number, size in enumerate([(64, 48), (65, 48), (70, 50)]):
        Image.effect_noise(size, 60).convert("RGB").save(photographs / f"{number}.png")
    small = ["--batches_of=96x80", "--batch_sizes=1", f"--photographs={photographs}"]
    finished = subprocess.run(
        [*command, "--sizes=192x160, 100x120", "--repeats=1", "--baseline_tokens=100", *small],
        cwd=ROOT, env={**os.environ, **quick_environment()}, capture_output=True, text=True,
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    result = json.loads((tmp_path / "benchmark.json").read_text())
    large, small = result["sizes"]
    assert (large["tokens"], small["tokens"]) == (120, 42)
    assert large["baseline_seconds"] == {} and "speedup_after_backbone" not in large
    assert set(small["baseline_seconds"]) == set(small["seconds"]) - {"decode", "backbone"}
    assert small["speedup_after_backbone"] > 0 and large["programs_compiled"] > 5
    assert min([*large["seconds"].values(), *large["floor_seconds"].values()]) > 0
    table = (tmp_path / "benchmark.md").read_text()
    assert "192x160: 120 tokens" in table and table in finished.stdout
    assert set(small["solver_seconds"]) == {"eigh", "lobpcg", "krylov"}
    found = result["metrics"]
    assert found["ratio"] == pytest.approx(found["nine"] / found["one"]) and found["one"] > 0
    speeds = {row["batch_size"]: row["images_per_second"] for row in result["throughput"]["rows"]}
    assert set(speeds) == {1} and min(speeds.values()) > 0
    whole = result["whole_run"]
    assert (whole["images"], whole["sizes"]) == (3, 1) and 0 < whole["host_share"] < 1
    assert whole["speedup"] == pytest.approx(whole["loop_seconds"] / whole["seconds"])
    assert "3 photographs of 1 sizes" in table and "| 1 | " in table
    for wrong, words in (("--sizes=large", "1280x720"), ("--batch_sizes=0", "1 to 9999")):
        refused = subprocess.run([*command, wrong], cwd=ROOT, capture_output=True, text=True)
        assert refused.returncode == 2 and words in refused.stderr
