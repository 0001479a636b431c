"""Flaws of segmentations: drawn cases, and a naive count over sets of tokens."""

import numpy as np
import pytest

from experiments.results.flaws import FLAWS, counts, flaws, report

# Token grids: digits are instances or clusters, dots the background, question marks void.
CASES = {
    "nothing wrong": ("11..22", "11..22", []),
    "swapped": ("..11..", "11..11", ["swapped", "missed"]),
    "an object fills the picture": ("11111.", "1....1", ["swapped", "fills"]),
    "a large object that is found": ("11111.", "1111..", []),
    "missed": ("11..22", "11....", ["missed"]),
    "merged twins": ("11..22", "11..11", ["merged"]),
    "half of a twin is no merger": ("11..22", "11..12", ["split"]),
    "split": ("1111..", "1122..", ["split"]),
    "a small second part is no split": ("11111...", "11112...", []),
    "void decides nothing": ("11????", "111111", []),
    "no instance": ("......", "11....", []),
}


def tokens(text):
    return np.array([int(sign) if sign.isdigit() else 0 for sign in text], np.int32)


@pytest.mark.parametrize(("truth", "labels", "expected"), CASES.values(), ids=CASES)
def test_drawn_cases(truth, labels, expected):
    counted = np.array([sign != "?" for sign in truth])
    assert flaws(tokens(labels), tokens(truth), counted) == expected


def naive(labels, instances, counted):
    where = {n for n in range(len(labels)) if counted[n]}
    objects = [{n for n in where if instances[n] == k} for k in set(instances[instances > 0])]
    objects = [tokens for tokens in objects if tokens]
    clusters = [{n for n in where if labels[n] == k} for k in set(labels[labels > 0])]
    truth, found = set().union(*objects), set().union(*clusters)

    def iou(mask):
        return len(mask & truth) / len(mask | truth)

    holds = {
        "swapped": truth and iou(where - found) > iou(found),
        "fills": truth and max(map(len, objects)) > len(where) / 2 and iou(found) < 0.5,
        "missed": any(len(one & found) < len(one) / 10 for one in objects),
        "merged": any(sum(len(one & c) > len(one) / 2 for one in objects) > 1 for c in clusters),
        "split": any(sum(len(one & c) >= len(one) / 4 for c in clusters) > 1 for one in objects),
    }
    return [name for name in FLAWS if holds[name]]


def test_agrees_with_sets_of_tokens():
    rng, seen = np.random.default_rng(0), set()
    for _ in range(300):
        instances = rng.integers(0, rng.integers(2, 5), 12) * (rng.random(12) < 1.5 * rng.random())
        labels = np.where(rng.random(12) < 0.7, instances, rng.integers(0, 4, 12))
        counted = rng.random(12) < 0.9
        instances[~counted] = 0
        found = flaws(labels.astype(np.int32), instances.astype(np.int32), counted)
        assert found == naive(labels, instances, counted)
        seen.update(found)
    assert seen == set(FLAWS)


def test_counts_of_images():
    lines = [{"flaws": ["swapped", "split"]}, {"flaws": ["split"]}, {"flaws": None}]
    found = counts(lines)
    assert found == {"swapped": 1, "fills": 0, "missed": 0, "merged": 0, "split": 2}
    text = report([{"metric": "boc", "images": 2, "flaws": found}]).splitlines()
    assert text[1].split() == ["metric", "images", *FLAWS]
    assert text[3].split() == ["boc", "2", "1", "0", "0", "0", "2"]
