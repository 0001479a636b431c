"""Independent answers: numpy, scipy, scikit-learn, OpenCV or naive loops, in float64.

Nothing here imports specjax. Masks and maps are 2-D; functions say which library call they are.
"""

import collections
import itertools

import cv2
import numpy as np
import scipy.linalg
import scipy.ndimage
import scipy.optimize
import scipy.stats
import sklearn.cluster
import sklearn.metrics

EIGHT = np.ones((3, 3))

# The metrics that are 1 / (1 + pairwise_distances), with their names in scikit-learn.
_DISTANCES = {
    "braycurtis": "braycurtis",
    "chebyshev": "chebyshev",
    "cosine": "cosine",
    "correlation": "correlation",
    "l1": "manhattan",
    "l2": "euclidean",
    "mahalanobis": "mahalanobis",
}
METRICS = (*_DISTANCES, "boc", "dot")


# ---------------------------------------------------------------- channels


def histogram(features, bins=30):
    """numpy.histogram of each channel, in the features' own precision."""
    return np.stack([np.histogram(channel, bins)[0] for channel in features.T])


def entropy(features, bins=30):
    """scipy.stats.entropy of each channel's histogram, in bits."""
    return scipy.stats.entropy(histogram(features, bins), base=2, axis=1)


def released_entropy(features, bins=30, *, smoothing=0.0, empty=None):
    """The released code's entropy: counts over tokens x channels, no renormalisation."""
    result = []
    for counts in histogram(features, bins):
        if empty is not None and (counts == 0).any():
            result.append(empty)
            continue
        share = (counts + smoothing) / features.size
        result.append(-sum(p * np.log2(p) for p in share if p > 0))
    return np.array(result)


# ---------------------------------------------------------------- affinities and graphs


def affinity(features, metric):
    """Similarity of all pairs, zero rows as scikit-learn treats them, not yet divided."""
    features = np.asarray(features, np.float64)
    if metric == "dot":
        return np.maximum(features @ features.T, 0)
    if metric == "boc":
        # Eq. 8 on the similarities of Eq. 5 and 7, pair by pair.
        return affinity(features, "braycurtis") / affinity(features, "chebyshev")
    extra = {}
    if metric == "mahalanobis":
        extra["VI"] = np.linalg.pinv(np.atleast_2d(np.cov(features.T)), hermitian=True)
    # Correlation and Bray-Curtis of zero rows are 0/0.
    with np.errstate(invalid="ignore", divide="ignore"):
        distance = sklearn.metrics.pairwise_distances(features, metric=_DISTANCES[metric], **extra)
    return np.nan_to_num(1.0 / (1.0 + distance), nan=0.0)


def laplacian_and_degrees(weights):
    """D - W and D, a degree below 1e-12 taken as 1."""
    weights = np.asarray(weights, np.float64)
    total = weights.sum(1)
    deg = np.diag(np.where(total < 1e-12, 1.0, total))
    return deg - weights, deg


def eigenpairs(weights, count):
    """scipy.linalg.eigh(D - W, D): values, vectors as rows."""
    lap, deg = laplacian_and_degrees(weights)
    values, vectors = scipy.linalg.eigh(lap, deg)
    return values[:count], vectors.T[:count]


def eigenpairs_constant_on(background, weights, count):
    """The smallest pairs of the dense problem among vectors constant on `background`.

    Rayleigh-Ritz in that subspace; that it is invariant is for the residuals to show.
    """
    lap, deg = laplacian_and_degrees(weights)
    others = np.flatnonzero(~background)
    basis = np.zeros((len(weights), len(others) + int(background.any())))
    basis[others, np.arange(len(others))] = 1.0
    if background.any():
        basis[background, -1] = 1.0
    values, vectors = scipy.linalg.eigh(basis.T @ lap @ basis, basis.T @ deg @ basis)
    return values[:count], (basis @ vectors).T[:count]


def residuals(weights, values, vectors):
    """|| L y - l D y || of each pair, with y^T D y = 1."""
    lap, deg = laplacian_and_degrees(weights)
    vectors = np.asarray(vectors, np.float64)
    norms = np.einsum("pi,ij,pj->p", vectors, deg, vectors)
    left = lap @ vectors.T - deg @ vectors.T * np.asarray(values, np.float64)
    return np.linalg.norm(left, axis=0) / np.sqrt(norms), norms


def orient(vector, *, break_ties):
    """The sign rule, in words."""
    positive, negative = sum(vector > 0), sum(vector < 0)
    half = len(vector) / 2
    if positive > half and positive < len(vector):
        return -vector
    if break_ties and positive <= half and negative <= half:
        largest = vector[np.argmax(np.abs(vector))]
        return -vector if largest < 0 else vector
    return vector


# ---------------------------------------------------------------- morphology


def random_masks(count, tokens, seed):
    """2-D masks of many shapes and densities: noise and blobs, empty, full, single rows."""
    rng = np.random.default_rng(seed)
    masks = []
    for index in range(count):
        height = int(rng.integers(1, 15))
        width = int(rng.integers(1, tokens // height + 1))
        noise = rng.random((height, width))
        if index % 2:
            noise = scipy.stats.rankdata(scipy.ndimage.gaussian_filter(noise, rng.uniform(0.5, 2)))
            noise = (noise / noise.size).reshape(height, width)
        masks.append(noise <= [0.0, 1.0, *rng.uniform(0.05, 0.95, 8)][index % 10])
    return masks


def first_token_labels(mask, connectivity):
    """scipy.ndimage.label, renamed: the index of the region's first token; -1 outside."""
    structure = EIGHT if connectivity == 8 else None
    numbers, count = scipy.ndimage.label(mask, structure)
    names = np.full(count + 1, -1)
    for number in range(1, count + 1):
        names[number] = np.flatnonzero(numbers == number)[0]
    return names[numbers]


def contour_area(region):
    """cv2.contourArea of the region's outer contour."""
    contours, _ = cv2.findContours(
        np.ascontiguousarray(region, np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
    )
    assert len(contours) == 1
    return cv2.contourArea(contours[0])


def region_areas(mask, area):
    """[(region, its area)] of the 8-connected regions."""
    numbers, count = scipy.ndimage.label(mask, EIGHT)
    regions = [numbers == number for number in range(1, count + 1)]
    measure = contour_area if area == "contour" else np.sum
    return [(region, float(measure(region))) for region in regions]


def drop_small_regions(mask, area, fraction=0.1):
    measured = region_areas(mask, area)
    largest = max((size for _, size in measured), default=0.0)
    kept = np.zeros(mask.shape, bool)
    for region, size in measured:
        # In whole numbers: 3 is not smaller than a tenth of 30.
        if round(2 * size) * 10 >= round(2 * largest) * round(10 * fraction):
            kept |= region
    return kept


def median_mask(mask, size):
    """cv2.medianBlur, which replicates the border."""
    return cv2.medianBlur(np.ascontiguousarray(mask, np.uint8), size).astype(bool)


def invert_if_background(mask):
    strips = [mask[:5], mask[-5:], mask[:, :5], mask[:, -5:]]
    # In integers: 90 % of ten tokens is nine, and nine is not more.
    full = sum(int(strip.sum()) * 10 > 9 * strip.size for strip in strips)
    return ~mask if full >= 2 else mask


def postprocess(mask, *, median_size, area):
    mask = scipy.ndimage.binary_fill_holes(invert_if_background(mask))
    return median_mask(drop_small_regions(mask, area), median_size)


# ---------------------------------------------------------------- clustering and scores


def kmeans_inertia(points, clusters, seed, restarts=10):
    model = sklearn.cluster.KMeans(clusters, n_init=restarts, random_state=seed)
    return model.fit(np.asarray(points)).inertia_


def inertia_of(points, labels):
    """Sum of squared distances to the mean of one's cluster."""
    points = np.asarray(points, np.float64)
    groups = [points[labels == label] for label in np.unique(labels)]
    return sum(((group - group.mean(0)) ** 2).sum() for group in groups)


def f_score(prediction, truth):
    return sklearn.metrics.f1_score(truth, prediction, zero_division=0)


def matched_ious(labels, truth):
    """IoU of each true instance under scipy's optimal assignment; rectangular."""
    true = [truth == g for g in range(1, truth.max(initial=0) + 1)]
    predicted = [labels == k for k in np.unique(labels[labels > 0])]
    ious = np.zeros((len(true), len(predicted)))
    for i, t in enumerate(true):
        for j, p in enumerate(predicted):
            ious[i, j] = (t & p).sum() / max((t | p).sum(), 1)
    rows, columns = scipy.optimize.linear_sum_assignment(ious, maximize=True)
    matched = np.zeros(len(true))
    matched[rows] = ious[rows, columns]
    return matched


# ---------------------------------------------------------------- overlap and sizes of instances


def mbor(instances):
    """Pixels in the intersection of two boxes over pixels in a box, pixel by pixel."""
    corners = {}
    for (row, column), number in np.ndenumerate(instances):
        if number > 0:
            top, left, bottom, right = corners.get(number, (row, column, row, column))
            corners[number] = (
                min(top, row), min(left, column), max(bottom, row), max(right, column)
            )  # fmt: skip
    boxes = [
        {(i, j) for i in range(top, bottom + 1) for j in range(left, right + 1)}
        for top, left, bottom, right in corners.values()
    ]
    shared = [a & b for a, b in itertools.combinations(boxes, 2)]
    union = set().union(*boxes)
    return len(set().union(*shared)) / len(union) if union else None


def size_ratio(instances):
    """Sum of areas over the largest, pixel by pixel."""
    areas = collections.Counter(int(number) for number in instances.flat if number > 0)
    return sum(areas.values()) / max(areas.values()) if areas else None


def similarity_variances(similarities, instances):
    """Mean variance within instances, and variance between them; None where not defined."""
    within, between = {}, []
    for i, j in itertools.combinations(range(len(instances)), 2):
        if instances[i] == 0 or instances[j] == 0:
            continue
        if instances[i] == instances[j]:
            within.setdefault(instances[i], []).append(float(similarities[i][j]))
        else:
            between.append(float(similarities[i][j]))
    variances = [np.var(pairs) for pairs in within.values() if len(pairs) > 1]
    if not variances or len(between) < 2:
        return None
    return sum(variances) / len(variances), np.var(between)
