"""Three pixels of one instance, two of them irregular in a few channels (Fig. 6, 7).

The pixels are alike but for what an irregular channel adds. An affinity that suits instances
should find them about equally similar; the dot product finds the two that are irregular together
far more similar than either is to the third. The numbers are ours: the paper draws its pixels and
gives no values.
"""

import dataclasses

import jax.numpy as jnp
import numpy as np

from specjax.affinity import affinity_matrix

METRICS = ("dot", "braycurtis", "boc")
PIXELS = ("a", "b", "c")
PAIRS = ((0, 1), (0, 2), (1, 2))
# Where b or c differs from a.
IRREGULAR = (2, 5)
_COMMON = (0.2, 0.3, 0.1, 0.2, 0.3, 0.1, 0.2, 0.2)


def pixels() -> np.ndarray:
    """Their features, float32 [3, 8]: a is regular, b and c are not in the channels `IRREGULAR`."""
    values = np.array([_COMMON] * len(PIXELS), np.float32)
    values[1, IRREGULAR] = 0.9, 0.7
    values[2, IRREGULAR] = 0.8, 0.9
    return values


@dataclasses.dataclass(frozen=True)
class Similarities:
    """One metric's similarities of the pixels.

    Attributes:
        metric: its name.
        matrix: of all pairs, [3, 3], as `specjax.affinity.affinity_matrix` gives it.
        pairs: of `PAIRS`.
        spread: standard deviation (divisor n) of `pairs` over their mean: 0 where the metric finds
            all three pairs equally similar. It does not depend on the metric's scale.
    """

    metric: str
    matrix: np.ndarray
    pairs: tuple[float, ...]
    spread: float


def similarities(features: np.ndarray) -> list[Similarities]:
    """Every one of `METRICS` on three pixels `[3, channels]`."""
    result = []
    for metric in METRICS:
        matrix = np.asarray(affinity_matrix(jnp.asarray(features), metric=metric))
        pairs = tuple(float(matrix[pair]) for pair in PAIRS)
        result.append(Similarities(metric, matrix, pairs, float(np.std(pairs) / np.mean(pairs))))
    return result
