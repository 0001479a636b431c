"""Beside the authors' code, which ran on the same features in float64 (`data/make.py`)."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from specjax.methods.dsm import dsm_object
from specjax.methods.dsm_segments import dsm_segments
from specjax.methods.maskcut import maskcut
from specjax.methods.tokencut import tokencut
from tests.specjax.methods.data import photographs
from tests.specjax.methods.data.sizes import COLOR_WEIGHT, DSM_OFFSET, GRIDS, SEGMENTS, VECTORS

DATA = pathlib.Path(__file__).parent / "data"
SQUARE = [number for number, (rows, columns) in enumerate(GRIDS) if rows == columns]
# A repeated second eigenvalue has an arbitrary vector.
GAP = 1e-6


@pytest.fixture(scope="module")
def authors():
    with np.load(DATA / "authors.npz") as stored:
        return dict(stored)


def of_scene(authors, number):
    """Features, padded, and the grid; and the results of the authors' code."""
    found = {
        key.partition("/")[2]: value
        for key, value in authors.items()
        if key.startswith(f"{number}/")
    }
    features = found["features"].astype(np.float32)
    padded = np.pad(features, ((0, 256 - len(features)), (0, 0)))
    assert tuple(found["grid"]) == GRIDS[number]
    return jnp.asarray(padded), np.asarray(found["grid"], np.int32), found


def agreement(ours, theirs):
    theirs = np.asarray(theirs).ravel()
    return (np.asarray(ours)[: theirs.size] == theirs).mean()


@pytest.mark.parametrize("number", range(len(GRIDS)))
def test_tokencut(authors, number):
    features, grid, theirs = of_scene(authors, number)
    assert np.diff(theirs["tokencut_values"]) > GAP
    ours = tokencut(features, grid)
    np.testing.assert_allclose(ours.eigenvalues[1:], theirs["tokencut_values"], atol=2e-6)
    assert agreement(ours.bipartition, theirs["tokencut_side"]) >= 0.99
    # Several tokens may have the largest value: theirs is the first by rounding.
    assert theirs["tokencut_mask"].ravel()[ours.seed]
    assert agreement(ours.mask, theirs["tokencut_mask"]) >= 0.99
    np.testing.assert_array_equal(ours.box, theirs["tokencut_box"])


@pytest.mark.parametrize("number", SQUARE)
def test_maskcut(authors, number):
    features, grid, theirs = of_scene(authors, number)
    ours = maskcut(features, grid)
    values = theirs["maskcut_values"]
    # Eigenvalues beyond the rank of a graph are rounding errors.
    np.testing.assert_allclose(ours.eigenvalues[:, 1:], values, atol=4e-6)
    for mask, expected, pair in zip(ours.masks, theirs["maskcut_masks"], values, strict=True):
        assert np.diff(pair) > GAP
        assert agreement(mask, expected) >= 0.99


@pytest.mark.parametrize("with_colors", [False, True])
@pytest.mark.parametrize("number", range(len(GRIDS)))
def test_dsm(authors, number, with_colors):
    features, grid, theirs = of_scene(authors, number)
    features = features + DSM_OFFSET
    name, options, value_error, vector_error = "dsm", {}, 1e-5, 2e-3
    n = len(theirs["features"])
    if with_colors:
        # Colors of 8 bits have neighbours at equal distance: which of them count may depend on
        # rounding, and so on the version of JAX.
        value_error, vector_error = 5e-4, 5e-2
        colors = theirs["image"].reshape(n, 3).astype(np.float32) / 255
        colors = jnp.asarray(np.pad(colors, ((0, 256 - n), (0, 0))))
        name, options = "color", {"colors": colors, "color_weight": COLOR_WEIGHT}
    ours = dsm_segments(
        features, grid, jax.random.key(0), K=VECTORS, num_segments=SEGMENTS, **options
    )
    np.testing.assert_allclose(ours.eigenvalues, theirs[f"{name}_values"], atol=value_error)
    # The same sign rule.
    vectors = theirs[f"{name}_vectors"][1:]
    largest = np.abs(vectors).max()
    np.testing.assert_allclose(ours.vectors[:, :n], vectors, atol=vector_error * largest)
    one = dsm_object(features, grid, **options)
    np.testing.assert_array_equal(one.foreground[:n], vectors[0] > 0)
    np.testing.assert_array_equal(one.box, theirs[f"{name}_box"])
    assert_same_segments(vectors, np.asarray(ours.labels)[:n], theirs[f"{name}_segments"].ravel())


@pytest.mark.parametrize("number", range(0, len(photographs.NAMES), 8))
def test_dsm_on_photographs(shared_data, shared_checkpoints, number):
    with np.load(DATA / "photographs.npz") as stored:
        theirs = {key: value[number] for key, value in stored.items()}
    names = photographs.NAMES[number : number + 1]
    ((features, small),) = photographs.read(shared_data.parent, names)
    colors = jnp.asarray(small.reshape(-1, 3).astype(np.float32) / 255)
    # Colors of 8 bits have many neighbours at equal distance: which of them count is arbitrary.
    for name, options, atol in (("dsm", {}, 1e-6), ("color", {"colors": colors}, 1e-4)):
        assert np.diff(theirs[f"{name}_values"])[1] > GAP
        ours = dsm_segments(features, photographs.GRID, jax.random.key(0), **options)
        np.testing.assert_allclose(ours.eigenvalues, theirs[f"{name}_values"], atol=atol)
        one = dsm_object(features, photographs.GRID, **options)
        foreground = np.unpackbits(theirs[f"{name}_foreground"])[: len(features)]
        assert agreement(one.foreground, foreground) >= 0.99
        np.testing.assert_array_equal(one.box, theirs[f"{name}_box"])
        segments = theirs[f"{name}_segments"].ravel()
        assert_same_segments(np.asarray(ours.vectors), np.asarray(ours.labels), segments)


def assert_same_segments(vectors, ours, theirs):
    """Both k-means have several starts; neither is sure to find the best partition."""
    best, expected = (inertia(vectors, each) for each in (ours, theirs))
    assert best <= 1.01 * expected
    if abs(best / expected - 1) < 1e-4:
        overlap = np.zeros((SEGMENTS, SEGMENTS), int)
        np.add.at(overlap, (ours, theirs), 1)
        assert overlap.max(axis=1).sum() >= 0.99 * len(ours)
        assert overlap[0, 0] == overlap[0].max()


def inertia(vectors, labels):
    """Sum of squared distances to the mean of each cluster."""
    parts = [vectors[:, labels == label] for label in np.unique(labels)]
    return sum(((part - part.mean(axis=1, keepdims=True)) ** 2).sum() for part in parts)
