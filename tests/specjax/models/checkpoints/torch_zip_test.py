"""Torch's zip format: what is read, and files that are damaged or of another kind."""

import argparse
import collections
import pathlib
import pickle
import zipfile

import ml_dtypes
import numpy as np
import pytest

from specjax.errors import SpecjaxError
from specjax.models.checkpoints.files import read_tensors
from specjax.models.checkpoints.torch_zip import StoredTensor, read_torch_zip
from tests.support.torch_files import (
    Program,
    Raw,
    View,
    global_,
    pickled,
    refuse,
    write_torch_zip,
)


def test_reads_every_dtype_and_shape(tmp_path):
    rng = np.random.default_rng(0)
    saved = {
        "single": rng.normal(size=(3, 4, 5)).astype(np.float32),
        "double": rng.normal(size=(2, 3)),
        "half": rng.normal(size=7).astype(np.float16),
        "brain": rng.normal(size=(4, 2)).astype(ml_dtypes.bfloat16),
        "integers": np.arange(5),
        "scalar": np.array(3.5, np.float32),
        "empty": np.zeros((0, 3), np.float32),
    }
    tensors = read_tensors(write_torch_zip(tmp_path / "a.pth", saved))
    assert tensors.keys() == saved.keys()
    for name, array in saved.items():
        assert tensors[name].dtype == array.dtype
        np.testing.assert_array_equal(tensors[name], array)


def test_reads_views_of_a_shared_storage(tmp_path):
    storage = np.arange(24, dtype=np.float32)
    saved = {"tail": View(storage, 12, (3, 4), (4, 1)), "turned": View(storage, 2, (4, 3), (1, 4))}
    tensors = read_tensors(write_torch_zip(tmp_path / "a.pth", saved))
    np.testing.assert_array_equal(tensors["tail"], storage[12:].reshape(3, 4))
    np.testing.assert_array_equal(tensors["turned"], storage[2:14].reshape(3, 4).T)


def test_parameters_and_state_dict_attributes(tmp_path):
    program = Program()
    array = np.ones(2, np.float32)
    parameter = (Raw(program.value(array)), True, {})
    rebuild = global_("torch._utils", "_rebuild_parameter")
    # As torch.save writes the `_metadata` of a state dict: BUILD on the dictionary.
    body = program.value({"w": Raw(rebuild + program.value(parameter) + b"R")})
    body += b"}" + program.value("_metadata") + b"}sb"
    path = tmp_path / "a.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/data.pkl", b"\x80\x02" + body + b".")
        archive.writestr("x/data/0", array.tobytes())
    np.testing.assert_array_equal(read_tensors(path)["w"], array)


def test_only_chosen_tensors_are_read(tmp_path):
    saved = {"model": {"w": np.ones(3, np.float32)}, "optimizer": {"m": np.ones(9, np.float32)}}
    path = write_torch_zip(tmp_path / "a.pth", saved)

    def choose(saved):
        assert isinstance(saved["optimizer"]["m"], StoredTensor)
        return saved["model"]

    assert list(read_torch_zip(path, choose)) == ["w"]


class Recorder(list):
    """A list with attributes, filled by APPENDS and BUILD."""


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_objects_beside_the_weights_are_passed_over(tmp_path, protocol):
    recorder = Recorder("abc")
    recorder.args = argparse.Namespace(arch="vit_small", epochs=3)
    objects = {
        "args": argparse.Namespace(arch="vit_small", patch_size=16),
        "best": np.float64(0.5),
        "history": collections.defaultdict(list, loss=[3.0, np.float32(2.0)]),
        "last": collections.deque([1, 2]),
        "recorder": recorder,
        "path": pathlib.PurePosixPath("a/b"),
    }
    weights = {"w": np.arange(3, dtype=np.float32)}
    saved = {"args": pickled(objects, protocol), "model": weights, "epoch": 3}
    tensors = read_tensors(write_torch_zip(tmp_path / "a.pth", saved))
    assert list(tensors) == ["model.w"]
    np.testing.assert_array_equal(tensors["model.w"], weights["w"])


def test_truncated_anywhere(tmp_path):
    path = write_torch_zip(tmp_path / "a.pth", {"w": np.ones((8, 8), np.float32)})
    whole = path.read_bytes()
    for length in (0, 3, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        refuse(path)


def test_damaged_storage(tmp_path):
    path = write_torch_zip(tmp_path / "a.pth", {"w": np.full((8, 8), 3, np.float32)})
    value = np.float32(3).tobytes() * 64
    path.write_bytes(path.read_bytes().replace(value, value[:-1] + b"\0"))
    refuse(path, "damaged")


def test_compressed_and_oversized_archives_are_refused(tmp_path):
    saved = {"w": np.zeros(1 << 16, np.float32)}
    path = write_torch_zip(tmp_path / "a.pth", saved, compression=zipfile.ZIP_DEFLATED)
    refuse(path, "compressed")
    path = write_torch_zip(tmp_path / "b.pth", {"w": np.zeros(4, np.float32)})
    # The directory entry of the storage claims more than the file has.
    data = path.read_bytes()
    place = data.index(b"archive/data/0", data.index(b"PK\x01\x02")) - 46 + 20
    path.write_bytes(data[:place] + (1 << 28).to_bytes(4, "little") * 2 + data[place + 8 :])
    refuse(path, "claims")


def test_other_files(tmp_path):
    old = tmp_path / "old.pth"
    old.write_bytes(pickle.dumps(0x1950A86A20F9469CFC6C, 2))
    refuse(old, "re-save")
    big = write_torch_zip(tmp_path / "big.pth", {"w": np.ones(2, np.float32)}, byte_order=b"big")
    refuse(big, "little-endian")
    absent = write_torch_zip(
        tmp_path / "absent.pth", {"w": np.ones(2, np.float32)}, leave_out=("0",)
    )
    refuse(absent, "missing")
    plain = tmp_path / "plain.pth"
    with zipfile.ZipFile(plain, "w") as archive:
        archive.writestr("readme", "hello")
    refuse(plain, "data.pkl")
    with pytest.raises(SpecjaxError, match="cannot read"):
        read_torch_zip(tmp_path / "nothing.pth", lambda saved: {})
