"""Compiles the stages after the backbone while the first photograph is still in the backbone.

A stage is compiled by calling it, in a thread, on arrays of the shapes that it will get. Compiling
is most of the time until a first result, and one stage keeps one core busy.
"""

import concurrent.futures
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from specjax.config import Config
from specjax.instance_stages import label_instances
from specjax.instances import SEGMENTS
from specjax.pipeline import reduce_features, segment_foreground
from specjax.spectral import Eigenpairs

# Of larger images a second set of arrays would take too much memory.
_MOST_TOKENS = 4096

# Waits until a stage is compiled, by its name.
Wait = Callable[[str], None]


def compile_ahead(
    pool: concurrent.futures.Executor,
    tokens: int,
    channels: int,
    *,
    config: Config,
    max_instances: int,
) -> Wait:
    """Start compiling for images of one padded length; returns what waits for "foreground" etc."""
    if tokens > _MOST_TOKENS:
        return lambda name: None
    random = np.random.default_rng(0).standard_normal((tokens, channels))
    features = jnp.asarray(random, jnp.float32)
    grid = jnp.asarray(np.array([1, tokens], np.int32))
    mask = jnp.asarray(np.arange(tokens) % 4 == 0)
    values = np.zeros(SEGMENTS + 1, np.float32)
    vectors = np.zeros((SEGMENTS + 1, tokens + 1), np.float32)
    pairs = Eigenpairs(jnp.asarray(values), jnp.asarray(vectors))
    calls: Mapping[str, Callable[[], Any]] = {
        "foreground": lambda: segment_foreground(features, grid, config=config),
        "reduce": lambda: reduce_features(features, mask, grid, config=config),
        "labels": lambda: label_instances(
            pairs, mask, grid, 1, jax.random.key(0), config=config, max_instances=max_instances
        ),
    }
    jobs = {name: pool.submit(call) for name, call in calls.items()}

    def wait(name: str) -> None:
        # An error here comes again where the stage is called, and is reported there.
        concurrent.futures.wait([jobs[name]])

    return wait
