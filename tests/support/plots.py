"""What the tests of several plots share: features with known channels, and readers of files."""

import csv
import pathlib

import jax.numpy as jnp
import numpy as np

from specjax import Config
from tests.support import oracles

GRID, CHANNELS = (15, 20), 32
CONFIG = Config(M=9, N=4, bins=8)


def features() -> np.ndarray:
    """Float32 features of 300 tokens, enough that no two entropies are equal."""
    rng = np.random.default_rng(4)
    return (rng.normal(0, 1, (300, CHANNELS)) * rng.uniform(0.5, 2, CHANNELS)).astype(np.float32)


def padded(array: np.ndarray, tokens: int = 320) -> jnp.ndarray:
    """An array over tokens with rows of zeros behind it."""
    return jnp.asarray(np.pad(array, [(0, tokens - len(array))] + [(0, 0)] * (array.ndim - 1)))


def ranked(features: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """NCR in numpy: entropy, channels by entropy, and the first M, L2-normalised over them."""
    entropy = oracles.entropy(features, CONFIG.bins)
    order = np.argsort(entropy, kind="stable")
    kept = features[:, order[: CONFIG.M]].astype(np.float64)
    return entropy, order, kept / np.linalg.norm(kept, axis=1, keepdims=True)


def rows_of(path: pathlib.Path) -> list[dict[str, str]]:
    """The rows of a CSV file, by column."""
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def texts_of(path: pathlib.Path) -> list[str]:
    """The texts in an SVG file, in order."""
    lines = path.read_text().split("</text>")[:-1]
    return [line.rsplit(">", 1)[1].strip() for line in lines]
