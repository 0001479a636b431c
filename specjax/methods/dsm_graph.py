"""The graph of Deep Spectral Methods (DSM), of all features and, if wanted, of colors.

    W = max(F F^T, 0) / max + color_weight * W_knn       (F: features of length 1)

W_knn is the graph of KNN matting on the image, shrunk to one pixel per token. Paper: Melas-Kyriazi
et al., CVPR 2022, arXiv 2205.07839; steps as in `_extract_eig` of the authors'
`extract/extract.py`, whose own weight of colors is 10. Their commands leave W_knn out.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from specjax.channels import normalize_tokens
from specjax.foreground import foreground_graph
from specjax.methods.parts import centered
from specjax.tokens import Grid, rows_and_columns, valid_tokens

Colors = Float[Array, "tokens 3"]
_Graph = Float[Array, "tokens tokens"]

# Of KNN matting: numbers of neighbours, and the weight of the distance in the image in each.
_NEIGHBOURS = ((20, 2.0), (10, 0.1))


def dsm_graph(
    features: Float[Array, "tokens channels"],
    grid: Grid,
    *,
    colors: Colors | None,
    color_weight: float,
    center: bool,
) -> _Graph:
    """W of the features and, where there are any, of the colors."""
    if center:
        features = centered(features, grid)
    valid = valid_tokens(features.shape[0], grid)
    graph = foreground_graph(normalize_tokens(features), valid=valid)
    return graph if colors is None else graph + color_weight * color_graph(colors, grid)


def color_graph(colors: Colors, grid: Grid) -> _Graph:
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
