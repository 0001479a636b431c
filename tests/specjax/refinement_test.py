import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage

import specjax
from specjax import refinement
from specjax.tokens import Tiling


def guided_filter(image, mask, radius, smoothness):
    """He, Sun and Tang's filter with windows cut at the border, by its definition, in float64."""
    height, width = mask.shape

    def windows(maps):
        out = np.zeros((height, width, *maps.shape[2:]))
        for i in range(height):
            for j in range(width):
                rows = slice(max(i - radius, 0), i + radius + 1)
                columns = slice(max(j - radius, 0), j + radius + 1)
                out[i, j] = maps[rows, columns].mean(axis=(0, 1))
        return out

    slopes, offsets = np.zeros((height, width, 3)), np.zeros((height, width))
    for i in range(height):
        for j in range(width):
            rows = slice(max(i - radius, 0), i + radius + 1)
            columns = slice(max(j - radius, 0), j + radius + 1)
            colors, values = image[rows, columns].reshape(-1, 3), mask[rows, columns].ravel()
            centered = colors - colors.mean(axis=0)
            covariance = centered.T @ centered / len(colors) + smoothness * np.eye(3)
            together = centered.T @ (values - values.mean()) / len(colors)
            slopes[i, j] = np.linalg.solve(covariance, together)
            offsets[i, j] = values.mean() - slopes[i, j] @ colors.mean(axis=0)
    line = (windows(slopes) * image).sum(axis=-1) + windows(offsets[..., None])[..., 0]
    return np.clip(line, 0, 1)


@pytest.fixture(scope="module")
def picture():
    return np.random.default_rng(0).integers(0, 256, (30, 43, 3), np.uint8)


# The widest window is wider than the picture.
@pytest.mark.parametrize(
    ("radius", "smoothness"), [(3, 3e-4), (3, 1e-1), (1, 1e-2), (8, 1e-2), (70, 1e-2)]
)
def test_is_the_guided_filter(picture, radius, smoothness):
    tiling = Tiling.of_image((30, 43), 5)
    mask = np.random.default_rng(1).random(tiling.grid) > 0.5
    given = {"radius": radius / 5, "smoothness": smoothness}
    found = specjax.refine(mask[None], picture, tiling, **given)[0]
    # Linear between the centers of tokens, and constant outside them.
    rows, columns = ((np.arange(side) + 0.5) / 5 - 0.5 for side in (30, 43))
    places = np.meshgrid(
        np.clip(rows, 0, tiling.rows - 1), np.clip(columns, 0, tiling.columns - 1), indexing="ij"
    )
    smooth = scipy.ndimage.map_coordinates(mask.astype(float), places, order=1)
    expected = guided_filter(picture / 255.0, smooth, radius, smoothness)
    np.testing.assert_allclose(found, expected, atol=2e-4)


def test_follows_the_edge_of_an_image_of_two_colors():
    image = np.zeros((64, 96, 3), np.uint8)
    image[20:50, 37:71] = 200, 40, 90
    tiling = Tiling.of_image((64, 96), 8)
    # Tokens whose center is on the rectangle.
    mask = image[4::8, 4::8, 0] > 0
    blocks = specjax.to_pixels(mask, tiling, (64, 96))
    refined = specjax.refine(mask[None], image, tiling)[0] > 0.5
    truth = image[..., 0] > 0
    assert (refined != truth).mean() < 0.4 * (blocks != truth).mean()


def test_a_constant_mask_stays_and_covers_the_remainder(picture):
    tiling = Tiling.of_image((30, 43), 8)
    masks = np.stack([np.ones(tiling.grid), np.zeros(tiling.grid)])
    found = specjax.refine(masks, picture, tiling)
    np.testing.assert_allclose(found[0], 1, atol=1e-4)
    np.testing.assert_allclose(found[1], 0, atol=1e-4)


def test_image_of_another_size_than_was_cut():
    image = np.zeros((80, 120, 3), np.uint8)
    image[:, 60:] = 255
    tiling = Tiling.of_image((40, 60), 10)
    mask = np.arange(6)[None] >= 3
    found = specjax.refine(np.repeat(mask, 4, axis=0)[None], image, tiling)[0] > 0.5
    np.testing.assert_array_equal(found, image[..., 0] > 0)


def test_a_reduced_image_gives_nearly_the_same(monkeypatch):
    image = np.zeros((64, 96, 3), np.uint8)
    image[20:50, 36:70] = 200, 40, 90
    tiling = Tiling.of_image((64, 96), 16)
    mask = (image[8::16, 8::16, 0] > 0)[None]
    full = specjax.refine(mask, image, tiling)[0]
    monkeypatch.setattr(refinement, "_REDUCED", 48)
    half = specjax.refine(mask, image, tiling)[0]
    assert ((full > 0.5) != (half > 0.5)).mean() < 0.01


def test_no_mask(picture):
    tiling = Tiling.of_image((30, 43), 5)
    assert specjax.refine(np.zeros((0, *tiling.grid)), picture, tiling).shape == (0, 30, 43)


def test_device_arrays(picture):
    tiling = Tiling.of_image((30, 43), 5)
    masks = np.random.default_rng(1).random((2, *tiling.grid))
    np.testing.assert_array_equal(
        specjax.refine(jnp.asarray(masks, jnp.float32), picture, tiling),
        specjax.refine(masks, picture, tiling),
    )
