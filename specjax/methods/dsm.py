"""Deep Spectral Methods (DSM): one object, or segments, by the graph of all features.

    W = max(F F^T, 0) / max + color_weight * W_knn       (F: features of length 1)
    (D - W) y = l D y

The object is where the second eigenvector is positive; segments are clusters of all eigenvectors
but the first. W_knn is the graph of KNN matting on the image, shrunk to one pixel per token. Paper:
Melas-Kyriazi et al., CVPR 2022, arXiv 2205.07839, Section 3; its CRF, which sharpens masks, and the
clustering of segments over a dataset are not here.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from specjax.channels import normalize_tokens
from specjax.clustering import kmeans
from specjax.foreground import foreground_graph
from specjax.methods.parts import box_of, centered
from specjax.morphology import connected_components, region_areas
from specjax.spectral import orient, smallest_eigenpairs
from specjax.tokens import Grid, rows_and_columns, valid_tokens

_Features = Float[Array, "tokens channels"]
_Colors = Float[Array, "tokens 3"]

# Of KNN matting: numbers of neighbours, and the weight of the distance in the image in each.
_NEIGHBOURS = ((20, 2.0), (10, 0.1))


class DsmObject(NamedTuple):
    """The result of `dsm_object`, over tokens.

    Attributes:
        mask: the largest 8-connected region of the foreground; all of the image where it is empty.
        foreground: tokens where the second eigenvector is positive.
        box: left, top, right and bottom of the mask in tokens, right and bottom excluded.
        vector: the second eigenvector, at most half of it positive.
        eigenvalues: the two smallest.
    """

    mask: Bool[Array, " tokens"]
    foreground: Bool[Array, " tokens"]
    box: Int[Array, "4"]
    vector: Float[Array, " tokens"]
    eigenvalues: Float[Array, "2"]


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


@functools.partial(jax.jit, static_argnames=("color_weight", "center", "solver"))
def dsm_object(
    features: _Features,
    grid: Grid,
    *,
    colors: _Colors | None = None,
    color_weight: float = 10.0,
    center: bool = False,
    solver: str = "auto",
) -> DsmObject:
    """Find one object in an image by DSM: its localization.

    Args:
        features: of one image (`extract_features`): the paper takes the keys of DINO's last block.
        grid: rows and columns of the token grid; may be traced.
        colors: RGB of each token in [0, 1], of the image shrunk to the grid; None, as in the
            released commands, leaves W_knn out.
        color_weight: weight of W_knn, where there are `colors`; static.
        center: whether to subtract the image's mean from the features first; static. The paper does
            not.
        solver: eigensolver, see `smallest_eigenpairs`; static.

    Returns:
        The object, and what it was made from.

    Raises:
        SpecjaxError: the solver is unknown.

    Example:
        >>> features = jnp.array([[1.0, 0.0]] * 4 + [[0.1, 1.0]] * 2)
        >>> found = specjax.dsm_object(features, (2, 3))
        >>> print(specjax.as_grid(found.mask, (2, 3)), found.box)
        [[False False False]
         [False  True  True]] [1 1 3 2]
    """
    valid = valid_tokens(features.shape[0], grid)
    graph = _graph(features, grid, colors, color_weight, center)
    pairs = smallest_eigenpairs(graph, count=2, solver=solver, valid=valid)
    vector = orient(pairs.vectors[1:], valid=valid)[0]
    foreground = (vector > 0) & valid
    shown = jnp.where(jnp.any(foreground), foreground, valid)
    regions = connected_components(shown, grid, connectivity=8)
    largest = jnp.argmax(region_areas(shown, regions, grid, area="tokens"))
    mask = (regions == largest) & shown
    return DsmObject(mask, foreground, box_of(mask, grid), vector, pairs.values)


@functools.partial(
    jax.jit, static_argnames=("K", "num_segments", "color_weight", "center", "solver")
)
def dsm_segments(
    features: _Features,
    grid: Grid,
    key: Key[Array, ""],
    *,
    K: int = 5,
    num_segments: int | None = 4,
    colors: _Colors | None = None,
    color_weight: float = 10.0,
    center: bool = False,
    solver: str = "auto",
) -> DsmSegments:
    """Cut an image into segments by DSM, one of which is the background.

    All eigenvectors but the first are clustered by k-means. The cluster with the most tokens along
    the border, those in corners counted twice, is the background.

    Args:
        features: of one image (`extract_features`): the paper takes the keys of DINO's last block.
        grid: rows and columns of the token grid; may be traced.
        key: a typed PRNG key (`jax.random.key`), for the starts of k-means.
        K: number of eigenvectors, the constant one included; static.
        num_segments: number of clusters, the background included; None takes as many as there are
            eigenvalues before the largest gap between them, the first gap left out; static.
        colors: RGB of each token in [0, 1], of the image shrunk to the grid; None, as in the
            released commands, leaves W_knn out.
        color_weight: weight of W_knn, where there are `colors`; static.
        center: whether to subtract the image's mean from the features first; static. The paper does
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
    graph = _graph(features, grid, colors, color_weight, center)
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


def color_graph(colors: _Colors, grid: Grid) -> Float[Array, "tokens tokens"]:
    """W_knn: how often two tokens are among each other's nearest by color and place.

    Places are in [0, 1]. A token is its own nearest. Where distances are equal, the first tokens
    are nearer.
    """
    tokens = colors.shape[0]
    valid = valid_tokens(tokens, grid)
    row, column = rows_and_columns(tokens, grid)
    index = jnp.arange(tokens)
    sides = jnp.maximum(jnp.stack([grid[1], grid[0]]) - 1, 1).astype(colors.dtype)
    place = jnp.stack([column, row], axis=1).astype(colors.dtype) / sides[None, :]
    near = jnp.zeros((tokens, tokens), colors.dtype)
    for count, weight in _NEIGHBOURS:
        points = jnp.concatenate([colors, weight * place], axis=1)
        distance = sum((p[:, None] - p[None, :]) ** 2 for p in points.T)
        distance = jnp.where(valid[None, :], distance, jnp.inf)
        least, found = jax.lax.top_k(-distance, min(count, tokens))
        hits = (jnp.isfinite(least) & valid[:, None]).astype(near.dtype)
        near = near.at[index[:, None], found].add(hits)
    return near + near.T


def _graph(features, grid, colors, color_weight, center) -> Float[Array, "tokens tokens"]:
    """W of the features and, where there are any, of the colors."""
    if center:
        features = centered(features, grid)
    valid = valid_tokens(features.shape[0], grid)
    graph = foreground_graph(normalize_tokens(features), valid=valid)
    return graph if colors is None else graph + color_weight * color_graph(colors, grid)
