"""A reference implementation of the stages after the backbone: numpy, scipy, scikit-learn.

It computes them as the paper's authors do: histograms channel by channel, `eigsh` in shift-invert
mode on the full foreground graph, `pairwise_distances` twice over all tokens, `eigsh(which="SM")`
on the full instance graph, and scikit-learn's k-means. It was written for the benchmark from the
description of the method. Its results are those of protocol `reference`, except for eigenvectors
that are zero outside the background.

Features are `[tokens, channels]`, without padding; masks and labels are `[tokens]`.
"""

import numpy as np
import scipy.ndimage
import scipy.sparse.linalg
from sklearn.cluster import KMeans
from sklearn.metrics import pairwise_distances

# The constant vector and four eigensegments.
PAIRS = 5


def entropies(features: np.ndarray, bins: int = 30) -> np.ndarray:
    """The entropy of each channel's histogram, one channel after another."""
    values = []
    for channel in features.T:
        counts, _ = np.histogram(channel, bins)
        probability = counts[counts > 0] / counts.sum()
        values.append(-np.sum(probability * np.log2(probability)))
    return np.array(values)


def reduced(features: np.ndarray, M: int) -> np.ndarray:
    """The M channels of lowest entropy, each token L2-normalised."""
    kept = features[:, np.argsort(entropies(features), kind="stable")[:M]]
    return kept / np.linalg.norm(kept, axis=1, keepdims=True)


def instance_features(features: np.ndarray, mask: np.ndarray, M: int, N: int) -> np.ndarray:
    """The N of the M channels with the highest standard deviation, zero on the background."""
    kept = reduced(features, M)
    kept = kept[:, np.argsort(kept.std(axis=0))[::-1][:N]]
    return kept * mask[:, None]


def foreground(normal: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """Fiedler bipartition, then holes filled, small regions dropped, and a median filter."""
    weights = np.maximum(normal @ normal.T, 0)
    weights /= weights.max()
    degrees = np.diag(weights.sum(axis=1))
    _, vectors = scipy.sparse.linalg.eigsh(
        degrees - weights, k=PAIRS, sigma=0, which="LM", M=degrees
    )
    fiedler = vectors[:, 1]
    if np.mean(fiedler > 0) > 0.5:
        fiedler = -fiedler
    mask = scipy.ndimage.binary_fill_holes((fiedler > 0).reshape(grid))
    labels, count = scipy.ndimage.label(mask, np.ones((3, 3)))
    if count:
        areas = np.bincount(labels.ravel())
        areas[0] = 0
        mask = (areas >= 0.1 * areas.max())[labels] & mask
    return scipy.ndimage.median_filter(mask, 3).ravel()


def affinity(features: np.ndarray) -> np.ndarray:
    """BoC between all tokens, background included."""
    with np.errstate(invalid="ignore"):
        braycurtis = np.nan_to_num(1 / (1 + pairwise_distances(features, metric="braycurtis")))
        chebyshev = np.nan_to_num(1 / (1 + pairwise_distances(features, metric="chebyshev")))
    weights = braycurtis / chebyshev
    return weights / weights.max()


def eigenvectors(weights: np.ndarray) -> np.ndarray:
    """The smallest eigenvectors of the full graph except the first, as rows."""
    degrees = np.diag(weights.sum(axis=1))
    _, vectors = scipy.sparse.linalg.eigsh(degrees - weights, k=PAIRS, which="SM", M=degrees)
    return vectors[:, 1:].T


def clusters(maps: np.ndarray, mask: np.ndarray, grid: tuple[int, int], count: int) -> np.ndarray:
    """Median filter and k-means on the foreground."""
    smooth = [scipy.ndimage.median_filter(segment.reshape(grid), 5).ravel() for segment in maps]
    points = np.stack(smooth, axis=1)[mask]
    labels = np.zeros(mask.size, int)
    labels[mask] = KMeans(count, n_init=1, random_state=0).fit_predict(points) + 1
    return labels
