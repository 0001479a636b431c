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
    np.testing.assert_allclose(jax.jit(_ranking.pairwise_iou)(masks, others), expected, atol=1e-6)


def test_around():
    masks = random_masks(5)
    around = jax.jit(_ranking.around, static_argnames="reach")
    found = np.asarray(around(masks, GRID, reach=2))
    for mask, grown in zip(masks, found, strict=True):
        expected = scipy.ndimage.binary_dilation(
            mask[:COUNT].reshape(GRID), np.ones((3, 3)), iterations=2
        )
        np.testing.assert_array_equal(grown[:COUNT].reshape(GRID), expected)


def test_shares():
    """Against a loop over tokens: inside 1, outside 0, at the edge half by what features say."""
    masks = random_masks(4, seed=5)
    masks[1] = masks[3] = False
    masks[2, :COUNT] = True
    masks[3, [0, 1, 8, 9]] = True  # has tokens farther away than its surroundings reach
    features = RNG.normal(size=(TOKENS, 7)).astype(np.float32)
    features[:, 0] += 3 * masks[0]  # so that one mask differs from what is around it
    features[6:COUNT:8] += 4  # at the end of the surroundings of the last mask
    features[7:COUNT:8] -= 4  # behind it
    features[COUNT:] = 0
    found = np.asarray(jax.jit(_ranking.shares)(masks, features, GRID))
    row, column = np.divmod(np.arange(COUNT), GRID[1])
    between = 0
    for mask, shares in zip(masks[:, :COUNT], found[:, :COUNT], strict=True):
        X = features[:COUNT]
        apart = np.maximum(abs(row[:, None] - row[mask]), abs(column[:, None] - column[mask]))
        beside = ~mask & (apart.min(axis=1, initial=99) <= 5)
        for token in range(COUNT):
            near = np.maximum(abs(row - row[token]), abs(column - column[token])) <= 1
            expected = float(mask[token])
            if mask[near].any() and not mask[near].all():
                inner, outer = X[mask].mean(axis=0), X[beside].mean(axis=0)
                line = inner - outer
                place = np.clip((X[token] - outer) @ line / (line @ line), 0, 1)
                expected = (expected + np.round(16 * place) / 16) / 2
                between += 0 < place < 1
            assert shares[token] == pytest.approx(expected, abs=0.04)  # a part of a token
        assert np.mean(shares * 32 % 1) == 0
    assert between > 20
    assert not found[1].any() and (found[2, :COUNT] == 1).all() and not found[:, COUNT:].any()


def test_votes():
    parts, masks = random_masks(9, seed=2), random_masks(6, seed=3)
    masks[:3] = parts[:3]
    clustering = np.array([0, 0, 1, 1, 1, 2, 2, -1, -1])
    votes_for = jax.jit(_ranking.votes_for, static_argnames="clusterings")
    found = np.asarray(votes_for(masks, parts, clustering, clusterings=4))
    for mask, votes in zip(masks, found, strict=True):
        best = [
            max((iou(mask, parts[k]) for k in np.flatnonzero(clustering == c)), default=0)
            for c in range(4)
        ]
        assert votes == pytest.approx(np.mean(np.maximum(np.array(best) - 0.5, 0)), abs=1e-6)


def naive_suppression(masks, scores, count, overlap, fades):
    """Indices and scores, best first: each mask kept drops its near ones and fades the others."""
    left = {index: float(score) for index, score in enumerate(scores) if score > 0}
    kept = []
    while left and len(kept) < count:
        best = max(left, key=left.get)
        kept.append((best, left.pop(best)))
        for index in list(left):
            shared = iou(masks[index], masks[best])
            if shared > overlap:
                del left[index]
            elif fades:
                left[index] *= np.exp(-(shared**2) / 0.35)
    return zip(*kept + [(-1, 0.0)] * (count - len(kept)), strict=True)


@pytest.mark.parametrize("fades", [False, True])
@pytest.mark.parametrize("overlap", [0.2, 0.5])
def test_suppression(overlap, fades):
    masks = random_masks(30)
    masks[7] = masks[3]
    scores = RNG.random(30).astype(np.float32)
    scores[[4, 5]] = 0
    suppressed = jax.jit(_ranking.suppressed, static_argnames=("count", "fades"))
    found, kept_scores = suppressed(masks, scores, count=25, overlap=overlap, fades=fades)
    expected, expected_scores = naive_suppression(masks, scores, 25, overlap, fades)
    assert found.tolist() == list(expected)
    np.testing.assert_allclose(kept_scores, expected_scores, rtol=1e-5)


def test_quantities():
    features = RNG.normal(size=(TOKENS, 5)).astype(np.float32)
    features[COUNT:] = 0
    masks = random_masks(5)
    masks[3] = False
    masks[4, :COUNT] = True
    votes = RNG.random(5).astype(np.float32)
    found = jax.jit(_ranking.quantities)(masks, features, votes, jnp.array(GRID))

    depth = np.pad(np.zeros(np.subtract(GRID, 4)), 1, constant_values=1)
    depth = np.pad(depth, 1, constant_values=2)
    kept = features[:COUNT]
    direction = kept[(depth > 0).ravel()].mean(axis=0)
    to_frame = kept @ direction / np.linalg.norm(direction)
    for index, mask in enumerate(masks):
        if index == 3:
            continue
        on = mask[:COUNT].reshape(GRID)
        ring = scipy.ndimage.binary_dilation(on, np.ones((3, 3))) & ~on
        beside = (kept[on.ravel()] @ kept[ring.ravel()].T).mean() if ring.any() else 0
        mean = kept[on.ravel()].mean(axis=0)
        alike = kept[~on.ravel()] @ mean / np.linalg.norm(mean)
        outline = (on[1:] != on[:-1]).sum() + (on[:, 1:] != on[:, :-1]).sum()
        expected = {
            "frame": to_frame[on.ravel()].mean(),
            "ring": beside,
            "area": np.log(on.mean()),
            "area2": np.log(on.mean()) ** 2,
            "outline": np.sqrt(outline / on.sum() * min(GRID)),
            "elsewhere": (np.maximum(alike, 0) ** 3).sum() / COUNT,
            "votes": votes[index],
        }
        assert set(found) == set(expected)
        for name, value in expected.items():
            assert found[name][index] == pytest.approx(value, rel=1e-4, abs=1e-5), name
    assert all(np.isfinite(value).all() for value in found.values())


def test_score():
    found = {"one": jnp.array([0.0, 1.0]), "two": jnp.array([3.0, -1.0])}
    weights = {"one": 2.0, "two": -0.5, "constant": 0.1}
    expected = 1 / (1 + np.exp(-np.array([-1.4, 2.6])))
    np.testing.assert_allclose(_ranking.score(found, weights), expected, rtol=1e-6)
