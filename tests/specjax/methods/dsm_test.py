"""DSM: constructed answers, the graph of colors beside a naive one, padding."""

import jax
import jax.numpy as jnp
import numpy as np

from specjax.methods.dsm import dsm_object
from specjax.methods.dsm_graph import color_graph
from specjax.methods.dsm_segments import dsm_segments

GRID, TOKENS = (6, 7), 42


def scene():
    """Two rectangles of different features; one of them is in two pieces that touch in a corner."""
    kinds = np.zeros(GRID, int)
    kinds[1:3, 1:3], kinds[3, 3], kinds[4, 5] = 1, 1, 2
    noise = np.random.default_rng(0).normal(size=(TOKENS, 8))
    return kinds.ravel(), (np.eye(8)[kinds.ravel()] + 0.02 * noise + 0.1).astype(np.float32)


def test_the_largest_region_is_8_connected():
    kinds, features = scene()
    found = dsm_object(jnp.asarray(features), GRID)
    foreground = np.asarray(found.foreground)
    assert foreground[kinds == 1].all() and not foreground[kinds == 0].any()
    np.testing.assert_array_equal(found.mask, kinds == 1)
    assert found.box.tolist() == [1, 1, 4, 4]
    assert (np.asarray(found.vector) > 0).mean() <= 0.5


def test_no_foreground_is_the_whole_image():
    """One token: its vector is 0."""
    found = dsm_object(jnp.ones((3, 2)), np.array([1, 1], np.int32))
    assert found.foreground.tolist() == [False] * 3 and found.mask.tolist() == [True, False, False]


def test_segments_and_the_background():
    kinds, features = scene()
    key = jax.random.key(0)
    found = dsm_segments(jnp.asarray(features), GRID, key, K=4, num_segments=3)
    np.testing.assert_array_equal(found.labels, kinds)
    assert found.vectors.shape == (3, TOKENS)


def test_the_largest_gap_gives_the_number_of_segments():
    found = dsm_segments(jnp.asarray(scene()[1]), GRID, jax.random.key(0), K=4, num_segments=None)
    gaps = np.diff(found.eigenvalues)[1:]
    assert found.labels.max() + 1 == 2 + gaps.argmax()


def test_padding_changes_nothing():
    _, features = scene()
    more = jnp.asarray(np.concatenate([features, np.ones((9, 8), np.float32)]))
    colors = jnp.asarray(np.random.default_rng(1).random((TOKENS, 3)), jnp.float32)
    grid, key = np.array(GRID, np.int32), jax.random.key(0)
    more_colors = jnp.pad(colors, ((0, 9), (0, 0)), constant_values=0.5)
    for few, many in (
        (dsm_object(jnp.asarray(features), grid), dsm_object(more, grid)),
        (
            dsm_segments(jnp.asarray(features), grid, key, colors=colors),
            dsm_segments(more, grid, key, colors=more_colors),
        ),
    ):
        for a, b in zip(few, many, strict=True):
            if a.shape[-1:] == (TOKENS,):
                assert not np.asarray(b)[..., TOKENS:].any()
                b = b[..., :TOKENS]
            np.testing.assert_allclose(a, b, atol=1e-5)


def test_color_graph():
    """Counted pair by pair."""
    colors = np.random.default_rng(2).random((TOKENS, 3)).astype(np.float32)
    expected = np.zeros((TOKENS, TOKENS))
    for count, weight in ((20, 2.0), (10, 0.1)):
        points = [
            [*colors[i * 7 + j], weight * j / 6, weight * i / 5] for i in range(6) for j in range(7)
        ]
        for i, point in enumerate(points):
            distances = [sum((a - b) ** 2 for a, b in zip(point, o, strict=True)) for o in points]
            for j in np.argsort(distances)[:count]:
                expected[i, j] += 1
                expected[j, i] += 1
    np.testing.assert_array_equal(jax.jit(color_graph)(colors, GRID), expected)


def test_colors_change_the_graph():
    _, features = scene()
    colors = jnp.asarray(np.random.default_rng(3).random((TOKENS, 3)), jnp.float32)
    plain = dsm_object(jnp.asarray(features), GRID)
    none = dsm_object(jnp.asarray(features), GRID, colors=colors, color_weight=0.0)
    some = dsm_object(jnp.asarray(features), GRID, colors=colors)
    np.testing.assert_allclose(plain.eigenvalues, none.eigenvalues, atol=1e-6)
    assert abs(plain.eigenvalues[1] - some.eigenvalues[1]) > 1e-3
