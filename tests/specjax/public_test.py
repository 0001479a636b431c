"""The public list: which names are on it, and that its functions work as documented.

Each array function takes one image, with its shapes in the signature, and gives the same result
plainly, under `jax.jit` and under `jax.vmap`. Plain calls with the same shapes compile once.
"""

import functools
import inspect
import types
import typing

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
from flax import nnx

import specjax
from experiments.benchmarking.clock import Compilations
from specjax import Config, Proposals, ViT, ViTConfig
from specjax.spectral import Eigenpairs

compilations = Compilations()
ROWS, COLUMNS, TOKENS, CHANNELS = 4, 5, 24, 8
GRID = np.array([ROWS, COLUMNS], np.int32)
CONFIG = Config(M=6, N=4, bins=5, solver="eigh", restarts=2)
RNG = np.random.default_rng(0)

FEATURES = RNG.normal(size=(TOKENS, CHANNELS)).astype(np.float32)
MASK = np.arange(TOKENS) % 5 < 2
MASK[ROWS * COLUMNS :] = False
LABELS = np.where(MASK, 1 + np.arange(TOKENS) % 2, 0).astype(np.int32)
WEIGHTS = FEATURES @ FEATURES.T
WEIGHTS = np.abs(WEIGHTS + WEIGHTS.T)
KEY = jax.random.key(0)
MODEL = ViT(
    ViTConfig(hidden_size=8, num_layers=1, num_heads=2, mlp_size=8, patch_size=2, image_size=4),
    rngs=nnx.Rngs(0),
)
PATCHES = RNG.normal(size=(TOKENS, 12)).astype(np.float32)
PAIRS = Eigenpairs(
    np.array([0, 0.1, 0.2, 0.3, 0.4], np.float32),
    RNG.normal(size=(5, TOKENS + 1)).astype(np.float32),
)
REST = {"num_instances": 2, "config": CONFIG, "max_instances": 4}

# Of each array function: arrays by name, and what is static. Under `vmap` the arrays of one image
# are mapped; a model and a key are not.
ARRAYS = {
    "affinity_matrix": ({"features": FEATURES}, {"metric": "boc"}),
    "as_grid": ({"flat": FEATURES[:, 0]}, {"grid": (ROWS, COLUMNS)}),
    "bipartition": ({"features": FEATURES, "grid": GRID}, {"solver": "eigh"}),
    "choose": (
        {"proposals": Proposals(np.stack([MASK, ~MASK]), np.array([0.9, 0.8], np.float32))},
        {"max_instances": 3},
    ),
    "channel_deviation": ({"features": FEATURES}, {}),
    "channel_entropy": ({"features": FEATURES}, {"bins": 5}),
    "deviation_channel_reduction": ({"features": FEATURES}, {"keep": 3}),
    "dsm_object": ({"features": FEATURES, "grid": GRID}, {"solver": "eigh"}),
    "dsm_segments": ({"features": FEATURES, "grid": GRID, "key": KEY}, {"solver": "eigh"}),
    "extract_features": ({"model": MODEL, "patches": PATCHES, "grid": GRID}, {}),
    "f_score": ({"prediction": MASK, "truth": LABELS > 1, "counted": ~MASK | MASK}, {}),
    "instance_eigenpairs": (
        {"reduced": FEATURES, "foreground": MASK, "grid": GRID},
        {"config": CONFIG},
    ),
    "instance_graph": ({"features": FEATURES, "foreground": MASK, "grid": GRID}, {}),
    "instance_scores": (
        {"labels": LABELS, "truth": LABELS[::-1], "counted": ~MASK | MASK},
        {"max_instances": 3},
    ),
    "kmeans": (
        {"points": FEATURES[:, :2], "key": KEY, "mask": MASK},
        {"num_clusters": 2, "max_clusters": 3},
    ),
    "label_instances": ({"pairs": PAIRS, "foreground": MASK, "grid": GRID, "key": KEY}, REST),
    "maskcut": ({"features": FEATURES, "grid": GRID}, {"solver": "eigh"}),
    "noise_channel_reduction": ({"features": FEATURES}, {"keep": 3, "bins": 5}),
    "normalize_tokens": ({"features": FEATURES}, {}),
    "postprocess": ({"mask": MASK, "grid": GRID}, {}),
    "propose": ({"features": FEATURES[None], "grid": GRID}, {"max_proposals": 3}),
    "reduce_features": (
        {"features": FEATURES, "foreground": MASK, "grid": GRID},
        {"config": CONFIG},
    ),
    "segment": ({"features": FEATURES, "grid": GRID, "key": KEY}, REST),
    "segment_foreground": ({"features": FEATURES, "grid": GRID}, {"config": CONFIG}),
    "similarity_variance_ratio": (
        {"similarities": WEIGHTS, "instances": LABELS},
        {"max_instances": 3},
    ),
    "smallest_eigenpairs": ({"weights": WEIGHTS}, {"count": 3, "solver": "eigh"}),
    "tokencut": ({"features": FEATURES, "grid": GRID}, {"solver": "eigh"}),
    "valid_tokens": ({"grid": GRID}, {"tokens": TOKENS}),
}
# Functions of numpy arrays and files: they run before a program and after it, never inside.
ON_THE_HOST = {
    "channel_count",
    "cut_patches",
    "decode",
    "load_checkpoint",
    "pad_tokens",
    "random_checkpoint",
    "refine",
    "resize_short_side",
    "save_checkpoint",
    "to_pixels",
}
SHARED = {"model", "key"}


def public_functions():
    return {
        name
        for name in specjax.__all__
        if callable(getattr(specjax, name)) and not inspect.isclass(getattr(specjax, name))
    }


def test_the_list_is_what_the_module_holds():
    assert 40 <= len(specjax.__all__) <= 58
    assert len(set(specjax.__all__)) == len(specjax.__all__)
    held = {
        name
        for name, value in vars(specjax).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    }
    assert held == set(specjax.__all__)


def test_every_function_has_a_place_in_this_test():
    assert public_functions() == ARRAYS.keys() | ON_THE_HOST
    assert not ARRAYS.keys() & ON_THE_HOST


@pytest.mark.parametrize("name", specjax.__all__)
def test_everything_is_documented(name):
    value = getattr(specjax, name)
    if inspect.isclass(value) or callable(value):
        assert inspect.getdoc(value), name
        if name in ARRAYS | dict.fromkeys(ON_THE_HOST):
            assert inspect.signature(value).return_annotation is not inspect.Signature.empty
    if inspect.isclass(value):
        for method, function in vars(value).items():
            if callable(function) and not method.startswith("_"):
                assert inspect.getdoc(function), f"{name}.{method}"


def has_shape(annotation):
    """Whether it is an array of jaxtyping, or a tuple or union of such (a number may be in it)."""
    if inspect.isclass(annotation) and issubclass(annotation, jaxtyping.AbstractArray):
        return True
    if isinstance(annotation, type) and hasattr(annotation, "_fields"):  # a named tuple
        return all(has_shape(field) for field in typing.get_type_hints(annotation).values())
    return any(has_shape(part) for part in typing.get_args(annotation))


def test_has_shape():
    assert has_shape(jaxtyping.Float[jax.Array, "n"])
    assert has_shape(jaxtyping.Float[jax.Array | np.ndarray, "n"])
    assert has_shape(int | jaxtyping.Int[jax.Array, ""])
    assert has_shape(specjax.Foreground)
    for nothing in (jax.Array, np.ndarray, int, typing.Any, tuple[int, jax.Array], Config):
        assert not has_shape(nothing)


def parameters_of(name):
    """Annotations of the parameters, and of the result."""
    signature = inspect.signature(getattr(specjax, name))
    parameters = {key: value.annotation for key, value in signature.parameters.items()}
    return parameters, signature.return_annotation


@pytest.mark.parametrize("name", ARRAYS)
def test_shapes_are_in_the_signature(name):
    annotations, result = parameters_of(name)
    for parameter in ARRAYS[name][0].keys() - {"model"}:
        assert has_shape(annotations[parameter]), parameter
    assert has_shape(result)


@pytest.mark.parametrize("name", sorted(ON_THE_HOST))
def test_no_array_is_without_a_shape(name):
    annotations, result = parameters_of(name)
    for annotation in (*annotations.values(), result):
        for part in (annotation, *typing.get_args(annotation)):
            assert part not in (np.ndarray, jax.Array, typing.Any), name


def test_tests_check_shapes():
    with pytest.raises(jaxtyping.TypeCheckError, match="channel_entropy"):
        specjax.channel_entropy(FEATURES[0])


def same(found, expected):
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert a.shape == b.shape and a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ARRAYS)
def test_under_jit_and_vmap(name):
    arrays, static = ARRAYS[name]
    mapped = {key: jax.tree.map(jnp.asarray, arrays[key]) for key in arrays.keys() - SHARED}
    common = {key: arrays[key] for key in arrays.keys() & SHARED}
    function = functools.partial(getattr(specjax, name), **static)

    def call(mapped, common):
        found = function(**mapped, **common)
        # The sign of an eigenvector is arbitrary.
        is_pairs = isinstance(found, Eigenpairs)
        return found._replace(vectors=jnp.abs(found.vectors)) if is_pairs else found

    expected = call(mapped, common)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(expected))

    def other(leaf):
        return 2 * leaf if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

    second = jax.tree.map(other, mapped)
    before = compilations.count
    of_second = call(second, common)
    assert compilations.count == before, "a call with the same shapes compiles anew"
    both = jax.tree.map(lambda *leaves: jnp.stack(leaves), mapped, second)
    found = jax.jit(jax.vmap(call, in_axes=(0, None)))(both, common)
    same(jax.tree.map(lambda leaf: leaf[0], found), expected)
    same(jax.tree.map(lambda leaf: leaf[1], found), of_second)
