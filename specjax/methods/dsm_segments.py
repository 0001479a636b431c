"""Segments of an image by Deep Spectral Methods (DSM).

    (D - W) y = l D y                                (W: `specjax.methods.dsm_graph`)

Segments are clusters of all eigenvectors but the first. Paper: Melas-Kyriazi et al., CVPR 2022,
arXiv 2205.07839; steps as in `_extract_multi_region_segmentations` of the authors'
`extract/extract.py`. The clustering of segments over a dataset is not here.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from specjax.clustering import kmeans
from specjax.methods.dsm_graph import Colors, dsm_graph
from specjax.spectral import orient, smallest_eigenpairs
from specjax.tokens import Grid, rows_and_columns, valid_tokens


class DsmSegments(NamedTuple):
    """The result of `dsm_segments`, over tokens.

    Attributes:
        labels: 0 for background, 1, 2, ... for segments, in order of first appearance.
        vectors: the eigenvectors that were clustered.
        eigenvalues: the K smallest.
    """

    labels: Int[Array, " tokens"]
    vectors: Float[Array, "vectors tokens"]
    eigenvalues: Float[Array, " pairs"]


@functools.partial(
    jax.jit, static_argnames=("K", "num_segments", "color_weight", "center", "solver")
)
def dsm_segments(
    features: Float[Array, "tokens channels"],
    grid: Grid,
    key: Key[Array, ""],
    *,
    K: int = 5,
    num_segments: int | None = 4,
    colors: Colors | None = None,
    color_weight: float = 10.0,
    center: bool = False,
    solver: str = "auto",
) -> DsmSegments:
    """Cut an image into segments by DSM, one of which is the background.

    All eigenvectors but the first are clustered by k-means. The cluster with the most tokens along
    the border, those in corners counted twice, is the background.

    Args:
        features: of one image (`extract_features`): the authors take the keys of DINO's last block.
        grid: rows and columns of the token grid; may be traced.
        key: a typed PRNG key (`jax.random.key`), for the starts of k-means.
        K: number of eigenvectors, the constant one included; static.
        num_segments: number of clusters, the background included; None takes as many as there are
            eigenvalues before the largest gap between them, the first gap left out; static.
        colors: RGB of each token in [0, 1], of the image shrunk to the grid; None, as in the
            authors' commands, leaves W_knn out.
        color_weight: weight of W_knn, where there are `colors`; static.
        center: whether to subtract the image's mean from the features first; static. The authors do
            not.
        solver: eigensolver, see `smallest_eigenpairs`; static.

    Returns:
        The segments, and what they were made from.

    Raises:
        SpecjaxError: the solver is unknown.

    Example:
        >>> features = jnp.eye(3)[jnp.array([0, 0, 0, 0, 1, 1, 0, 2, 2, 0, 0, 0])] + 0.1
        >>> found = specjax.dsm_segments(features, (3, 4), jax.random.key(0), K=3, num_segments=3)
        >>> print(specjax.as_grid(found.labels, (3, 4)))
        [[0 0 0 0]
         [1 1 0 2]
         [2 0 0 0]]
    """
    tokens = features.shape[0]
    valid = valid_tokens(tokens, grid)
    graph = dsm_graph(features, grid, colors=colors, color_weight=color_weight, center=center)
    pairs = smallest_eigenpairs(graph, count=K, solver=solver, valid=valid)
    vectors = orient(pairs.vectors[1:], valid=valid)
    if num_segments is None:
        count = 2 + jnp.argmax(jnp.diff(pairs.values)[1:])
    else:
        count = jnp.asarray(num_segments)
    most = K if num_segments is None else num_segments
    clusters = kmeans(vectors.T, count, key, max_clusters=most, mask=valid).labels
    row, column = rows_and_columns(tokens, grid)
    sides = jnp.stack([row == 0, row == grid[0] - 1, column == 0, column == grid[1] - 1])
    along = jnp.sum(sides & valid[None, :], axis=0)
    background = jnp.argmax(jnp.zeros(most, along.dtype).at[clusters].add(along))
    labels = jnp.where(clusters < background, clusters + 1, clusters)
    labels = jnp.where((clusters == background) | ~valid, 0, labels)
    return DsmSegments(labels, vectors, pairs.values)
