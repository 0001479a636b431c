import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from specjax import SpecjaxError
from specjax.models.config import FAMILIES, Resampling
from specjax.models.positions import (
    interpolate_positions,
    resampling_named,
    rotary_angles,
    sine_cosine_positions,
)
from tests.support.naive_vit import naive_positions

RULES = {"dino": Resampling(offset=0.1), "hf": Resampling()}
GRIDS = [(7, 7), (14, 14), (9, 17), (1, 3), (3, 1), (21, 14)]


@functools.partial(jax.jit, static_argnames=("tokens", "resampling"))
def resample(embeddings, tokens, grid, *, resampling=RULES["dino"]):
    return interpolate_positions(embeddings, tokens, grid, resampling=resampling)


@pytest.mark.parametrize("interpolation", RULES)
@pytest.mark.parametrize("grid", GRIDS)
def test_positions_agree_with_a_naive_loop(grid, interpolation):
    embeddings = np.random.default_rng(3).normal(size=(49, 5)).astype(np.float32)
    expected = naive_positions(embeddings.astype(np.float64), *grid, interpolation)
    actual = resample(
        jnp.asarray(embeddings), 300, jnp.array(grid), resampling=RULES[interpolation]
    )
    np.testing.assert_allclose(actual[: len(expected)], expected, atol=2e-5)
    assert np.isfinite(actual).all()


@pytest.mark.parametrize("grid", GRIDS)
def test_antialiased_positions_agree_with_pillow(grid):
    embeddings = np.random.default_rng(3).normal(size=(49, 5)).astype(np.float32)
    expected = np.stack(
        [
            np.asarray(
                Image.fromarray(channel.reshape(7, 7)).resize(grid[::-1], Image.Resampling.BICUBIC)
            ).ravel()
            for channel in embeddings.T
        ],
        axis=1,
    )
    rule = Resampling(antialias=True)
    actual = resample(jnp.asarray(embeddings), 300, jnp.array(grid), resampling=rule)
    np.testing.assert_allclose(actual[: len(expected)], expected, atol=2e-5)
    assert np.isfinite(actual).all()


def test_positions_are_unchanged_only_at_the_stored_size():
    embeddings = jnp.asarray(np.random.default_rng(4).normal(size=(49, 5)), jnp.float32)
    np.testing.assert_array_equal(resample(embeddings, 49, (7, 7)), embeddings)
    other = resample(embeddings, 49, (7, 6))
    hf = resample(embeddings, 49, (7, 6), resampling=RULES["hf"])
    assert np.abs(other - hf)[:42].max() > 1e-3


def test_each_family_has_its_rule():
    found = {name: resampling_named("auto", family=name) for name in FAMILIES}
    assert found["vit"] == found["dinov2"] == Resampling(offset=0.1)
    assert found["vit_mae"] == found["moco_v3"] == found["vit_msn"] == Resampling()
    assert found["dinov2_with_registers"] == Resampling(antialias=True)
    assert resampling_named("hf", family="dinov2") == Resampling()
    assert resampling_named("hf", family="dinov2_with_registers") == Resampling(antialias=True)
    for name in FAMILIES:
        assert resampling_named("dino", family=name) == Resampling(offset=0.1)
    with pytest.raises(SpecjaxError, match="auto, dino, hf"):
        resampling_named("linear", family="vit")


@pytest.mark.parametrize("columns_first", [True, False])
def test_sine_cosine_positions_by_a_loop(columns_first):
    made = sine_cosine_positions(3, 8, columns_first=columns_first)
    for row in range(3):
        for column in range(3):
            first, second = (column, row) if columns_first else (row, column)
            expected = [
                wave(place / 10000 ** (i / 2))
                for place in (first, second)
                for wave in (np.sin, np.cos)
                for i in range(2)
            ]
            np.testing.assert_allclose(made[3 * row + column], expected, atol=1e-6)


def test_rotary_angles_by_a_loop():
    angles = rotary_angles(8, (2, 3), head_size=8, theta=100.0)
    assert angles.shape == (8, 8)
    for row in range(2):
        for column in range(3):
            places = (2 * (row + 0.5) / 2 - 1, 2 * (column + 0.5) / 3 - 1)
            once = [2 * np.pi * place / 100 ** (i / 2) for place in places for i in range(2)]
            np.testing.assert_allclose(angles[3 * row + column], once * 2, atol=1e-5)
