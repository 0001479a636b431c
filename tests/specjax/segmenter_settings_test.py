"""The settings of a `Segmenter`, and its errors and warnings."""

import dataclasses
import logging

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import specjax
from specjax import SpecjaxError
from tests.support.segmenters import opened


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("metric", "l7"), ("M", "C/0"), ("M", 49), ("N", 0), ("N", True), ("bins", 0),
        ("protocol", "papers"), ("solver", "lobpcg"), ("image_size", 0), ("image_size", True),
        ("pos_interpolation", "bicubic"), ("dtype", "float16"), ("batch_size", 0), ("seed", -1),
        ("seed", 2**32), ("features", "kays"), ("features", "keys,"), ("layer", 0), ("layer", 3),
        ("method", "ncut"), ("tau", 1.5), ("rounds", 0), ("rounds", True),
    ],
)  # fmt: skip
def test_wrong_settings(checkpoint, name, value):
    with pytest.raises(SpecjaxError) as error:
        opened(checkpoint, **{name: value})
    assert error.value.parameter == name
    assert "\n" not in str(error.value) and "--" not in str(error.value)


@pytest.mark.parametrize("count", [0, 255, True])
def test_wrong_numbers_of_instances(segment, paths, count):
    for call in (segment, segment.stream):
        with pytest.raises(SpecjaxError, match="num_instances is") as error:
            call(paths, num_instances=count)
        assert error.value.parameter == "num_instances"


def test_more_channels_than_are_left(checkpoint):
    with pytest.warns(UserWarning, match=r"N=60 is more than M=12; N=12 is used"):
        segment = opened(checkpoint, M=12, N=60)
    assert (segment.config.M, segment.config.N) == (12, 12)


def test_more_instances_than_tokens(checkpoint, paths):
    own = opened(checkpoint, image_size=None)
    with pytest.warns(
        UserWarning, match=r"000000.jpg': 8 instances were asked for.* tokens is [1-7]$"
    ):
        found = own(paths[0], num_instances=8)
    assert 0 < found.token_labels.max() <= found.foreground.sum()
    assert len(found.masks) == len(found.scores) == found.token_labels.max()


def test_what_is_no_photograph(segment, tmp_path):
    for wrong, reason in (
        (np.zeros((40, 40), np.uint8), r"uint8 \[40, 40\]"),
        (np.zeros((40, 40, 4), np.uint8), r"uint8 \[40, 40, 4\]"),
        (np.zeros((40, 40, 3), np.float32), "float32"),
        (np.zeros((0, 40, 3), np.uint8), "no pixels"),
        (Image.new("RGB", (40, 0)), "no pixels"),
        (Image.new("F", (40, 40)), "floating-point"),
        (tmp_path / "nowhere.jpg", r"nowhere\.jpg': no such file"),
    ):
        with pytest.raises(SpecjaxError, match=reason):
            segment(wrong, num_instances=3)


def test_photographs_too_small_and_too_large(checkpoint):
    own = opened(checkpoint, image_size=None)
    for shape, reason in (((8, 90, 3), "smaller than one patch"), ((2300, 2300, 3), "20449 tok")):
        with pytest.raises(SpecjaxError, match=reason) as error:
            own(np.zeros(shape, np.uint8), num_instances=3)
        assert error.value.parameter == "image_size"


@pytest.mark.parametrize("count", [3, None])
def test_features_that_are_not_finite(checkpoint, paths, count):
    model = jax.tree.map(lambda leaf: leaf * jnp.nan, checkpoint.model)
    segment = opened(dataclasses.replace(checkpoint, model=model))
    ((_, error),) = segment.stream(paths[:1], num_instances=count)
    assert isinstance(error, SpecjaxError) and "not finite" in str(error)
    assert paths[0].name in str(error)


def test_a_segmenter_does_not_change(segment):
    with pytest.raises(dataclasses.FrozenInstanceError):
        segment.M = 3
    assert segment.backbone is segment.checkpoint


def test_the_built_in_backbone_is_announced(caplog):
    """In one line, once."""
    lines = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    logger = logging.getLogger("specjax")
    logger.addHandler(handler)
    try:
        built_in = specjax.Segmenter()
        named = specjax.Segmenter("specjax-mini")
    finally:
        logger.removeHandler(handler)
    (line,) = lines
    assert "specjax-mini" in line and "facebook/dinov2-small" in line
    assert built_in.backbone.digest == named.backbone.digest
    with pytest.raises(SpecjaxError, match="no such file or folder"):
        specjax.Segmenter("nowhere")
