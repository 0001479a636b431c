"""An image at several scales: windows of its token grids, and the proposals of all of them.

At the smallest scale, one window is the whole grid. At a larger one, windows of at most that many
rows and columns cover the grid, each overlapping the next by about half: what is small is seen at a
larger size, at the cost of the whole image for each window. Proposals of all windows are joined on
the grid of the largest scale.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float32, Int

from specjax import _ranking as ranking
from specjax._sizes import padded_tokens
from specjax.proposals import WEIGHTS, Proposals
from specjax.tokens import Tiling, pad_tokens

# What a score at a larger scale counts: most of what is found there is a part of an object.
_LARGER_SCALE = 0.4
# How much of what a small mask there loses for its size it gets back: it may be a small object.
_GIVEN_BACK = 0.75
# The largest IoU of a proposal with a better one of any window.
_MOST_IOU = 0.7


class Window(NamedTuple):
    """A rectangle of the token grid of an image at some scale.

    Attributes:
        tiling: how the whole image was cut at that scale.
        first: row and column of its first token.
        grid: its rows and columns.
    """

    tiling: Tiling
    first: tuple[int, int]
    grid: tuple[int, int]


def windows_of(tilings: Sequence[Tiling]) -> tuple[Window, ...]:
    """The windows of an image cut at ascending scales: the whole one, then several of each."""
    largest = tilings[0].grid
    found = []
    for tiling in tilings:
        grid = min(largest[0], tiling.rows), min(largest[1], tiling.columns)
        rows, columns = map(_firsts, tiling.grid, grid)
        found += [Window(tiling, (row, column), grid) for row in rows for column in columns]
    return tuple(found)


def _firsts(whole: int, side: int) -> list[int]:
    """Where windows of `side` tokens begin, so that they cover `whole` and overlap by half."""
    count = max(-(-whole // side), round(2 * whole / side) - 1)
    return [round(number * (whole - side) / max(count - 1, 1)) for number in range(count)]


def cut_window(
    values: Float32[np.ndarray, "tokens patch_values"], window: Window
) -> Float32[np.ndarray, "padded_tokens patch_values"]:
    """The patches of a window, padded, from those of the whole image at its scale."""
    (row, column), (rows, columns) = window.first, window.grid
    whole = values.reshape(*window.tiling.grid, -1)
    return pad_tokens(
        whole[row : row + rows, column : column + columns].reshape(rows * columns, -1)
    )


def join_proposals(
    masks: Bool[np.ndarray, "windows proposals tokens"],
    scores: Float[np.ndarray, "windows proposals"],
    shares: Float[np.ndarray, "windows proposals tokens"],
    windows: Sequence[Window],
) -> Proposals:
    """The best proposals of all windows, as many as each has, on the token grid of the last one.

    A proposal that ends at a side of its window inside the image is left out: it is cut off there.
    At larger scales than the first, masks get back three quarters of what their score loses for
    being small (as a logit), and scores are multiplied by 0.4.

    Args:
        masks: of each window, over its tokens, as padded as the others.
        scores: of each window.
        shares: of each window, as the masks.
        windows: the windows of an image, by ascending scale.

    Returns:
        The proposals, over padded tokens of the last window's tiling. Of those that overlap with an
        IoU above 0.7, the best is kept.
    """
    tokens, first = masks.shape[2], windows[0].tiling
    scores = scores.copy()
    for place, window in enumerate(windows):
        if window.tiling != first:
            scores[place] = _LARGER_SCALE * _raised(scores[place], masks[place], window)
    places = [_places(window, windows[-1].tiling, tokens) for window in windows]
    inner = [_inner_sides(window, tokens) for window in windows]
    return _joined(masks, scores, shares, np.stack(places), np.stack(inner))


def _raised(
    scores: Float[np.ndarray, " proposals"],
    masks: Bool[np.ndarray, "proposals tokens"],
    window: Window,
) -> Float[np.ndarray, " proposals"]:
    """Scores with a part of what small masks lose given back."""
    tokens = np.maximum(masks.sum(axis=1), 1)
    cost = ranking.cost_of_smallness(tokens, window.grid, weights=WEIGHTS)
    factor = np.exp(_GIVEN_BACK * cost)
    return scores * factor / (1 - scores + scores * factor)


@jax.jit
def _joined(
    masks: Bool[Array, "windows proposals tokens"],
    scores: Float[Array, "windows proposals"],
    shares: Float[Array, "windows proposals tokens"],
    places: Int[Array, "windows joint"],
    inner: Bool[Array, "windows tokens"],
) -> Proposals:
    count = scores.shape[1]
    cut_off = jnp.any(masks & inner[:, None, :], axis=2)
    scores = jnp.where(cut_off, 0.0, scores).ravel()

    def placed(values):
        # A last token, which no window has, is 0.
        framed = jnp.pad(values, ((0, 0), (0, 0), (0, 1)))
        return jax.vmap(lambda each, place: each[:, place])(framed, places).reshape(
            -1, places.shape[1]
        )

    masks = placed(masks)
    # Within each window, scores have faded already.
    kept, scores = ranking.suppressed(masks, scores, count=count, overlap=_MOST_IOU, fades=False)
    exist = (kept >= 0)[:, None]
    shares = jnp.where(exist, placed(shares)[kept], 0.0)
    return Proposals(masks[kept] & exist, scores, shares)


def _places(window: Window, joint: Tiling, tokens: int) -> Int[np.ndarray, " joint"]:
    """The token of a window under the center of each token of the joint grid; `tokens` for none."""
    found = []
    for axis in (0, 1):
        scale = window.tiling.image_size[axis] / joint.image_size[axis]
        center = (np.arange(joint.grid[axis]) + 0.5) * joint.patch_size * scale
        place = np.minimum(center // window.tiling.patch_size, window.tiling.grid[axis] - 1)
        place = place.astype(np.int32) - window.first[axis]
        found.append(np.where((place >= 0) & (place < window.grid[axis]), place, -1))
    row, column = found[0][:, None], found[1][None, :]
    place = np.where((row >= 0) & (column >= 0), row * window.grid[1] + column, tokens).ravel()
    return np.pad(
        place, (0, padded_tokens(place.size) - place.size), constant_values=tokens
    ).astype(np.int32)


def _inner_sides(window: Window, tokens: int) -> Bool[np.ndarray, " tokens"]:
    """Tokens of a window at those of its sides that are inside the image."""
    inner = np.zeros(window.grid, bool)
    for axis, map_ in ((0, inner), (1, inner.T)):
        first, side = window.first[axis], window.grid[axis]
        map_[0] |= first > 0
        map_[-1] |= first + side < window.tiling.grid[axis]
    return np.pad(inner.ravel(), (0, tokens - inner.size))
