import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from specjax import VIT_S16, SpecjaxError, ViTConfig
from specjax.models.checkpoints.loading import load_checkpoint, random_checkpoint
from specjax.models.checkpoints.skeleton import leaf_shapes
from tests.support.naive_vit import naive_vit

TINY = ViTConfig(
    hidden_size=12, num_layers=2, num_heads=3, mlp_size=20, patch_size=4, image_size=20
)
BASE = {"hidden_size": 768, "num_heads": 12, "mlp_size": 3072}
LARGE = {"hidden_size": 1024, "num_layers": 24, "num_heads": 16, "mlp_size": 4096}
GIANT = {"hidden_size": 1536, "num_layers": 40, "num_heads": 24, "mlp_size": 4096}
GIANT |= {"gated_mlp": True}
HUGE_PLUS = {"hidden_size": 1280, "num_layers": 32, "num_heads": 20, "mlp_size": 5120}
HUGE_PLUS |= {"gated_mlp": True}


@pytest.fixture(scope="module")
def model():
    return random_checkpoint(TINY, seed=1).model


def some_patches(tokens, config=TINY, seed=0):
    values = np.random.default_rng(seed).normal(size=(tokens, config.patch_size**2 * 3))
    return jnp.asarray(values, jnp.float32)


@functools.partial(nnx.jit, static_argnames=("layer", "pos_interpolation", "attention_chunk"))
def run(model, patches, grid, layer=-1, pos_interpolation="dino", attention_chunk=256):
    """The model under jit with a traced grid: one operation at a time would be slow to compile."""
    return model(
        patches,
        grid,
        layer=layer,
        pos_interpolation=pos_interpolation,
        attention_chunk=attention_chunk,
    )


def assert_close(outputs, expected, tokens, atol=2e-5):
    *actual, actual_cls = outputs
    *reference, reference_cls = expected
    for one, other in zip(actual, reference, strict=True):
        np.testing.assert_allclose(one[:tokens], other[:tokens], atol=atol)
    np.testing.assert_allclose(actual_cls, reference_cls, atol=atol)


@pytest.mark.parametrize("interpolation", ["dino", "hf"])
@pytest.mark.parametrize("grid", [(5, 5), (3, 7), (1, 4)])
def test_agrees_with_a_naive_transformer(model, grid, interpolation):
    patches, tokens = some_patches(25), grid[0] * grid[1]
    expected = naive_vit(model, patches[:tokens], grid, interpolation)
    outputs = run(model, patches, jnp.array(grid), pos_interpolation=interpolation)
    assert_close(outputs, expected[-1], tokens)


@pytest.mark.parametrize(("layer", "index"), [(1, 0), (-2, 0), (2, 1)])
def test_an_earlier_block_by_its_number(model, layer, index):
    expected = naive_vit(model, some_patches(21), (3, 7))
    outputs = run(model, some_patches(25), jnp.array((3, 7)), layer=layer)
    assert_close(outputs, expected[index], 21)


def test_every_block_in_one_pass(model):
    expected = naive_vit(model, some_patches(21), (3, 7))
    every = jax.jit(lambda patches, grid: model.every_block(patches, grid, attention_chunk=256))
    blocks = every(some_patches(25), jnp.array((3, 7)))
    assert len(blocks) == TINY.num_layers
    for outputs, reference in zip(blocks, expected, strict=True):
        assert_close(outputs, reference, 21)


def test_a_grid_of_python_integers_and_an_unchanged_model(model):
    before = jax.tree.leaves(nnx.state(model))
    outputs = jax.jit(lambda patches: model(patches, (3, 7)))(some_patches(21))
    assert_close(outputs, naive_vit(model, some_patches(21), (3, 7))[-1], 21)
    after = jax.tree.leaves(nnx.state(model))
    assert all(a is b for a, b in zip(before, after, strict=True))


def test_without_query_key_value_biases():
    config = dataclasses.replace(TINY, qkv_bias=False)
    model = random_checkpoint(config, seed=2).model
    outputs = run(model, some_patches(6), jnp.array((2, 3)))
    assert_close(outputs, naive_vit(model, some_patches(6), (2, 3))[-1], 6)


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_the_attention_chunk_changes_nothing(model, chunk):
    patches, grid = some_patches(21), jnp.array((3, 7))
    expected = naive_vit(model, patches, (3, 7))[-1]
    assert_close(run(model, patches, grid, attention_chunk=chunk), expected, 21)


@pytest.mark.parametrize("padding", [0.0, 1e4, np.nan, np.inf])
def test_padding_changes_nothing(model, padding):
    patches, grid = some_patches(21), jnp.array((3, 7))
    padded = jnp.concatenate([patches, jnp.full((11, patches.shape[1]), padding)])
    outputs = run(model, padded, grid, attention_chunk=8)
    assert_close(outputs, naive_vit(model, patches, (3, 7))[-1], 21)
    assert all(np.isfinite(output).all() for output in outputs)


def test_one_program_serves_grids_of_many_sizes_under_jit_and_vmap(model):
    structure, state = nnx.split(model)
    traces = []

    def keys(state, patches, grid):
        traces.append(grid)
        return nnx.merge(structure, state)(patches, grid, attention_chunk=8).keys

    grids = [(3, 7), (5, 5), (1, 2), (4, 6)]
    images = [some_patches(h * w, seed=h) for h, w in grids]
    padded = jnp.stack([jnp.pad(image, ((0, 25 - len(image)), (0, 0))) for image in images])
    one = jax.jit(keys)
    single = [one(state, padded[i], jnp.array(grid)) for i, grid in enumerate(grids)]
    assert len(traces) == 1
    batch = jax.jit(jax.vmap(keys, (None, 0, 0)))(state, padded, jnp.array(grids))
    for i, (h, w) in enumerate(grids):
        expected = naive_vit(model, images[i], (h, w))[-1][0]
        np.testing.assert_allclose(single[i][: h * w], expected, atol=2e-5)
        np.testing.assert_allclose(batch[i][: h * w], expected, atol=2e-5)


VARIANTS = {
    "registers": {"num_registers": 3, "family": "dinov2_with_registers"},
    "gated": {"gated_mlp": True, "family": "dinov2"},
    "rotary": {"num_registers": 2, "rope_theta": 100.0, "key_bias": False, "family": "dinov3_vit"},
}


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)
def test_variants_are_the_same_alone_padded_and_in_a_batch(changes):
    config = dataclasses.replace(TINY, **{**changes, "hidden_size": 24})
    model = random_checkpoint(config, seed=1).model
    grids = [(3, 7), (5, 5), (1, 2)]
    alone = [jax.jit(model)(some_patches(h * w, seed=h), (h, w)) for h, w in grids]
    padded = jnp.stack(
        [jnp.pad(some_patches(h * w, seed=h), ((0, 31 - h * w), (0, 0))) for h, w in grids]
    )
    together = jax.jit(jax.vmap(model))(padded, jnp.array(grids))
    rounded = jax.jit(functools.partial(model, dtype="bfloat16"))(padded[0], (3, 7))
    for i, (h, w) in enumerate(grids):
        for name in ("keys", "queries", "values", "outputs"):
            one, other = getattr(alone[i], name), getattr(together, name)[i, : h * w]
            np.testing.assert_allclose(other, one, atol=2e-5)
    error = np.abs(rounded.outputs[:21] - alone[0].outputs).max() / np.abs(alone[0].outputs).max()
    assert 1e-4 < error < 0.1


def test_features_differ_between_images_and_tokens(model):
    keys, others = (run(model, some_patches(25, seed=i), jnp.array((5, 5))).keys for i in (0, 5))
    assert np.ptp(keys, axis=0).min() > 0.1
    assert np.abs(keys - others).max() > 0.1


def test_gradients_are_finite(model):
    def total(patches):
        return model(patches, (2, 3)).outputs[:6].sum()

    gradient = jax.jit(jax.grad(total))(some_patches(9))
    assert np.isfinite(gradient).all()
    assert np.abs(gradient[:6]).max() > 0
    np.testing.assert_array_equal(gradient[6:], 0)


@pytest.mark.parametrize(
    ("changes", "count"),
    [
        ({}, 21_665_664),
        ({"patch_size": 8}, 21_670_272),
        (BASE, 85_798_656),
        ({**BASE, "patch_size": 8}, 85_807_872),
        (LARGE, 303_301_632),
    ],
    ids=["S/16", "S/8", "B/16", "B/8", "L/16"],
)
def test_parameter_counts_of_published_models(changes, count):
    shapes = leaf_shapes(dataclasses.replace(VIT_S16, **changes))
    assert sum(map(math.prod, shapes.values())) == count


@pytest.mark.parametrize(
    ("changes", "count"),
    [
        ({}, 22_056_576),
        (BASE, 86_580_480),
        (LARGE, 304_368_640),
        (GIANT, 1_136_480_768),
        ({**BASE, "num_registers": 4}, 86_583_552),
    ],
    ids=["S/14", "B/14", "L/14", "g/14", "B/14 with registers"],
)
def test_parameter_counts_of_dinov2(changes, count):
    """As published, less the mask token and the layer scales, which are folded into projections."""
    config = dataclasses.replace(
        VIT_S16, **{"patch_size": 14, "image_size": 518, "family": "dinov2", **changes}
    )
    shapes = leaf_shapes(config)
    scales = 2 * config.num_layers * config.hidden_size
    assert sum(map(math.prod, shapes.values())) == count - config.hidden_size - scales


@pytest.mark.parametrize(
    ("changes", "count"),
    [
        ({}, 21_596_544),
        ({"mlp_size": 1536, "gated_mlp": True}, 28_692_864),
        (BASE, 85_660_416),
        (LARGE, 303_129_600),
        (HUGE_PLUS, 840_592_640),
    ],
    ids=["S", "S+", "B", "L", "H+"],
)
def test_parameter_counts_of_dinov3(changes, count):
    """As transformers counts them, less the mask token and the layer scales."""
    v3 = {"num_registers": 4, "rope_theta": 100.0, "key_bias": False, "family": "dinov3_vit"}
    config = dataclasses.replace(VIT_S16, **v3, **changes)
    shapes = leaf_shapes(config)
    scales = 2 * config.num_layers * config.hidden_size
    assert sum(map(math.prod, shapes.values())) == count - config.hidden_size - scales


def test_agrees_with_the_reference_features(shared_oracle):
    from PIL import Image

    stored = np.load(shared_oracle / "tiny_voc_2011000003.npz")
    checkpoint = load_checkpoint(shared_oracle / "checkpoint_tiny")
    pixels = np.asarray(Image.open(shared_oracle / "images" / "voc_2011000003.jpg"), np.float32)
    h, w = (int(side) for side in stored["grid"])
    pixels = (pixels[: h * 16, : w * 16] / 255 - np.float32(checkpoint.mean)) / np.float32(
        checkpoint.std
    )
    patches = pixels.reshape(h, 16, w, 16, 3).transpose(0, 2, 1, 3, 4).reshape(h * w, -1)
    keys = run(checkpoint.model, jnp.asarray(patches, jnp.float32), jnp.array((h, w))).keys
    np.testing.assert_allclose(keys, stored["features"], atol=2e-4)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"layer": 3}, ["layer is 3", "2 blocks"]),
        ({"layer": 0}, ["layer is 0"]),
        ({"layer": -3}, ["layer is -3"]),
        ({"pos_interpolation": "linear"}, ["linear", "dino", "hf"]),
        ({"attention_chunk": 0}, ["attention_chunk"]),
        ({"dtype": "float16"}, ["float16", "float32", "bfloat16"]),
    ],
)
def test_options_out_of_range(model, options, words):
    with pytest.raises(SpecjaxError) as caught:
        model(some_patches(6), (2, 3), **options)
    assert all(word in str(caught.value) for word in words)


def test_bfloat16_rounds_what_is_multiplied_alone(model):
    patches = some_patches(15)
    exact = naive_vit(model, patches, (3, 5))[-1][0]
    rounded = jax.jit(lambda patches: model(patches, (3, 5), dtype="bfloat16").keys)(patches)
    assert rounded.dtype == jnp.float32
    error = np.abs(rounded - exact).max() / exact.std()
    assert 1e-4 < error < 0.05
    # Outputs are sums in float32, not rounded themselves.
    assert not np.array_equal(rounded, rounded.astype(jnp.bfloat16).astype(jnp.float32))


def test_patches_that_do_not_fit(model):
    with pytest.raises(SpecjaxError, match="patch size 4"):
        model(jnp.zeros((6, 192)), (2, 3))
    for grid in ((3, 3), (0, 6), (np.int64(3), np.int64(3)), np.array([3, 3])):
        with pytest.raises(SpecjaxError, match="does not fit 6 patches"):
            model(some_patches(6), grid)
