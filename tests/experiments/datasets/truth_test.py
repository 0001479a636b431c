"""Annotations on the token grid."""

import itertools

import numpy as np
import pytest

from experiments.datasets.truth import check_size, on_grid
from specjax import SpecjaxError


@pytest.mark.parametrize(("size", "grid"), [((47, 63), (2, 3)), ((10, 10), (10, 10)),
                                            ((33, 7), (4, 1)), ((5, 9), (8, 11))])  # fmt: skip
def test_a_token_takes_one_pixel(size, grid):
    instances = np.random.default_rng(0).choice([-1, 0, 2, 3, 40], size).astype(np.int32)
    found = on_grid(instances, grid, 128)
    seen = []
    for i, j in itertools.product(range(grid[0]), range(grid[1])):
        seen.append(instances[i * size[0] // grid[0], j * size[1] // grid[1]])
    numbers = {value: index for index, value in enumerate(sorted({0, -1, *seen} - {0, -1}), 1)}
    expected = [numbers.get(value, 0) for value in seen]
    tokens = grid[0] * grid[1]
    assert found.instances[:tokens].tolist() == expected and not found.instances[tokens:].any()
    assert found.counted[:tokens].tolist() == [value != -1 for value in seen]
    assert not found.counted[tokens:].any()
    assert found.count == len(numbers) and found.instances.dtype == np.int32


def test_instances_may_be_lost_between_tokens():
    instances = np.zeros((32, 32), np.int32)
    instances[1, 1], instances[16, 16] = 1, 2
    found = on_grid(instances, (2, 2), 4)
    assert found.count == 1 and found.instances.tolist() == [0, 0, 0, 1]


def test_sizes_must_agree():
    image = np.zeros((4, 6, 3), np.uint8)
    check_size(np.zeros((4, 6), np.int32), image, "a.jpg")
    with pytest.raises(SpecjaxError, match=r"a\.jpg: the image is 6x4, its annotation 4x6"):
        check_size(np.zeros((6, 4), np.int32), image, "a.jpg")
