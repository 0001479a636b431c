"""Writes torch's zip format without torch or the library: good files, and hostile ones."""

import pickle
import struct
import zipfile

import ml_dtypes
import numpy as np
import pytest

from specjax.errors import SpecjaxError
from specjax.models.checkpoints.files import read_tensors

STORAGES = {
    np.dtype(np.float64): "DoubleStorage",
    np.dtype(np.float32): "FloatStorage",
    np.dtype(np.float16): "HalfStorage",
    np.dtype(ml_dtypes.bfloat16): "BFloat16Storage",
    np.dtype(np.int64): "LongStorage",
}


class Raw(bytes):
    """Opcodes that leave one value on the stack."""


class View:
    """A tensor of given offset, shape and strides within the storage of a flat array."""

    def __init__(self, storage, offset, shape, strides):
        self.storage, self.offset, self.shape, self.strides = storage, offset, shape, strides


def global_(module, name):
    return Raw(f"c{module}\n{name}\n".encode())


def call(function, *arguments):
    """`function(*arguments)`, run by the reader if it lets it."""
    return Raw(function + Program().value(arguments) + b"R")


def pickled(item, protocol=2):
    """What the pickler writes of any object: once in a file, as it numbers the memo from 0."""
    return Raw(pickle.dumps(item, protocol)[2:-1])


class Program:
    """A pickle (protocol 2) under construction, and the storages it refers to."""

    def __init__(self):
        self.storages = {}  # key -> array

    def value(self, item):
        match item:
            case Raw():
                return bytes(item)
            case None:
                return b"N"
            case bool():
                return b"\x88" if item else b"\x89"
            case int():
                return pickle.dumps(item, 2)[2:-1]
            case str():
                text = item.encode()
                return b"X" + struct.pack("<I", len(text)) + text
            case tuple() | list():
                return b"(" + b"".join(map(self.value, item)) + b"t"
            case dict():
                pairs = b"".join(self.value(k) + self.value(v) for k, v in item.items())
                return global_("collections", "OrderedDict") + b")R(" + pairs + b"u"
            case np.ndarray():
                flat = np.ascontiguousarray(item).reshape(-1)
                strides = tuple(
                    s // item.itemsize for s in np.zeros(item.shape, item.dtype).strides
                )
                return self.value(View(flat, 0, item.shape, strides))
            case View():
                return self.tensor(item)
        raise TypeError(item)

    def tensor(self, view):
        known = (key for key, array in self.storages.items() if array is view.storage)
        key = next(known, str(len(self.storages)))
        self.storages[key] = view.storage
        kind = global_("torch", STORAGES[view.storage.dtype])
        saved_id = ("storage", kind, key, "cpu", int(view.storage.size))
        storage = Raw(self.value(saved_id) + b"Q")
        arguments = (storage, view.offset, view.shape, view.strides, False, {})
        return global_("torch._utils", "_rebuild_tensor_v2") + self.value(arguments) + b"R"


def write_torch_zip(
    path, saved, *, compression=zipfile.ZIP_STORED, byte_order=b"little", leave_out=()
):
    """Saves `saved` (dictionaries, arrays, `View`s, `Raw` opcodes) as torch.save would."""
    program = Program()
    pickled = b"\x80\x02" + program.value(saved) + b"."
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/byteorder", byte_order)
        for key, array in program.storages.items():
            if key not in leave_out:
                archive.writestr(f"archive/data/{key}", array.tobytes())
        archive.writestr("archive/version", b"3\n")
    return path


def refuse(path, *words):
    """The library refuses the file in one line that holds these words."""
    with pytest.raises(SpecjaxError) as caught:
        read_tensors(path)
    message = str(caught.value)
    assert str(path) in message and "\n" not in message
    for word in words:
        assert word in message
