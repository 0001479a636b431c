"""Mixed keys: what they hold, that attention stays, and the binary."""

import itertools

import numpy as np
import pytest

from experiments.datasets.scenes.drawing import draw_scene
from experiments.pretraining.mixed_keys import fitted, mix_keys, mixed, relative_change
from specjax import SpecjaxError, ViTConfig, load_checkpoint, random_checkpoint
from tests.support.run_binary import assert_refused, run
from tests.support.tiny_checkpoint import write_checkpoint


def scenes(*numbers):
    return [draw_scene((9, number), height=192, width=256).image for number in numbers]


@pytest.fixture(scope="module")
def built_in():
    return load_checkpoint("specjax-mini")


def test_parts_are_rotated_and_have_the_same_power():
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(50, 7))
    parts = [scale * rng.normal(size=(7, 12)) for scale in (1, 20)]
    power = inputs.T @ inputs / len(inputs)
    alone, both = (mixed(parts[:count], power, seed=3) for count in (1, 2))
    for part, found in zip(parts, (alone, both - alone), strict=True):
        # A rotation changes no product of two tokens.
        shown = inputs @ part
        products = shown @ shown.T / np.mean(shown**2)
        np.testing.assert_allclose(inputs @ found @ found.T @ inputs.T, products, atol=1e-9)
        assert not np.allclose(found / np.linalg.norm(found), part / np.linalg.norm(part))
    assert not np.allclose(alone, mixed(parts[:1], power, seed=4))


def test_queries_have_the_least_squared_error():
    rng = np.random.default_rng(1)
    query, key, new = rng.normal(size=(3, 5, 3))
    tokens = rng.normal(size=(40, 5)) * [1, 2, 3, 1, 1] + 4
    found = fitted(query, key, new, np.cov(tokens.T, bias=True))
    # One equation for the product of each two tokens, less its mean over the keys.
    keys, replaced = (tokens @ matrix for matrix in (key, new))
    keys, replaced = keys - keys.mean(axis=0), replaced - replaced.mean(axis=0)
    rows = [np.outer(token, other).ravel() for token in tokens for other in replaced]
    wanted = [token @ query @ other for token, other in itertools.product(tokens, keys)]
    naive, *_ = np.linalg.lstsq(np.array(rows), np.array(wanted), rcond=None)
    np.testing.assert_allclose(found, naive.reshape(5, 3), atol=1e-9)


def test_outputs_stay_and_keys_change(built_in):
    colours = (built_in.mean, built_in.std)
    found = mix_keys(built_in.model, colours, scenes(0, 1, 2, 3), seed=0)
    others = scenes(4, 5)
    assert relative_change(built_in.model, found, colours, others) < 0.01
    # With the queries as they were, the new keys would change the outputs.
    found.blocks[-1].query = built_in.model.blocks[-1].query
    assert relative_change(built_in.model, found, colours, others) > 0.05
    old, new = (model.blocks[-1].key.kernel[...] for model in (built_in.model, found))
    assert np.abs(np.corrcoef(np.ravel(old), np.ravel(new))[0, 1]) < 0.1


def test_keys_hold_the_inputs_too():
    shape = ViTConfig(hidden_size=24, num_layers=2, num_heads=2, mlp_size=8, patch_size=16)
    checkpoint = random_checkpoint(shape, seed=0)
    block = checkpoint.model.blocks[-1]
    for layer in (block.query, block.key):  # which know a single number of a token
        layer.kernel[...] = np.ones((24, 24), np.float32)
    found = mix_keys(checkpoint.model, (checkpoint.mean, checkpoint.std), scenes(0), seed=0)
    assert np.linalg.matrix_rank(found.blocks[-1].key.kernel[...]) == 24


@pytest.mark.parametrize(
    "settings",
    [{"num_layers": 1}, {"rope_theta": 100.0}, {"qkv_bias": False}, {"key_bias": False}],
    ids=lambda settings: next(iter(settings)),
)
def test_other_backbones_are_refused(settings):
    shape = {"hidden_size": 24, "num_layers": 2, "num_heads": 2, "mlp_size": 8, "patch_size": 16}
    checkpoint = random_checkpoint(ViTConfig(**{**shape, **settings}), seed=0)
    with pytest.raises(SpecjaxError, match="keys cannot be mixed"):
        mix_keys(checkpoint.model, (checkpoint.mean, checkpoint.std), scenes(0), seed=0)


def test_the_binary_writes_a_backbone(tmp_path):
    checkpoint = write_checkpoint(tmp_path / "checkpoint")
    flags = [f"--checkpoint={checkpoint}", "--scenes=2"]
    digests = []
    for name, seed in (("one", 0), ("again", 0), ("other", 1)):
        finished = run("mix_keys", tmp_path / name, *flags, f"--seed={seed}")
        assert finished.status == 0 and not finished.stderr
        said, folder = finished.stdout.splitlines()
        assert said.startswith("outputs change by ") and folder == str(tmp_path / name)
        digests.append(load_checkpoint(folder).digest)
    one, again, other = digests
    assert one == again and one != other


def test_the_binary_needs_a_backbone_and_a_new_folder(tmp_path):
    assert_refused(run("mix_keys", tmp_path / "out"), "--checkpoint")
    folder = write_checkpoint(tmp_path / "checkpoint")
    flags = ["--checkpoint=specjax-mini", "--scenes=1"]
    assert_refused(run("mix_keys", folder, *flags), "--output_dir", folder, "holds a backbone")
    (tmp_path / "file").touch()
    refused = run("mix_keys", tmp_path / "file" / "folder", *flags)
    assert_refused(refused, "cannot write", tmp_path / "file")
