"""The tiny checkpoint, a `Segmenter` of it, and photographs."""

import pytest

import specjax
from tests.support.segmenters import opened


@pytest.fixture(scope="session")
def checkpoint(world):
    return specjax.load_checkpoint(world.checkpoint.removeprefix("--checkpoint="))


@pytest.fixture(scope="session")
def segment(checkpoint):
    return opened(checkpoint)


@pytest.fixture(scope="session")
def paths(world):
    return sorted(world.photos.iterdir())
