"""Localization by Deep Spectral Methods (DSM): one object.

    (D - W) y = l D y                                (W: `specjax.methods.dsm_graph`)

The object is where the second eigenvector is positive, the largest 8-connected region of it. Paper:
Melas-Kyriazi et al., CVPR 2022, arXiv 2205.07839; steps as in `get_bbox_from_patch_mask` of the
authors' `object-localization/object_discovery.py`. Their CRF, which sharpens masks, is not here.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from specjax.methods.dsm_graph import Colors, dsm_graph
from specjax.methods.parts import box_of
from specjax.morphology import connected_components, region_areas
from specjax.spectral import orient, smallest_eigenpairs
from specjax.tokens import Grid, valid_tokens


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


@functools.partial(jax.jit, static_argnames=("color_weight", "center", "solver"))
def dsm_object(
    features: Float[Array, "tokens channels"],
    grid: Grid,
    *,
    colors: Colors | None = None,
    color_weight: float = 10.0,
    center: bool = False,
    solver: str = "auto",
) -> DsmObject:
    """Find one object in an image by DSM: its localization.

    Args:
        features: of one image (`extract_features`): the authors take the keys of DINO's last block.
        grid: rows and columns of the token grid; may be traced.
        colors: RGB of each token in [0, 1], of the image shrunk to the grid; None, as in the
            authors' commands, leaves W_knn out.
        color_weight: weight of W_knn, where there are `colors`; static.
        center: whether to subtract the image's mean from the features first; static. The authors do
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
    graph = dsm_graph(features, grid, colors=colors, color_weight=color_weight, center=center)
    pairs = smallest_eigenpairs(graph, count=2, solver=solver, valid=valid)
    vector = orient(pairs.vectors[1:], valid=valid)[0]
    foreground = (vector > 0) & valid
    shown = jnp.where(jnp.any(foreground), foreground, valid)
    regions = connected_components(shown, grid, connectivity=8)
    largest = jnp.argmax(region_areas(shown, regions, grid, area="tokens"))
    mask = (regions == largest) & shown
    return DsmObject(mask, foreground, box_of(mask, grid), vector, pairs.values)
