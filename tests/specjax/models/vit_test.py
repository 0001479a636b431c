import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from specjax.errors import SpecjaxError
from specjax.models.checkpoints.loading import load_checkpoint, random_checkpoint
from specjax.models.checkpoints.skeleton import leaf_shapes
from specjax.models.vit import VIT_S16, ViTConfig, interpolate_positions

TINY = ViTConfig(
    hidden_size=12, num_layers=2, num_heads=3, mlp_size=20, patch_size=4, image_size=20
)


@pytest.fixture(scope="module")
def model():
    return random_checkpoint(TINY, seed=1).model


def some_patches(tokens, config=TINY, seed=0):
    values = np.random.default_rng(seed).normal(size=(tokens, config.patch_size**2 * 3))
    return jnp.asarray(values, jnp.float32)


def cubic(distance):
    distance = abs(distance)
    if distance <= 1:
        return 1.25 * distance**3 - 2.25 * distance**2 + 1
    if distance < 2:
        return -0.75 * (distance**3 - 5 * distance**2 + 8 * distance - 4)
    return 0.0


def naive_positions(embeddings, height, width, interpolation):
    side = math.isqrt(len(embeddings))
    if interpolation == "dino" and height == width == side:
        return embeddings
    extra = {"dino": 0.1, "hf": 0.0}[interpolation]
    square = embeddings.reshape(side, side, -1)
    result = np.zeros((height, width, square.shape[-1]))
    for i in range(height):
        for j in range(width):
            y = (i + 0.5) * side / (height + extra) - 0.5
            x = (j + 0.5) * side / (width + extra) - 0.5
            for r in range(math.floor(y) - 1, math.floor(y) + 3):
                for c in range(math.floor(x) - 1, math.floor(x) + 3):
                    sample = square[min(max(r, 0), side - 1), min(max(c, 0), side - 1)]
                    result[i, j] += cubic(y - r) * cubic(x - c) * sample
    return result.reshape(height * width, -1)


def naive_vit(model, patches, grid, interpolation="dino"):
    """Keys, queries, values and tokens of every block, in float64 numpy."""
    config = model.config
    flat = nnx.to_flat_state(nnx.state(model, nnx.Param))
    p = {".".join(map(str, path)): np.asarray(leaf[...], np.float64) for path, leaf in flat}

    def linear(x, name):
        return x @ p[f"{name}.kernel"] + p.get(f"{name}.bias", 0.0)

    def norm(x, name):
        centred = x - x.mean(-1, keepdims=True)
        deviation = np.sqrt((centred**2).mean(-1, keepdims=True) + config.layer_norm_eps)
        return centred / deviation * p[f"{name}.scale"] + p[f"{name}.bias"]

    positions = p["position_embeddings"]
    x = linear(np.asarray(patches, np.float64), "patch_embedding")
    x = x + naive_positions(positions[1:], *grid, interpolation)
    x = np.concatenate([p["cls_token"] + positions[:1], x])
    size = config.hidden_size // config.num_heads
    erf = np.vectorize(math.erf)
    outputs = []
    for block in range(config.num_layers):
        name = f"blocks.{block}"
        normed = norm(x, f"{name}.norm1")
        q, k, v = (linear(normed, f"{name}.{part}") for part in ("query", "key", "value"))
        attended = np.zeros_like(x)
        for head in range(config.num_heads):
            part = slice(head * size, (head + 1) * size)
            weights = np.exp(q[:, part] @ k[:, part].T / math.sqrt(size))
            attended[:, part] = weights / weights.sum(-1, keepdims=True) @ v[:, part]
        x = x + linear(attended, f"{name}.projection")
        hidden = linear(norm(x, f"{name}.norm2"), f"{name}.mlp_in")
        x = x + linear(0.5 * hidden * (1 + erf(hidden / math.sqrt(2))), f"{name}.mlp_out")
        last = block == config.num_layers - 1
        final = norm(x, "norm") if last else x
        outputs.append([k[1:], q[1:], v[1:], final[1:], final[0]])
    return outputs


@functools.partial(nnx.jit, static_argnames=("layer", "interpolation", "attention_chunk"))
def run(model, patches, grid, layer=-1, interpolation="dino", attention_chunk=256):
    """The model under jit with a traced grid: one operation at a time would be slow to compile."""
    return model(
        patches,
        grid,
        layer=layer,
        interpolation=interpolation,
        attention_chunk=attention_chunk,
    )


def assert_close(outputs, expected, tokens, atol=2e-5):
    *ours, our_cls = outputs
    *theirs, their_cls = expected
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one[:tokens], other[:tokens], atol=atol)
    np.testing.assert_allclose(our_cls, their_cls, atol=atol)


@pytest.mark.parametrize("interpolation", ["dino", "hf"])
@pytest.mark.parametrize("grid", [(5, 5), (3, 7), (1, 4)])
def test_agrees_with_a_naive_transformer(model, grid, interpolation):
    patches, tokens = some_patches(25), grid[0] * grid[1]
    expected = naive_vit(model, patches[:tokens], grid, interpolation)
    outputs = run(model, patches, jnp.array(grid), interpolation=interpolation)
    assert_close(outputs, expected[-1], tokens)


@pytest.mark.parametrize("layer", [0, -2])
def test_an_earlier_block_by_its_number(model, layer):
    expected = naive_vit(model, some_patches(21), (3, 7))
    outputs = run(model, some_patches(25), jnp.array((3, 7)), layer=layer)
    assert_close(outputs, expected[layer], 21)


def test_every_block_in_one_pass(model):
    expected = naive_vit(model, some_patches(21), (3, 7))
    every = jax.jit(lambda patches, grid: model.every_block(patches, grid, attention_chunk=256))
    blocks = every(some_patches(25), jnp.array((3, 7)))
    assert len(blocks) == TINY.num_layers
    for outputs, theirs in zip(blocks, expected, strict=True):
        assert_close(outputs, theirs, 21)


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


def test_features_differ_between_images_and_tokens(model):
    keys, others = (run(model, some_patches(25, seed=i), jnp.array((5, 5))).keys for i in (0, 5))
    assert np.ptp(keys, axis=0).min() > 0.1
    assert np.abs(keys - others).max() > 0.1


def test_gradients_are_finite(model):
    def total(patches):
        return model(patches, (2, 3)).tokens[:6].sum()

    gradient = jax.jit(jax.grad(total))(some_patches(9))
    assert np.isfinite(gradient).all()
    assert np.abs(gradient[:6]).max() > 0
    np.testing.assert_array_equal(gradient[6:], 0)


resample = jax.jit(interpolate_positions, static_argnames=("tokens", "interpolation"))


@pytest.mark.parametrize("interpolation", ["dino", "hf"])
@pytest.mark.parametrize("grid", [(7, 7), (14, 14), (9, 17), (1, 3), (3, 1), (21, 14)])
def test_positions_agree_with_a_naive_loop(grid, interpolation):
    embeddings = np.random.default_rng(3).normal(size=(49, 5)).astype(np.float32)
    expected = naive_positions(embeddings.astype(np.float64), *grid, interpolation)
    ours = resample(jnp.asarray(embeddings), 300, jnp.array(grid), interpolation=interpolation)
    np.testing.assert_allclose(ours[: len(expected)], expected, atol=2e-5)
    assert np.isfinite(ours).all()


def test_dino_positions_are_unchanged_only_at_the_stored_size():
    embeddings = jnp.asarray(np.random.default_rng(4).normal(size=(49, 5)), jnp.float32)
    np.testing.assert_array_equal(resample(embeddings, 49, (7, 7)), embeddings)
    other = resample(embeddings, 49, (7, 6))
    hf = resample(embeddings, 49, (7, 6), interpolation="hf")
    assert np.abs(other - hf)[:42].max() > 1e-3


@pytest.mark.parametrize(
    ("changes", "count"),
    [
        ({}, 21_665_664),
        ({"patch_size": 8}, 21_670_272),
        ({"hidden_size": 768, "num_heads": 12, "mlp_size": 3072}, 85_798_656),
        ({"hidden_size": 768, "num_heads": 12, "mlp_size": 3072, "patch_size": 8}, 85_807_872),
    ],
    ids=["S/16", "S/8", "B/16", "B/8"],
)
def test_parameter_counts_of_published_models(changes, count):
    shapes = leaf_shapes(dataclasses.replace(VIT_S16, **changes))
    assert sum(map(math.prod, shapes.values())) == count


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
        ({"layer": 2}, ["layer 2", "2 blocks"]),
        ({"layer": -3}, ["layer -3"]),
        ({"interpolation": "linear"}, ["linear", "dino", "hf"]),
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
    rounded = model(patches, (3, 5), dtype="bfloat16").keys
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


GOOD = {
    "model_type": "vit",
    "hidden_size": 384,
    "num_attention_heads": 6,
    "intermediate_size": 1536,
}


def test_huggingface_config():
    assert ViTConfig.from_huggingface(GOOD) == VIT_S16
    full = ViTConfig.from_huggingface(
        {
            **GOOD,
            "num_hidden_layers": 3,
            "patch_size": [8, 8],
            "image_size": 256,
            "layer_norm_eps": 1e-6,
            "qkv_bias": False,
            "unrelated": {},
        }
    )
    assert full == ViTConfig(384, 3, 6, 1536, 8, 256, 1e-6, False)
    assert full.grid_size == 32


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model_type": "dinov2"}, ["model_type", "dinov2"]),
        ({"model_type": None}, ["model_type"]),
        ({"hidden_act": "gelu_new"}, ["hidden_act", "gelu_new"]),
        ({"num_channels": 1}, ["num_channels"]),
        ({"hidden_size": "384"}, ["hidden_size"]),
        ({"hidden_size": 385}, ["multiple"]),
        ({"hidden_size": 10**12}, ["hidden_size"]),
        ({"num_hidden_layers": 0}, ["num_layers"]),
        ({"num_hidden_layers": True}, ["num_layers"]),
        ({"patch_size": [16, 8]}, ["patch_size"]),
        ({"patch_size": 230}, ["image_size"]),
        ({"layer_norm_eps": "small"}, ["layer_norm_eps"]),
        ({"layer_norm_eps": math.nan}, ["layer_norm_eps"]),
        ({"layer_norm_eps": -1.0}, ["layer_norm_eps"]),
        ({"qkv_bias": 1}, ["qkv_bias"]),
        ({"head_dim": 32}, ["head_dim"]),
    ],
)
def test_configs_that_are_refused(changes, words):
    with pytest.raises(SpecjaxError) as caught:
        ViTConfig.from_huggingface({**GOOD, **changes}, source="some/config.json")
    message = str(caught.value)
    assert message.startswith("some/config.json: ") and "\n" not in message
    assert all(word in message for word in words)
