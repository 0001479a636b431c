"""TokenCut: one object, by a normalized cut of a thresholded graph (Wang et al., CVPR 2022).

    W_ij = 1 if cos(x_i, x_j) > tau, else eps        (the graph)
    (D - W) y = l D y                                (the normalized cut, Shi and Malik)

The image is cut at the mean of the second eigenvector y. The token with the largest |y|, the seed,
belongs to the object: so does its side, and the object is the seed's 4-connected region. Paper:
arXiv 2202.11539; steps as in `ncut` of the authors' `object_discovery.py`. Their bilateral solver
and CRF, which sharpen the mask, are not here.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from specjax.methods.parts import (
    box_of,
    cosines,
    mean_cut,
    peak,
    region_of,
    thresholded,
)
from specjax.tokens import Grid, valid_tokens


class TokenCut(NamedTuple):
    """The result of `tokencut`, over tokens.

    Attributes:
        mask: the object.
        bipartition: the seed's side of the cut, all regions of it.
        seed: index of the seed.
        box: left, top, right and bottom of the object in tokens, right and bottom excluded.
        vector: the second eigenvector, positive at the seed.
        eigenvalues: the three smallest; where the last two are equal, the cut is arbitrary.
    """

    mask: Bool[Array, " tokens"]
    bipartition: Bool[Array, " tokens"]
    seed: Int[Array, ""]
    box: Int[Array, "4"]
    vector: Float[Array, " tokens"]
    eigenvalues: Float[Array, "3"]


@functools.partial(jax.jit, static_argnames=("tau", "eps", "center", "solver"))
def tokencut(
    features: Float[Array, "tokens channels"],
    grid: Grid,
    *,
    tau: float = 0.2,
    eps: float = 1e-5,
    center: bool = False,
    solver: str = "auto",
) -> TokenCut:
    """Find one object in an image by TokenCut.

    Args:
        features: of one image (`extract_features`): the authors take the keys of DINO's last block.
        grid: rows and columns of the token grid; may be traced.
        tau: tokens whose cosine is above it are joined; static. The authors' 0.2 is for DINO.
        eps: weight of the other pairs, which keeps the graph connected; static.
        center: whether to subtract the image's mean from the features first, as the keys of DINOv2
            need it; static. The authors do not.
        solver: eigensolver, see `smallest_eigenpairs`; static.

    Returns:
        The object, and what it was made from.

    Raises:
        SpecjaxError: the solver is unknown.

    Example:
        >>> features = jnp.array([[1.0, 0.0]] * 4 + [[0.1, 1.0]] * 2)
        >>> found = specjax.tokencut(features, (2, 3))
        >>> print(specjax.as_grid(found.mask, (2, 3)), found.box)
        [[False False False]
         [False  True  True]] [1 1 3 2]
    """
    similarity = cosines(features, grid, center=center)
    cut = mean_cut(thresholded(similarity, grid, tau=tau, eps=eps), grid, solver=solver)
    seed = peak(jnp.abs(cut.vector), grid)
    reverse = ~cut.side[seed]
    side = (cut.side ^ reverse) & valid_tokens(features.shape[0], grid)
    mask = region_of(side, seed, grid)
    return TokenCut(
        mask=mask,
        bipartition=side,
        seed=seed,
        box=box_of(mask, grid),
        vector=jnp.where(reverse, -cut.vector, cut.vector),
        eigenvalues=cut.eigenvalues,
    )
