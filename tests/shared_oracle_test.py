"""Stage by stage against the arrays of an independent run, each stage from stored inputs.

The three images are padded to one length, as a run pads them, so that they share programs.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import specjax
from specjax import PAPER, REFERENCE, foreground, instances, morphology
from specjax.channels import channel_histogram
from tests.support import oracles

FILES = ["tiny_voc_2011000003", "voc_2011000006", "coco_000000142238"]
# Our name, and the prefix of what the file holds.
METRICS = {"boc": "", "l1": "manhattan_", "l2": "euclidean_"} | {
    name: f"{name}_"
    for name in ("braycurtis", "chebyshev", "correlation", "cosine", "dot", "mahalanobis")
}
TOKENS, CAPACITY, MOST = 1152, 448, 16
SOLVERS = ("eigh", "krylov")

_entropy = specjax.channel_entropy
_ncr = specjax.noise_channel_reduction
_bipartition = specjax.bipartition
_segments = jax.jit(instances.eigensegments, static_argnames=("break_ties",))
_instance_graph = specjax.instance_graph
_eigenpairs = specjax.smallest_eigenpairs
_cluster = jax.jit(instances.cluster_eigensegments, static_argnames=("max_instances",))
_scores = specjax.instance_scores
_kmeans = specjax.kmeans


class Case(dict):
    """The arrays of one file, and what follows from them."""

    @property
    def shape(self):
        return tuple(int(side) for side in self["grid"])

    @property
    def grid(self):
        return jnp.asarray(self.shape)

    @property
    def tokens(self):
        return self.shape[0] * self.shape[1]

    @functools.cached_property
    def unit(self):
        """L2-normalised by numpy, as the stored ones were: bins are sensitive to the last bit."""
        features = self["features"]
        return jnp.asarray(features / np.linalg.norm(features, axis=1, keepdims=True))

    @property
    def mask(self):
        return self["mask"].ravel() > 0

    @property
    def truth(self):
        """Instance numbers on the grid: the file's are a partition with arbitrary names."""
        return np.unique(self["gt_token_grid"].ravel(), return_inverse=True)[1]

    def pad(self, array):
        array = np.asarray(array)
        widths = ((0, TOKENS - len(array)),) + ((0, 0),) * (array.ndim - 1)
        return jnp.asarray(np.pad(array, widths))

    def crop(self, array):
        array = np.asarray(array)
        assert not array[self.tokens :].any()
        return array[: self.tokens].reshape(self["grid"])


@pytest.fixture(scope="module", params=FILES)
def case(request, shared_oracle):
    return load(shared_oracle, request.param)


@pytest.fixture(scope="module")
def with_affinities(shared_oracle):
    """The one file that stores them."""
    return load(shared_oracle, "voc_2011000006")


def load(folder, name):
    with np.load(folder / f"{name}.npz") as arrays:
        return Case(arrays)


def test_histograms(case):
    histogram = jax.jit(channel_histogram)
    np.testing.assert_array_equal(histogram(jnp.asarray(case["features"])), case["inst_hist"])
    np.testing.assert_array_equal(histogram(case.unit), case["fgbg_hist"])


def test_entropies(case):
    actual = _entropy(case.unit, rule=REFERENCE.foreground_entropy)
    np.testing.assert_allclose(actual, case["fgbg_entropy"], rtol=1e-5)
    raw = jnp.asarray(case["features"])
    actual = _entropy(raw, rule=REFERENCE.instance_entropy)
    np.testing.assert_allclose(actual, case["inst_entropy"], rtol=1e-5)


def test_channel_reduction(case):
    raw, stored = jnp.asarray(case["features"]), case["ncr_channels"]
    for protocol in (REFERENCE, PAPER):
        actual = _ncr(raw, keep=len(stored), rule=protocol.instance_entropy)
        assert set(np.asarray(actual)) == set(stored)
    reduced, stored = specjax.normalize_tokens(raw[:, stored]), case["dcr_indices"]
    actual = specjax.deviation_channel_reduction(reduced, keep=len(stored))
    assert set(np.asarray(actual)) == set(stored)
    deviation = case["dcr_std"] * np.sqrt(1 - 1 / case.tokens)
    np.testing.assert_allclose(specjax.channel_deviation(reduced), deviation, rtol=1e-4)


def test_instance_features(case):
    """From raw features to F'', whose channels come in another order: compared by products."""
    M, N = len(case["ncr_channels"]), len(case["dcr_indices"])
    actual = specjax.reduce_features(
        case.pad(case["features"]),
        case.pad(case.mask),
        case.grid,
        config=specjax.Config(M=M, N=N, protocol=REFERENCE),
    )
    actual, reference = np.asarray(actual)[: case.tokens], case["inst_feats_masked"]
    np.testing.assert_allclose(actual @ actual.T, reference @ reference.T, rtol=0, atol=2e-6)
    np.testing.assert_array_equal(actual.any(1), reference.any(1))


@pytest.fixture(scope="module")
def chosen(case):
    """Features of the foreground stage, from the stored channels.

    Channels of zeros, which change no dot product, make the three images one shape.
    """
    chosen = np.asarray(case.unit)[:, case["fgbg_channels"]]
    return case.pad(np.pad(chosen, ((0, 0), (0, 128 - chosen.shape[1]))))


def test_all_foreground_eigenvalues(case, chosen):
    valid = jnp.arange(TOKENS) < case.tokens
    graph = jax.jit(foreground.foreground_graph)(chosen, valid=valid)
    for solver in SOLVERS:
        pairs = _eigenpairs(graph, count=5, solver=solver, valid=valid)
        np.testing.assert_allclose(pairs.values, case["fgbg_eigenvalues"], rtol=0, atol=1e-5)


@pytest.fixture(scope="module")
def splits(case, chosen):
    """The bipartition from the stored channels, by each solver."""
    return [_bipartition(chosen, case.grid, solver=solver, break_ties=False) for solver in SOLVERS]


def test_bipartition(case, splits):
    for split in splits:
        np.testing.assert_allclose(
            split.eigenvalues, case["fgbg_eigenvalues"][:2], rtol=0, atol=1e-5
        )
        np.testing.assert_array_equal(case.crop(split.mask), case["segmap"])


def test_foreground_graph(with_affinities):
    case = with_affinities
    actual = foreground.foreground_graph(case.unit[:, case["fgbg_channels"]])
    np.testing.assert_allclose(actual, case["fgbg_affinity"], rtol=0, atol=1e-5)


@jax.jit
def _postprocess(mask, grid):
    inverted = foreground.invert_if_background(mask, grid)
    filled = morphology.fill_holes(inverted, grid)
    no_small = morphology.drop_small_regions(filled, grid, area=REFERENCE.region_area)
    mask = specjax.postprocess(
        mask, grid, median_size=REFERENCE.foreground_median, area=REFERENCE.region_area
    )
    return inverted, no_small, mask


def test_postprocessing(case, splits):
    """From the stored segmap, and from each solver's own."""
    for start in (case.pad(case["segmap"].ravel()), *(split.mask for split in splits)):
        steps = _postprocess(start, case.grid)
        for step, key in zip(steps, ("post_inverted", "post_nosmall", "mask"), strict=True):
            np.testing.assert_array_equal(case.crop(step), case[key] > 0)


def test_f_score(case):
    truth, counted = jnp.asarray(case.truth > 0), jnp.ones(case.tokens, bool)
    assert not case["inverted"]
    for key, name in (("mask", "f_score"), ("segmap", "f_score_nopost")):
        mask = case[key].ravel() > 0
        actual = specjax.f_score(jnp.asarray(mask), truth, counted=counted)
        np.testing.assert_allclose(actual, case[name], rtol=0, atol=1e-6)


@pytest.mark.parametrize("metric", METRICS)
def test_affinities(with_affinities, metric):
    features = jnp.asarray(with_affinities["inst_feats_masked"])
    actual = specjax.affinity_matrix(features, metric=metric)
    reference = with_affinities[(METRICS[metric] or "boc_") + "affinity"]
    tolerance = 1e-4 if metric == "mahalanobis" else 1e-5
    np.testing.assert_allclose(actual / actual.max(), reference, rtol=0, atol=tolerance)


def degenerate(case, metric):
    """The eigenvalue of vectors on the background alone: 1 - (w_self - w_other) / d_bg."""
    if metric == "correlation":
        # It is 0, in the stored run in place of the foreground's own 0: all can be compared.
        return np.inf
    front, back = np.flatnonzero(case.mask), np.flatnonzero(~case.mask)
    # Two tokens stand for the background, but where a covariance is over all.
    used = np.r_[front, back if metric == "mahalanobis" else back[:2]]
    weights = oracles.affinity(case["inst_feats_masked"][used], metric)[len(front)]
    to_self, to_other = weights[len(front) :][:2]
    degree = weights[: len(front)].sum() + to_self + (len(back) - 1) * to_other
    return 1 - (to_self - to_other) / max(degree, 1e-12)


@pytest.mark.parametrize("metric", METRICS)
def test_eigenvalues_and_labels(case, metric):
    """Eigenvalues as stored below the metric's degenerate one; both solvers' labels alike."""
    mask, features = case.pad(case.mask), case.pad(case["inst_feats_masked"])
    graph, nodes = _instance_graph(features, mask, case.grid, metric=metric, capacity=CAPACITY)
    results = [
        _eigenpairs(graph, count=instances.SEGMENTS + 1, solver=solver, valid=nodes)
        for solver in SOLVERS
    ]
    stored = case[(METRICS[metric] or "inst_") + "eigenvalues"]
    below = stored < degenerate(case, metric) - 1e-5
    assert below.sum() >= 2
    labels = []
    for pairs in results:
        np.testing.assert_allclose(pairs.values[below], stored[below], rtol=0, atol=1e-5)
        maps = _segments(pairs, mask, case.grid, break_ties=False)
        arguments = maps, mask, case.grid, int(case["n_gt"]), jax.random.key(0)
        labels.append(case.crop(_cluster(*arguments, max_instances=MOST)))
    first, second = (pairs.values for pairs in results)
    np.testing.assert_allclose(first, second, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(*labels)
    np.testing.assert_array_equal(labels[0] > 0, case["mask"] > 0)


@pytest.mark.parametrize("metric", METRICS)
def test_miou_of_stored_labels(case, metric):
    stored = case[METRICS[metric] + "labels"].ravel()
    labels, truth = (case.pad(x.astype(np.int32)) for x in (stored, case.truth))
    counted = jnp.arange(TOKENS) < case.tokens
    scores = _scores(labels, truth, counted=counted, max_instances=MOST)
    np.testing.assert_allclose(scores.mean, case[METRICS[metric] + "miou"], rtol=0, atol=1e-6)


def test_kmeans_of_stored_embeddings(case):
    points = case["embedding"].reshape(case.tokens, -1)
    clusters = int(case["n_gt"])
    mask = case.pad(case.mask)
    for seed in range(3):
        key = jax.random.key(seed)
        actual = _kmeans(case.pad(points), clusters, key, max_clusters=MOST, mask=mask)
        reference = oracles.kmeans_inertia(points[case.mask], clusters, seed)
        assert actual.inertia <= 1.01 * reference
