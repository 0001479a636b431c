"""TokenCut and MaskCut as plain numpy and scipy, in float64, on grids of any shape.

Nothing here imports specjax.
"""

import numpy as np
import scipy.linalg
import scipy.ndimage


def binary_graph(features, tau, eps):
    """1 where the cosine is above tau, eps elsewhere; a zero row has cosines 0."""
    features = np.asarray(features, np.float64)
    norms = np.linalg.norm(features, axis=1, keepdims=True)
    unit = features / np.where(norms == 0, 1.0, norms)
    return np.where(unit @ unit.T > tau, 1.0, eps)


def second_pair(weights):
    """The second eigenvector of (D - W) y = l D y, and the three smallest eigenvalues."""
    degrees = np.diag(weights.sum(axis=1))
    values, vectors = scipy.linalg.eigh(degrees - weights, degrees)
    return vectors[:, 1], values[:3]


def first_peak(values):
    """The first of the largest values, up to rounding."""
    return np.flatnonzero(values >= values.max() - 1e-4 * abs(values.max()))[0]


def region(side, seed, grid):
    """The 4-connected region of a token, and its box: left, top, right, bottom."""
    labels = scipy.ndimage.label(side.reshape(grid))[0]
    mask = labels == labels[np.unravel_index(seed, grid)]
    rows, columns = np.nonzero(mask)
    return mask.ravel(), [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def tokencut(features, grid, tau, eps=1e-5):
    """Mask, side, seed and box."""
    vector, _ = second_pair(binary_graph(features, tau, eps))
    side, seed = vector > vector.mean(), first_peak(np.abs(vector))
    if not side[seed]:
        side = ~side
    mask, box = region(side, seed, grid)
    return mask, side, seed, box


def maskcut(features, grid, tau, rounds, eps=1e-5):
    """The disjoint mask of each round, also empty ones, and its two eigenvalues."""
    features = np.array(features, np.float64)
    rows, columns = grid
    found, pairs, before = [], [], np.zeros(rows * columns, bool)
    painted = before.copy()
    for number in range(rounds):
        features[painted] = 0
        vector, values = second_pair(binary_graph(features, tau, eps))
        side = vector > vector.mean()
        if not side[first_peak(np.abs(vector))]:
            side, vector = ~side, -vector
        if side.reshape(grid)[[0, 0, -1, -1], [0, -1, 0, -1]].sum() >= 3:
            side, vector = ~side, -vector
        mask, _ = region(side, first_peak(vector), grid)
        overlap = (mask & before).sum() / (mask | before).sum()
        if number and (overlap > 0.5 or mask.sum() / (rows * columns) <= 0.01):
            mask = np.zeros_like(mask)
        found.append(mask & ~painted)
        pairs.append(values[1:])
        painted, before = painted | mask, mask
    return np.stack(found), np.stack(pairs)
