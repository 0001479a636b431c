"""MaskCut: several objects, by repeated cuts (CutLER, Wang et al., CVPR 2023).

Each round is a normalized cut as in TokenCut, on what earlier rounds left:

    W_ij = 1 if cos(x_i m_i, x_j m_j) > tau, else eps,    m = 0 on the masks found before
    (D - W) y = l D y

The image is cut at the mean of the second eigenvector y. The object's side is that of the token
with the largest |y|, unless it holds three or more corners of the image: then it is the other one.
The mask is the 4-connected region of the side's most extreme token. From the second round on, a
mask that overlaps the round before it by more than half, or covers at most 1 % of the image, is
dropped. Paper: arXiv 2301.11320, Section 3.2 "MaskCut for Discovering Multiple Objects", Eq. 1 (the
cut), 2 (its sides) and 3 (the masked similarity); the number of corners and the rules for dropping
masks are those of `maskcut_forward` in the authors' `maskcut.py`. Their CRF, which sharpens masks,
is not here.
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

_Masks = Bool[Array, "rounds tokens"]


class MaskCut(NamedTuple):
    """The result of `maskcut`: an entry per round, over tokens.

    Attributes:
        masks: the object of each round, without the tokens of earlier ones; empty where there is
            none.
        regions: the objects before earlier ones are cut out of them, and before they are dropped.
        bipartitions: the object's side of each cut, all regions of it.
        seeds: index of the token that each region grew from.
        boxes: left, top, right and bottom of each mask in tokens, right and bottom excluded.
        vectors: the second eigenvectors, positive on the object's side.
        eigenvalues: the three smallest; where the last two are equal, the cut is arbitrary.
    """

    masks: _Masks
    regions: _Masks
    bipartitions: _Masks
    seeds: Int[Array, " rounds"]
    boxes: Int[Array, "rounds 4"]
    vectors: Float[Array, "rounds tokens"]
    eigenvalues: Float[Array, "rounds 3"]

    @property
    def labels(self) -> Int[Array, " tokens"]:
        """A label map: 0 for background, then 1, 2, ... in the order of rounds that found one."""
        numbers = jnp.cumsum(jnp.any(self.masks, axis=1))
        return jnp.sum(jnp.where(self.masks, numbers[:, None], 0), axis=0)


@functools.partial(jax.jit, static_argnames=("tau", "eps", "N", "center", "solver"))
def maskcut(
    features: Float[Array, "tokens channels"],
    grid: Grid,
    *,
    tau: float = 0.15,
    eps: float = 1e-5,
    N: int = 3,
    center: bool = False,
    solver: str = "auto",
) -> MaskCut:
    """Find up to N objects in an image by MaskCut.

    Args:
        features: of one image (`extract_features`): the authors take the keys of DINO's last block.
        grid: rows and columns of the token grid; may be traced. The authors resize images to a
            square first.
        tau: tokens whose cosine is above it are joined; static. The authors' 0.15 is for DINO.
        eps: weight of the other pairs, which keeps the graph connected; static.
        N: number of rounds; static.
        center: whether to subtract the image's mean from the features first, as the keys of DINOv2
            need it; static. The authors do not.
        solver: eigensolver, see `smallest_eigenpairs`; static.

    Returns:
        The objects, and what they were made from.

    Raises:
        SpecjaxError: the solver is unknown.

    Example:
        >>> features = jnp.eye(3)[jnp.array([0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 2, 2])]
        >>> print(specjax.maskcut(features, (1, 12), N=2).labels)
        [0 0 0 1 1 1 1 0 0 0 2 2]
    """
    similarity = cosines(features, grid, center=center)
    valid = valid_tokens(features.shape[0], grid)
    rows, columns = grid[0], grid[1]
    corners = jnp.stack([0, columns - 1, (rows - 1) * columns, rows * columns - 1])

    def cut_out(state, number):
        painted, before = state
        # A masked token is a zero vector: its cosines are 0, also that with itself.
        left = jnp.where(painted[:, None] | painted[None, :], 0.0, similarity)
        cut = mean_cut(thresholded(left, grid, tau=tau, eps=eps), grid, solver=solver)
        other = ~cut.side[peak(jnp.abs(cut.vector), grid)]
        in_corners = jnp.sum(cut.side[corners] ^ other)
        reverse = other ^ (in_corners >= 3)
        side = (cut.side ^ reverse) & valid
        vector = jnp.where(reverse, -cut.vector, cut.vector)
        seed = peak(vector, grid)
        region = region_of(side, seed, grid)
        shared, either = jnp.sum(region & before), jnp.sum(region | before)
        drop = (2 * shared > either) | (100 * jnp.sum(region) <= rows * columns)
        kept = region & ~(drop & (number > 0))
        mask = kept & ~painted
        found = MaskCut(mask, region, side, seed, box_of(mask, grid), vector, cut.eigenvalues)
        return (painted | kept, kept), found

    nothing = jnp.zeros(features.shape[0], bool)
    return jax.lax.scan(cut_out, (nothing, nothing), jnp.arange(N))[1]
