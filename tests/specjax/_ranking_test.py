import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage

from specjax import _ranking

GRID, TOKENS = (6, 8), 50
COUNT = GRID[0] * GRID[1]
RNG = np.random.default_rng(0)


def random_masks(count, seed=0):
    masks = np.random.default_rng(seed).random((count, TOKENS)) > 0.6
    masks[:, COUNT:] = False
    return masks


def iou(one, other):
    union = (one | other).sum()
    return (one & other).sum() / union if union else 0.0


def test_pairwise_iou():
    masks, others = random_masks(5), random_masks(4, seed=1)
    masks[2] = others[1] = False
    expected = [[iou(one, other) for other in others] for one in masks]
    np.testing.assert_allclose(
        _ranking.pairwise_iou(jnp.asarray(masks), jnp.asarray(others)), expected, atol=1e-6
    )


def test_around():
    masks = random_masks(5)
    found = np.asarray(_ranking.around(jnp.asarray(masks), GRID, reach=2))
    for mask, grown in zip(masks, found, strict=True):
        expected = scipy.ndimage.binary_dilation(
            mask[:COUNT].reshape(GRID), np.ones((3, 3)), iterations=2
        )
        np.testing.assert_array_equal(grown[:COUNT].reshape(GRID), expected)


def test_votes():
    parts, masks = random_masks(9, seed=2), random_masks(6, seed=3)
    masks[:3] = parts[:3]
    clustering = np.array([0, 0, 1, 1, 1, 2, 2, -1, -1])
    found = _ranking.votes_for(
        jnp.asarray(masks), jnp.asarray(parts), jnp.asarray(clustering), clusterings=4
    )
    for mask, votes in zip(masks, found, strict=True):
        best = [
            max((iou(mask, parts[k]) for k in np.flatnonzero(clustering == c)), default=0)
            for c in range(4)
        ]
        assert votes == pytest.approx(np.mean(np.maximum(np.array(best) - 0.5, 0)), abs=1e-6)


def naive_suppression(masks, scores, count, overlap):
    kept = []
    for index in np.argsort(-scores, kind="stable"):
        if scores[index] > 0 and all(iou(masks[index], masks[k]) <= overlap for k in kept):
            kept.append(index)
    return (kept + [-1] * count)[:count]


@pytest.mark.parametrize("overlap", [0.2, 0.5])
def test_suppression(overlap):
    masks = random_masks(30)
    masks[7] = masks[3]
    scores = RNG.random(30).astype(np.float32)
    scores[[4, 5]] = 0
    found = _ranking.suppressed(jnp.asarray(masks), jnp.asarray(scores), count=25, overlap=overlap)
    assert found.tolist() == naive_suppression(masks, scores, 25, overlap)


def test_quantities():
    kinds, channels, pairs = 2, 5, 3
    features = RNG.normal(size=(kinds, TOKENS, channels)).astype(np.float32)
    features /= np.linalg.norm(features, axis=-1, keepdims=True)
    features[:, COUNT:] = 0
    degrees = RNG.random((kinds, TOKENS)).astype(np.float32)
    degrees[:, COUNT:] = 0
    vectors = RNG.normal(size=(kinds, pairs, TOKENS)).astype(np.float32)
    vectors[:, :, COUNT:] = 0
    spectra = _ranking.Spectrum(features, degrees, vectors)
    masks = random_masks(4)
    masks[3] = False
    votes = RNG.random(4).astype(np.float32)
    found = jax.jit(_ranking.quantities)(masks, spectra, votes, jnp.array(GRID))

    border = np.ones(GRID, bool)
    border[1:-1, 1:-1] = False
    for index, mask in enumerate(masks[:3]):
        on = mask[:COUNT]
        grown = scipy.ndimage.binary_dilation(on.reshape(GRID), np.ones((3, 3)), iterations=2)
        ring = grown.ravel() & ~on
        each = []
        for kind in range(kinds):
            f, d, y = features[kind, :COUNT], degrees[kind, :COUNT], vectors[kind, :, :COUNT]
            mean = f[on].sum(axis=0) / np.linalg.norm(f[on].sum(axis=0))
            cosine = f @ mean
            volume = d[on].sum()
            held = sum((vector[on] @ d[on]) ** 2 for vector in y)
            each.append(
                (
                    *(cosine[where].mean() for where in (on, ~on, ring)),
                    held / (volume * (1 - volume / d.sum())),
                )
            )
        names = ("inside", "outside", "ring", "spectral")
        for name, value in zip(names, np.mean(each, axis=0), strict=True):
            assert found[name][index] == pytest.approx(value, rel=1e-4, abs=1e-5), name
        assert found["border"][index] == pytest.approx((on & border.ravel()).sum() / border.sum())
        assert found["area"][index] == pytest.approx(np.log(on.sum() / COUNT), rel=1e-5)
    np.testing.assert_array_equal(found["votes"], votes)
    assert all(np.isfinite(value).all() for value in found.values())


def test_score():
    found = {"one": jnp.array([0.0, 1.0]), "two": jnp.array([3.0, -1.0])}
    weights = {"one": 2.0, "two": -0.5, "constant": 0.1}
    expected = 1 / (1 + np.exp(-np.array([-1.4, 2.6])))
    np.testing.assert_allclose(_ranking.score(found, weights), expected, rtol=1e-6)
