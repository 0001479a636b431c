"""Ranked masks of an image, and the objects among them, on grids with two planted objects."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import specjax
from specjax import Proposals
from specjax.proposals import choose_ranked

GRID, TOKENS, CHANNELS = (12, 16), 256, 24
COUNT = GRID[0] * GRID[1]
propose = functools.partial(specjax.propose, max_proposals=20)


@pytest.fixture(scope="module")
def objects():
    masks = np.zeros((2, *GRID), bool)
    masks[0, 2:8, 2:7] = masks[1, 5:10, 9:14] = True
    return masks.reshape(2, COUNT)


@pytest.fixture(scope="module")
def features(objects):
    """Two kinds: a direction for each object and one for the background, with noise."""
    rng = np.random.default_rng(0)
    kinds = []
    for _ in range(2):
        directions = np.linalg.qr(rng.normal(size=(CHANNELS, 3)))[0].T
        place = objects[0] + 2 * objects[1]
        kind = 3 + directions[place] + 0.08 * rng.normal(size=(COUNT, CHANNELS))
        kinds.append(np.pad(kind, ((0, TOKENS - COUNT), (0, 0)), constant_values=7))
    return np.stack(kinds).astype(np.float32)


@pytest.fixture(scope="module")
def found(features):
    return jax.tree.map(np.asarray, propose(features, np.array(GRID, np.int32)))


def iou(one, other):
    return (one & other).sum() / (one | other).sum()


def test_objects_are_the_best_proposals(found, objects):
    best = [[iou(mask[:COUNT], truth) for truth in objects] for mask in found.masks[:2]]
    assert np.max(best, axis=0).min() > 0.9


def test_scores_fall_from_at_most_one(found):
    assert (np.diff(found.scores) <= 0).all()
    assert found.scores[0] <= 1
    assert ((found.scores > 0) == found.masks.any(axis=1)).all()


def test_no_padding_and_little_overlap(found):
    assert not found.masks[:, COUNT:].any()
    masks = found.masks[found.scores > 0]
    for index, mask in enumerate(masks):
        assert all(iou(mask, other) <= 0.8 for other in masks[:index])


def test_padding_changes_nothing(features, found):
    other = features.copy()
    other[:, COUNT:] = -3
    again = propose(other, np.array(GRID, np.int32))
    np.testing.assert_array_equal(again.masks, found.masks)
    np.testing.assert_array_equal(again.scores, found.scores)


@pytest.mark.parametrize("value", [0.0, 1.5])
def test_constant_features_have_finite_scores(value):
    found = propose(np.full((2, TOKENS, CHANNELS), value, np.float32), np.array(GRID, np.int32))
    assert np.isfinite(found.scores).all()


def factor(features, blank=None):
    """What scores are multiplied by."""
    shown = (features if blank is None else features - blank)[:, :COUNT]
    varies = shown.var(axis=1).sum(axis=1)
    spread = np.mean(varies / np.square(features[:, :COUNT]).mean(axis=1).sum(axis=1))
    of_blank = 0 if blank is None else blank[:, :COUNT].var(axis=1).sum(axis=1)
    return min(spread / 0.2, 1, 1 / max(4 * np.mean(of_blank / varies), 1) ** 4)


def test_scores_fall_where_the_image_looks_all_the_same(features):
    # What all tokens have in common changes no mask, but makes the differences small.
    plain, common = features - 3.0, features + 3.0
    assert factor(plain) == 1 > factor(common)
    one, other = (propose(each, np.array(GRID, np.int32)) for each in (plain, common))
    np.testing.assert_array_equal(one.masks[0], other.masks[0])
    expected = float(one.scores[0]) * factor(common)
    assert float(other.scores[0]) == pytest.approx(expected, rel=0.01)


def test_what_a_blank_image_has_too_is_subtracted(features):
    rng = np.random.default_rng(3)
    place = np.cumsum(0.3 * rng.normal(size=features.shape), axis=1).astype(np.float32)
    grid, plain = np.array(GRID, np.int32), features - 3.0
    with_place, alone = propose(plain + place, grid), propose(plain, grid)
    assert (with_place.masks[0] != alone.masks[0]).any()
    without = propose(plain + place, grid, blank=place)
    np.testing.assert_array_equal(without.masks[0], alone.masks[0])
    expected = float(alone.scores[0]) * factor(plain + place, place)
    assert float(without.scores[0]) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("share", [0.2, 0.6])
def test_scores_fall_where_a_blank_image_varies_about_as_much(features, share):
    plain, grid = features - 3.0, np.array(GRID, np.int32)
    place = np.zeros_like(plain)
    place[:, :COUNT] = share * plain[:, np.random.default_rng(3).permutation(COUNT)]
    alone, found = propose(plain, grid), propose(plain + place, grid, blank=place)
    expected = factor(plain + place, place)
    assert expected == pytest.approx(min(1 / (4 * share**2), 1) ** 4, rel=0.05)
    assert float(found.scores[0]) == pytest.approx(float(alone.scores[0]) * expected, rel=0.01)


def test_a_blank_image_has_no_proposals(features):
    none = propose(features, np.array(GRID, np.int32), blank=features)
    assert (none.scores == 0).all() and not none.masks.any()


def naive_choice(masks, scores, least, most, overlap):
    labels, count = np.zeros(masks.shape[1], int), 0
    for mask, score in zip(masks, scores, strict=True):
        own = mask & (labels == 0)
        if score >= least and count < most and own.any():
            if own.sum() >= (1 - overlap) * mask.sum():
                count += 1
                labels[own] = count
    return labels


@pytest.mark.parametrize("overlap", [0.0, 0.3, 0.5])
@pytest.mark.parametrize("most", [2, 10])
def test_choose(overlap, most):
    rng = np.random.default_rng(2)
    masks = np.stack([np.roll(np.arange(64) < size, rng.integers(64)) for size in range(4, 24)])
    scores = np.sort(rng.random(20))[::-1].astype(np.float32)
    for least in (0.0, 0.4, 1.1):
        labels = specjax.choose(
            Proposals(jnp.asarray(masks), jnp.asarray(scores)),
            least_score=least, max_instances=most, overlap=overlap,
        )  # fmt: skip
        np.testing.assert_array_equal(labels, naive_choice(masks, scores, least, most, overlap))


def test_objects_have_the_scores_and_shares_of_their_proposals():
    masks = np.array([[1, 1, 1, 0, 0, 0], [0, 0, 1, 0, 0, 0], [0, 0, 1, 1, 1, 0]], bool)
    scores = np.array([0.9, 0.8, 0.7], np.float32)
    shares = np.where(masks, 0.75, 0.25).astype(np.float32)

    def objects(shares):
        return choose_ranked(
            Proposals(jnp.asarray(masks), jnp.asarray(scores), shares),
            least_score=0.0, max_instances=3, overlap=0.5,
        )  # fmt: skip

    found = objects(jnp.asarray(shares))
    np.testing.assert_array_equal(found.labels, [1, 1, 1, 2, 2, 0])
    np.testing.assert_array_equal(found.scores, [*scores[[0, 2]], 0])
    # None of a token that another object has.
    expected = [[0.75, 0.75, 0.75, 0, 0, 0.25], [0, 0, 0, 0.75, 0.75, 0.25], [0] * 6]
    np.testing.assert_array_equal(found.shares, np.array(expected, np.float32))
    np.testing.assert_array_equal(
        objects(None).shares, [[1, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 0], [0] * 6]
    )


# ---------------------------------------------------------------- edges


def test_edges_part_objects_whose_features_are_alike():
    """One object in features, two by an edge between them."""
    row, column = np.divmod(np.arange(COUNT), GRID[1])
    block = (row >= 3) & (row < 9) & (column >= 2) & (column < 13)
    line = block & (column == 7)
    halves = np.stack([block & (column < 7), block & (column > 7)])
    rng = np.random.default_rng(1)
    directions = np.linalg.qr(rng.normal(size=(CHANNELS, 2)))[0].T
    alike = 3 + directions[block.astype(int)] + 0.08 * rng.normal(size=(2, COUNT, CHANNELS))
    alike = np.pad(alike, ((0, 0), (0, TOKENS - COUNT), (0, 0))).astype(np.float32)
    edges = np.pad(line.astype(np.float32), (0, TOKENS - COUNT))

    def best_of_halves(found):
        exist = np.asarray(found.masks)[np.asarray(found.scores) > 0, :COUNT]
        return [max(iou(mask, half) for mask in exist) for half in halves]

    grid = np.array(GRID, np.int32)
    assert max(best_of_halves(propose(alike, grid))) < 0.8
    assert min(best_of_halves(propose(alike, grid, edges=edges))) > 0.8
    without, none = propose(alike, grid), propose(alike, grid, edges=np.zeros_like(edges))
    np.testing.assert_array_equal(without.masks, none.masks)
