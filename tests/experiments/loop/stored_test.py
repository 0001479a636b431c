"""Stored features: files from elsewhere are data, and are not trusted."""

import io
import zipfile

import numpy as np
import pytest

from experiments.loop import stored as stored_module
from experiments.loop.stored import StoredFeatures, save_features
from specjax import SpecjaxError, Tiling

GOOD = {"features": np.ones((6, 4), np.float32), "grid": np.array([2, 3])}
IMAGE = np.zeros((33, 50, 3), np.uint8)


def stored(folder, ids=("a",)):
    return StoredFeatures(folder, ids)


def refused(folder, *words):
    with pytest.raises(SpecjaxError) as caught:
        stored(folder).prepare("a", IMAGE)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 500 and "a.npz" in message
    for word in words:
        assert word in message


def test_what_is_saved_is_read(tmp_path):
    array = np.random.default_rng(0).normal(size=(256, 4)).astype(np.float32)
    save_features(tmp_path / "b" / "a.1.npz", array, Tiling(2, 3, 16, (33, 50)))
    found = stored(tmp_path, ["b/a.1"]).prepare("b/a.1", IMAGE)
    assert found.tiling == Tiling(2, 3, 16, (33, 50))
    np.testing.assert_array_equal(found.values[:6], array[:6])
    assert found.values.shape == (256, 4) and not np.any(found.values[6:])


@pytest.mark.parametrize("dtype", [np.float16, np.float64, ">f4"])
def test_other_floating_point_types(tmp_path, dtype):
    np.savez_compressed(tmp_path / "a.npz", **{**GOOD, "features": np.eye(6, 4, dtype=dtype)})
    array = np.asarray(stored(tmp_path).prepare("a", IMAGE).values)
    assert array.dtype == np.float32
    np.testing.assert_array_equal(array[:6], np.eye(6, 4))


def test_the_patch_size_is_what_fits(tmp_path):
    for grid, size, patch_size in (
        ((2, 3), (33, 50), 16), ((4, 6), (64, 96), 16), ((8, 12), (64, 96), 8), ((1, 1), (7, 9), 7),
        ((4, 6), (56, 84), 14), ((33, 50), (33, 50), 1),
    ):  # fmt: skip
        np.savez(tmp_path / "a.npz", features=np.ones((grid[0] * grid[1], 4)), grid=grid)
        image = np.zeros((*size, 3), np.uint8)
        assert stored(tmp_path).prepare("a", image).tiling.patch_size == patch_size


def test_the_first_file_may_be_missing(tmp_path):
    np.savez(tmp_path / "b.npz", **GOOD)
    source = stored(tmp_path, ["a", "b"])
    assert source.channels == 4
    with pytest.raises(SpecjaxError, match=r"a\.npz: no such file"):
        source.prepare("a", IMAGE)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"features": np.ones((6, 4), int)}, "floating point"),
        ({"features": np.ones((6, 4), complex)}, "floating point"),
        ({"features": np.ones(6)}, "[n, C]"),
        ({"features": np.ones((1, 6, 4))}, "[n, C]"),
        ({"features": np.ones((6, 0))}, "[n, C]"),
        ({"features": np.ones((7, 4))}, "CLS"),
        ({"features": np.array([None] * 6)}, "npz"),
        ({"features": np.full((6, 4), np.inf)}, "infinite"),
        ({"features": np.full((6, 4), 1e300)}, "infinite"),
        ({"grid": np.array([2.0, 3.0])}, "two positive integers"),
        ({"grid": np.array([2, 3, 1])}, "two positive integers"),
        ({"grid": np.array([-2, -3])}, "two positive integers"),
        ({"grid": np.array(6)}, "two positive integers"),
        ({"grid": np.array([3, 2])}, "3x2"),
        ({"grid": np.array([1, 6])}, "1x6"),
        ({"patch_size": np.array(0)}, "patch_size"),
        ({"patch_size": np.array(8)}, "33"),
        ({"patch_size": np.array([16, 16])}, "npz"),
        ({"patch_size": np.array("big")}, "npz"),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow encountered in cast:RuntimeWarning")
def test_contents_that_are_no_features(tmp_path, changes, word):
    np.savez(tmp_path / "a.npz", **{**GOOD, **changes})
    refused(tmp_path, word)


def npy_header(shape, descr="<f4"):
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        stream, {"descr": descr, "fortran_order": False, "shape": shape}
    )
    return stream.getvalue()


@pytest.mark.parametrize(
    "header",
    [
        npy_header((10**12, 10**3)),
        npy_header((10**30, 4)),
        npy_header((-6, 4)),
        npy_header((6, 4), "|O"),
        npy_header((6, 4), "<f99"),
        b"\x93NUMPY\x01\x00\xff\xff{",
        b"",
    ],
)
def test_headers_that_lie(tmp_path, header):
    good = io.BytesIO()
    np.save(good, GOOD["grid"])
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("features.npy", header)
        archive.writestr("grid.npy", good.getvalue())
    refused(tmp_path, "npz")


def test_damaged_archives(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", **{**GOOD, "features": np.eye(6, 4)})
    whole = (tmp_path / "a.npz").read_bytes()
    for length in range(0, len(whole), 37):
        (tmp_path / "a.npz").write_bytes(whole[:length])
        refused(tmp_path)
    outcomes = set()
    for position in range(len(whole)):
        flipped = bytearray(whole)
        flipped[position] ^= 0x55
        (tmp_path / "a.npz").write_bytes(bytes(flipped))
        try:
            stored(tmp_path).prepare("a", IMAGE)
            outcomes.add("read")
        except SpecjaxError as error:
            assert "\n" not in str(error)
            outcomes.add("refused")
    assert "refused" in outcomes


def test_a_bomb_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(stored_module, "_MAX_BYTES", 10_000)
    np.savez_compressed(tmp_path / "a.npz", **{**GOOD, "more": np.zeros(20_000, np.uint8)})
    refused(tmp_path, "more than 10000 bytes")


def test_too_many_tokens(tmp_path):
    grid = (201, 100)
    np.savez(tmp_path / "a.npz", features=np.ones((201 * 100, 1), np.float32), grid=grid)
    source = stored(tmp_path)
    with pytest.raises(SpecjaxError, match=r"20100 tokens.*short side") as caught:
        source.prepare("a", np.zeros((201, 100, 3), np.uint8))
    assert caught.value.parameter == "image_size"
