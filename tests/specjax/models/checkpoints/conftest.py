"""A random model, its leaves and its tensors as Hugging Face names them."""

import pytest

from specjax.models.checkpoints.loading import random_checkpoint
from tests.support.checkpoint_files import HF_NAMES, TINY, file_tensors, model_leaves


@pytest.fixture(scope="session")
def checkpoint():
    return random_checkpoint(TINY, seed=7)


@pytest.fixture(scope="session")
def leaves(checkpoint):
    return model_leaves(checkpoint.model)


@pytest.fixture
def tensors(leaves):
    return file_tensors(leaves, HF_NAMES)
