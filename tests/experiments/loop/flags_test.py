"""Flags as checked values."""

import pytest

from experiments.loop import flags
from experiments.loop.flags import DATASET, Options
from specjax import METRICS, SpecjaxError
from specjax._flags import METHOD, chosen, counts, instance_count, saves, with_flag


def test_no_flag_is_declared_and_not_read(monkeypatch):
    Options.check_fields([*DATASET, *METHOD, "figure"])
    monkeypatch.setitem(METHOD, "sharpen", METHOD["seed"])
    with pytest.raises(TypeError, match=r"--sharpen: add .* Options in experiments/loop/flags\.py"):
        flags.define(metric=True)


def test_instance_counts():
    assert instance_count("oracle") is None
    assert instance_count("1") == 1 and instance_count("254") == 254
    for text in ("0", "255", "-1", "", "three", "1.0", "Oracle", "9" * 50):
        with pytest.raises(SpecjaxError, match="--num_instances="):
            instance_count(text)


def test_metric_names():
    assert chosen("metric", ["boc"], METRICS) == ("boc",)
    assert chosen("metric", [" l2", "boc", "l2 ", ""], METRICS) == ("l2", "boc")
    assert chosen("metric", ["boc", "all"], METRICS) == tuple(METRICS)
    for names in (["euclid"], ["boc", "Boc"], [], ["", " "]):
        with pytest.raises(SpecjaxError, match=r"--metric.*braycurtis"):
            chosen("metric", names, METRICS)


def test_counts_of_channels():
    assert counts("N", "60") == (60,)
    assert counts("N", "60, 20,60,5") == (60, 20, 5)
    for text in ("", "0", "5,", "-1", "1.5", "C/3", "1e2", "1234567"):
        with pytest.raises(SpecjaxError, match=r"--N=.*20,40,60"):
            counts("N", text)


def test_kinds_of_files():
    assert saves([]) == saves([""]) == frozenset()
    assert saves(["labels", " coco"]) == {"labels", "coco"}
    with pytest.raises(SpecjaxError, match=r"--save=masks: choose from .*labels"):
        saves(["labels", "masks"])


def test_errors_of_the_library_get_their_flag():
    assert with_flag(SpecjaxError("too large", parameter="image_size")) == (
        "too large (--image_size)"
    )
    for error in (
        SpecjaxError("too large"),
        SpecjaxError("too large", parameter="no_flag"),
        SpecjaxError("too large: give --image_size", parameter="image_size"),
    ):
        assert with_flag(error) == str(error)
    assert "image_size" in METHOD and "no_flag" not in METHOD
