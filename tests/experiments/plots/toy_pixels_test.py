"""Fig. 6 and 7: three pixels worked by hand."""

import numpy as np
import pytest

from experiments.plots import toy_pixels
from tests.support import plots

# a.b = 0.34 + 0.09 + 0.07; differences 0.8 + 0.6 of sums 2.8 + 1.0 + 0.8; the largest 0.8.
EXPECTED = {
    "dot": (0.5, 0.51, 1.69),
    "braycurtis": (4.6 / 6.0, 4.7 / 6.2, 6.1 / 6.4),
    "boc": (4.6 / 6.0 * 1.8, 4.7 / 6.2 * 1.8, 6.1 / 6.4 * 1.2),
}


def test_three_pixels_by_hand():
    """Six channels are common; 0.1 becomes 0.9 and 0.7 in b, 0.8 and 0.9 in c."""
    features = toy_pixels.pixels()
    for other in (1, 2):
        differing = (features[0] != features[other]).nonzero()[0]
        assert differing.tolist() == list(toy_pixels.IRREGULAR)
    results = toy_pixels.similarities(features)
    assert [result.metric for result in results] == list(EXPECTED)
    for result in results:
        pairs = EXPECTED[result.metric]
        np.testing.assert_allclose(result.pairs, pairs, rtol=1e-6)
        np.testing.assert_allclose(result.spread, np.std(pairs) / np.mean(pairs), rtol=1e-5)
        assert result.matrix.shape == (3, 3)
    # The point of the figure: to the dot product only the irregular pixels look similar.
    dot, braycurtis, _ = (result.spread for result in results)
    assert dot > 5 * braycurtis


def test_plot(tmp_path):
    paths = toy_pixels.write(tmp_path)
    assert [path.name for path in paths] == ["toy.png", "toy.svg", "toy.csv"]
    rows = plots.rows_of(paths[2])
    assert tuple(rows[0]) == toy_pixels.HEADER == ("metric", "a-b", "a-c", "b-c", "spread")
    for row, (metric, pairs) in zip(rows, EXPECTED.items(), strict=True):
        assert row["metric"] == metric
        found = [float(row[pair]) for pair in ("a-b", "a-c", "b-c")]
        assert found == pytest.approx(pairs)
    texts = plots.texts_of(paths[1])
    # Each matrix is symmetric, and its diagonal is left out.
    assert texts.count("1.690") == texts.count("0.500") == 2
    assert {"pixel a", "pixel b", "pixel c", "dot product", "Bray-Curtis", "BoC"} <= {*texts}
