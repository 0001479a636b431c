"""The composed stages against the same steps in numpy, and in degenerate cases."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.preprocessing
from flax import nnx

from specjax import PAPER, REFERENCE, Config, SpecjaxError, ViT, ViTConfig, pipeline
from tests.support import oracles

GRID = (12, 14)
TOKENS, PADDED, CHANNELS = 168, 180, 24
PAPERS = Config(M=12, N=6, solver="eigh")
CONFIGS = {
    "paper": PAPERS,
    "reference": Config(M=12, N=6, protocol=REFERENCE, solver="krylov"),
}
MOST = 4


def scene(seed=0):
    """Three objects on a ground, and noise: raw features, instance numbers."""
    rng = np.random.default_rng(seed)
    truth = np.zeros(GRID, int)
    truth[2:8, 0:4], truth[2:8, 5:9], truth[2:8, 10:14] = 1, 2, 3
    kinds = rng.normal(size=(4, CHANNELS)) + 2.0 * (np.arange(4) > 0)[:, None]
    features = 1.0 + kinds[truth.ravel()] + 0.3 * rng.normal(size=(TOKENS, CHANNELS))
    return features.astype(np.float32), truth.ravel()


def padded(array, value):
    extra = PADDED - len(array)
    widths = ((0, extra),) + ((0, 0),) * (array.ndim - 1)
    return jnp.asarray(np.pad(array, widths, constant_values=value))


def grid(shape=GRID):
    return jnp.asarray(shape)


def normalised(x):
    return sklearn.preprocessing.normalize(x.astype(np.float64))


def lowest(entropies, keep):
    order = np.argsort(entropies, kind="stable")
    # No two channels are nearly equal, so that rounding cannot change the choice.
    assert entropies[order[keep]] - entropies[order[keep - 1]] > 1e-5
    return order[:keep]


def foreground_by_hand(features, protocol):
    """The foreground stage in numpy: raw and final mask, eigenvalues."""
    if protocol is PAPER:
        reduced = normalised(features[:, lowest(oracles.entropy(features), PAPERS.M)])
    else:
        unit = normalised(features).astype(np.float32)
        entropies = oracles.released_entropy(unit, empty=5.0)
        reduced = unit[:, np.argsort(entropies, kind="stable")[: PAPERS.M]]
    weights = oracles.affinity(reduced, "dot")
    values, vectors = oracles.eigenpairs(weights / weights.max(), 2)
    raw = oracles.orient(vectors[1], break_ties=protocol.break_sign_ties) > 0
    mask = oracles.postprocess(
        raw.reshape(GRID), median_size=protocol.foreground_median, area=protocol.region_area
    )
    return raw, mask.ravel(), values


@pytest.mark.parametrize("name", CONFIGS)
def test_foreground(name):
    config = CONFIGS[name]
    for seed in range(3):
        features, truth = scene(seed)
        raw, mask, values = foreground_by_hand(features, config.protocol)
        result = pipeline.segment_foreground(padded(features, np.nan), grid(), config=config)
        np.testing.assert_allclose(result.eigenvalues, values, rtol=0, atol=1e-5)
        for found, expected in ((result.raw, raw), (result.mask, mask)):
            np.testing.assert_array_equal(found[:TOKENS], expected)
            assert not np.asarray(found)[TOKENS:].any()
        assert ((truth > 0) == raw).mean() > 0.9


def test_padding_changes_no_foreground():
    features, _ = scene()
    config = CONFIGS["reference"]
    long = pipeline.segment_foreground(padded(features, 1e9), grid(), config=config)
    short = pipeline.segment_foreground(jnp.asarray(features), grid(), config=config)
    np.testing.assert_array_equal(long.raw[:TOKENS], short.raw)
    np.testing.assert_array_equal(long.mask[:TOKENS], short.mask)
    np.testing.assert_allclose(long.eigenvalues, short.eigenvalues, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", CONFIGS)
def test_reduction_for_instances(name):
    """Selection on raw features, then normalisation, in both protocols."""
    features, truth = scene()
    unit = normalised(features[:, lowest(oracles.entropy(features), 12)])
    best = np.argsort(-unit.std(0))[:6]
    expected = np.where((truth > 0)[:, None], unit[:, best], 0.0)
    found = pipeline.reduce_features(
        padded(features, np.nan), padded(truth > 0, True), grid(), config=CONFIGS[name]
    )
    np.testing.assert_allclose(found[:TOKENS], expected, rtol=0, atol=1e-6)


def find_instances(features, mask, shape=GRID, count=3, *, config=PAPERS, pad=True):
    """The stages after the foreground, on padded arrays."""
    if pad:
        features, mask = padded(features, 0.0), padded(mask, False)
    mask, rest = jnp.asarray(mask), (grid(shape), jnp.asarray(count), jax.random.key(0))
    reduced = pipeline.reduce_features(jnp.asarray(features), mask, rest[0], config=config)
    pairs = pipeline.instance_eigenpairs(reduced, mask, rest[0], config=config)
    # A count that jit traces, as in a run: it cannot warn.
    label = jax.jit(functools.partial(pipeline.label_instances, config=config, max_instances=MOST))
    return label(pairs, mask, *rest)


def test_padding_changes_no_labels():
    features, truth = scene()
    config = dataclasses.replace(PAPERS, solver="krylov")
    short = find_instances(features, truth > 0, config=config, pad=False)
    long = find_instances(features, truth > 0, config=config)
    np.testing.assert_array_equal(long.labels[:TOKENS], short.labels)
    np.testing.assert_allclose(long.eigenvalues, short.eigenvalues, rtol=0, atol=1e-6)
    np.testing.assert_allclose(long.maps[:, :TOKENS], short.maps, rtol=0, atol=1e-4)
    assert not np.asarray(long.labels)[TOKENS:].any()


@pytest.mark.parametrize("metric", ["boc", "correlation"])
def test_all_solvers_give_the_same_labels(metric):
    features, truth = scene()
    results = [
        find_instances(
            features, truth > 0, config=dataclasses.replace(PAPERS, solver=s, metric=metric)
        )
        for s in ("eigh", "krylov", "auto")
    ]
    for other in results[1:]:
        np.testing.assert_array_equal(other.labels, results[0].labels)
        np.testing.assert_allclose(other.eigenvalues, results[0].eigenvalues, atol=1e-5)
    # Three objects of three kinds are separated, except at their edges.
    ious = oracles.matched_ious(np.asarray(results[0].labels)[:TOKENS], truth)
    assert ious.mean() > 0.5


def test_masks_and_counts_that_a_run_may_meet():
    """A full or empty foreground, fewer tokens than instances, one instance: never a NaN."""
    features, truth = scene()
    few = np.zeros(TOKENS, bool)
    few[[30, 31]] = True
    for mask in (np.zeros(TOKENS, bool), np.ones(TOKENS, bool), few, truth == 1):
        for count in (1, MOST):
            result = find_instances(features, mask, count=count)
            labels = np.asarray(result.labels)[:TOKENS]
            np.testing.assert_array_equal(labels > 0, mask)
            assert labels.max() <= min(count, mask.sum())
            assert np.isfinite(result.maps).all() and np.isfinite(result.eigenvalues).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (2, 2)])
def test_grids_that_a_run_may_meet(shape):
    features, _ = scene()
    features = features[: shape[0] * shape[1]]
    constant = np.ones_like(features)
    for image in (features, constant, 0 * constant):
        result = pipeline.segment_foreground(padded(image, 0.0), grid(shape), config=PAPERS)
        assert np.isfinite(result.eigenvalues).all()
        mask = np.asarray(result.mask)
        assert not mask[len(image) :].any()
        everything = find_instances(image, np.ones(len(image), bool), shape)
        assert np.isfinite(everything.maps).all()
        labels = np.asarray(everything.labels)[: len(image)]
        assert labels.min() == 1 and labels.max() <= 3


def test_the_composition_is_the_stages():
    """`segment` alone, jitted with a traced count, and as stages, gives the same labels."""
    features, _ = scene()
    features, key = padded(features, 0.0), jax.random.key(0)
    mask = pipeline.segment_foreground(features, grid(), config=PAPERS).mask
    expected = find_instances(features, mask, pad=False).labels
    found = pipeline.segment(features, grid(), num_instances=3, key=key, config=PAPERS)
    np.testing.assert_array_equal(found, expected)
    assert len(np.unique(found)) == 4

    @jax.jit
    def of_traced(count):
        return pipeline.segment(
            features, grid(), num_instances=count, key=key, config=PAPERS, max_instances=MOST
        )

    np.testing.assert_array_equal(of_traced(3), expected)
    with pytest.raises(SpecjaxError, match="max_instances is needed") as error:
        pipeline.segment(features, grid(), num_instances=jnp.asarray(3), key=key, config=PAPERS)
    assert error.value.parameter == "max_instances"


def test_fewer_instances_than_asked_for_warn_where_it_is_known():
    features, truth = scene()
    few = np.zeros(TOKENS, bool)
    few[[30, 31]] = True
    key, static = jax.random.key(0), {"config": PAPERS, "max_instances": MOST}
    for mask, count, reason in (
        (truth > 0, 5, "5 clusters were asked for, but the upper bound is 4"),
        (few, 3, "3 clusters were asked for, but the number of tokens is 2"),
    ):
        mask = jnp.asarray(mask)
        reduced = pipeline.reduce_features(jnp.asarray(features), mask, grid(), config=PAPERS)
        pairs = pipeline.instance_eigenpairs(reduced, mask, grid(), config=PAPERS)
        with pytest.warns(UserWarning, match=reason):
            found = pipeline.label_instances(pairs, mask, grid(), count, key, **static)
        assert found.labels.max() <= min(MOST, mask.sum())
        # Under jit the mask is not known, but a Python number of instances is.
        if count > MOST:
            jitted = jax.jit(lambda *a: pipeline.label_instances(*a, grid(), 5, key, **static))
            with pytest.warns(UserWarning, match=reason):
                jitted(pairs, mask)


def test_more_channels_than_there_are():
    features = jnp.ones((PADDED, 20))
    config = Config(M=21, N=20)
    stages = (
        lambda: pipeline.segment_foreground(features, grid(), config=config),
        lambda: pipeline.reduce_features(features, jnp.ones(PADDED, bool), grid(), config=config),
    )
    for stage in stages:
        with pytest.raises(SpecjaxError, match=r"M=21 is out of range.* C=20") as error:
            stage()
        assert error.value.parameter == "M" and "\n" not in str(error.value)


def test_features_without_padding():
    config = ViTConfig(
        hidden_size=12, num_layers=1, num_heads=2, mlp_size=16, patch_size=4, image_size=16
    )
    model = ViT(config, rngs=nnx.Rngs(0))
    patches = jax.random.normal(jax.random.key(0), (15, config.patch_values))
    found = pipeline.extract_features(model, patches, grid((3, 4)))
    assert np.asarray(found)[:12].any(1).all() and not np.asarray(found)[12:].any()
    nan = patches.at[12:].set(jnp.nan)
    np.testing.assert_array_equal(pipeline.extract_features(model, nan, grid((3, 4))), found)


def test_features_of_any_kind_and_layer_alone_and_joined():
    config = ViTConfig(
        hidden_size=12, num_layers=2, num_heads=2, mlp_size=16, patch_size=4, image_size=16
    )
    model = ViT(config, rngs=nnx.Rngs(0))
    patches = jax.random.normal(jax.random.key(0), (15, config.patch_values))
    extract = functools.partial(pipeline.extract_features, model, patches, grid((3, 4)))
    blocks = jax.jit(lambda patches: model.every_block(patches, (3, 4)))(patches)
    for layer, block in ((1, blocks[0]), (-2, blocks[0]), (2, blocks[1]), (-1, blocks[1])):
        for kind in ("keys", "queries", "values", "outputs"):
            found = extract(features=kind, layer=layer)
            np.testing.assert_allclose(found[:12], getattr(block, kind)[:12], atol=1e-5)
    joined = np.asarray(extract(features="values,keys"))
    parts = [np.asarray(part[:12]) for part in (blocks[1].values, blocks[1].keys)]
    expected = np.concatenate([sklearn.preprocessing.normalize(part) for part in parts], axis=1)
    np.testing.assert_allclose(joined[:12], expected, atol=1e-5)
    assert not joined[12:].any()
    for wrong in ("tokens", "keys,keys", "", "keys,"):
        with pytest.raises(SpecjaxError, match="keys, queries, values, outputs") as error:
            extract(features=wrong)
        assert error.value.parameter == "features"
