"""Tensors from a torch `.bin`/`.pth` file (zip format, torch >= 1.6) without torch.

Such a file is a zip of raw storages and a pickle that says which tensor lies where in which
storage. A pickle is a program. Sizes and operations are checked before it runs; it then builds
dictionaries, lists and `StoredTensor`s. Every class or function that it names and that is no part
of a tensor is an inert `Placeholder`: nothing is imported, nothing is executed.
"""

import io
import math
import os
import pickle
import pickletools
import struct
import zipfile
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from specjax.errors import SpecjaxError

_LARGEST_TOTAL = 8 << 30  # bytes of all entries together, and of the tensors built from them
_LARGEST_PICKLE = 16 << 20  # a thousand times the index of a ViT

_DTYPES = {
    "torch.DoubleStorage": np.dtype("<f8"),
    "torch.FloatStorage": np.dtype("<f4"),
    "torch.HalfStorage": np.dtype("<f2"),
    "torch.BFloat16Storage": np.dtype(jnp.bfloat16),
    "torch.LongStorage": np.dtype("<i8"),
    "torch.IntStorage": np.dtype("<i4"),
    "torch.ShortStorage": np.dtype("<i2"),
    "torch.CharStorage": np.dtype("i1"),
    "torch.ByteStorage": np.dtype("u1"),
    "torch.BoolStorage": np.dtype("?"),
}

# What torch.save writes (pickle protocols 2 to 4). Left out on purpose: sets, which hash whatever
# they are given, look-ups in the process (EXT*), and the forms of protocols 0 and 1.
_OPCODES = frozenset(
    "PROTO FRAME STOP MARK NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 BINFLOAT "
    "BINUNICODE SHORT_BINUNICODE BINBYTES SHORT_BINBYTES EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 "
    "EMPTY_LIST APPEND APPENDS EMPTY_DICT SETITEM SETITEMS BINPUT LONG_BINPUT MEMOIZE BINGET "
    "LONG_BINGET GLOBAL STACK_GLOBAL REDUCE NEWOBJ BUILD BINPERSID".split()
)
_REPLACED = {
    # A plain dictionary hashes any key: of tuples nested deep enough that overflows the C stack,
    # of tuples that share their parts it takes for ever. `_Dictionary` looks at keys first.
    "EMPTY_DICT": b"ccollections\nOrderedDict\n)R",
    "NEWOBJ": b"R",  # a call: it would insist on a class, which no `Placeholder` is
    "FRAME": b"",  # the length of what follows, which has changed
}


class StoredTensor(NamedTuple):
    """Where a tensor lies: shape and strides, in elements, within one storage of the file."""

    storage: "_Storage"
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class Placeholder:
    """What the pickle names: a class or a function, of which nothing is imported.

    Called, it returns itself, and so stands for the objects of a class as well; the state that
    these are given is dropped. Only the names of `_FUNCTIONS` do more.
    """

    __slots__ = ("function", "name")

    def __init__(self, name: str):
        self.name = name
        self.function = _FUNCTIONS.get(name)

    def __call__(self, *arguments):
        """What the call makes, where it makes part of a tensor."""
        return self.function(*arguments) if self.function else self

    def _ignore(self, *_arguments):
        pass

    __setstate__ = __setitem__ = extend = _ignore


class _Dictionary(dict):
    """What every dictionary becomes. Its attributes (`_metadata` of a state dict) are dropped."""

    __slots__ = ()

    def __setitem__(self, key, value):
        # An integer below this has a hash of its own; a million keys of one hash take hours.
        is_small = isinstance(key, int) and abs(key) < 1 << 60
        if not (is_small or key is None or isinstance(key, str | float)):
            raise ValueError(f"a dictionary with a key of type {type(key).__name__}")
        super().__setitem__(key, value)

    def __setstate__(self, _attributes):
        pass


class _Storage(NamedTuple):
    entry: str
    dtype: np.dtype
    length: int


def _rebuild_tensor(storage, offset, shape, strides, *_unused):
    """Stands for `torch._utils._rebuild_tensor_v2`; gradients and hooks are dropped."""
    if not isinstance(storage, _Storage):
        raise ValueError("a tensor without a storage")
    if not (_are_sizes((offset,)) and _are_sizes(shape) and _are_sizes(strides)):
        raise ValueError("a tensor whose shape is not made of sizes")
    if len(shape) != len(strides) or len(shape) > 8:
        raise ValueError(f"a tensor of {len(shape)} sizes and {len(strides)} strides")
    size = math.prod(shape)
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    # The size check as well: stride 0 would let one number fill the memory.
    if size > storage.length or (size and last >= storage.length):
        raise ValueError(f"a tensor of shape {shape} outside its storage {storage.entry}")
    return StoredTensor(storage, offset, shape, strides)


_FUNCTIONS = {
    "collections.OrderedDict": lambda: _Dictionary(),  # is always saved empty and then filled
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils._rebuild_parameter": lambda tensor, *_unused: tensor,
}


def read_torch_zip(
    path: str | os.PathLike, choose: Callable[[object], Mapping[str, StoredTensor]]
) -> dict[str, np.ndarray]:
    """The tensors of a torch zip file that `choose` picks from what was saved.

    `choose` gets what `torch.load` would return, with a `StoredTensor` for every tensor, plain
    dictionaries for ordered ones and a `Placeholder` for every other object; only the tensors it
    returns are read. They come back in their stored dtype and by the same names.

    Raises:
        SpecjaxError: The file is missing, damaged, too large, in the old format, its pickle does
            what torch.save never writes, or `choose` raised one.
    """
    try:
        with open(path, "rb") as file:
            if file.read(4) != b"PK\x03\x04":
                raise SpecjaxError(
                    "not a torch zip file: if it is of the format before torch 1.6, "
                    "re-save it with torch.save(torch.load(FILE), NEW_FILE)"
                )
            with zipfile.ZipFile(file) as archive:
                return _read_tensors(archive, choose(_unpickle(archive)))
    except SpecjaxError as error:
        raise SpecjaxError(f"{path}: {error}") from error
    except OSError as error:
        raise SpecjaxError(f"cannot read {path}: {error.strerror or _one_line(error)}") from error
    except (zipfile.BadZipFile, EOFError, RuntimeError, ValueError, struct.error) as error:
        raise SpecjaxError(
            f"{path} is truncated or damaged ({_one_line(error)}): fetch it again"
        ) from error


def _unpickle(archive: zipfile.ZipFile) -> object:
    entries = {entry.filename: entry for entry in archive.infolist()}
    _check_sizes(archive, entries)
    programs = [name for name in entries if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(programs) != 1:
        raise SpecjaxError(f"not a torch file: it holds {len(programs)} data.pkl, not one")
    prefix = programs[0].removesuffix("data.pkl")
    if entries[programs[0]].file_size > _LARGEST_PICKLE:
        raise SpecjaxError(f"its data.pkl is larger than {_LARGEST_PICKLE} bytes; refused")
    byte_order = entries.get(f"{prefix}byteorder")
    if byte_order and (byte_order.file_size > 16 or archive.read(byte_order) != b"little"):
        raise SpecjaxError("not little-endian: re-save it on an ordinary machine")
    program = archive.read(programs[0])
    try:
        return _Unpickler(_checked(program), prefix, entries).load()
    except SpecjaxError:
        raise
    except Exception as error:  # a damaged program may end in any
        raise SpecjaxError(
            f"its data.pkl is damaged or not made by torch.save ({_one_line(error)})"
        ) from error


def _check_sizes(archive: zipfile.ZipFile, entries: Mapping[str, zipfile.ZipInfo]) -> None:
    assert archive.fp is not None
    size = os.fstat(archive.fp.fileno()).st_size
    total = sum(entry.file_size for entry in entries.values())
    # Entries are stored as they are; one that claims more than the file holds is a bomb.
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries.values()):
        raise SpecjaxError("a compressed zip, which torch.save never writes; refused")
    if total > min(size, _LARGEST_TOTAL):
        raise SpecjaxError(
            f"it claims {total} bytes in a file of {size} (at most {_LARGEST_TOTAL}); refused"
        )


def _checked(program: bytes) -> io.BytesIO:
    """The pickle with the operations of `_REPLACED` replaced, walked without running it.

    Raises:
        SpecjaxError: It holds what torch.save would not have written.
    """
    source, checked = io.BytesIO(program), io.BytesIO()
    for count, (opcode, argument, start) in enumerate(pickletools.genops(source)):
        if opcode.name not in _OPCODES:
            raise SpecjaxError(f"its pickle uses {opcode.name}; refused, nothing was executed")
        # Memo indices count the values that were made: a larger one is no pickler's.
        if opcode.name in ("BINPUT", "LONG_BINPUT") and (argument or 0) > count:
            raise SpecjaxError(f"its pickle has a memo index of {argument}; refused")
        checked.write(_REPLACED.get(opcode.name, program[start : source.tell()]))
    checked.seek(0)
    return checked


class _Unpickler(pickle.Unpickler):
    """Runs a checked program; it gets hold of nothing but what the methods below return."""

    def __init__(self, program: io.BytesIO, prefix: str, entries: Mapping[str, zipfile.ZipInfo]):
        super().__init__(program)
        self._prefix, self._entries = prefix, entries

    def find_class(self, module: str, name: str) -> Placeholder:
        return Placeholder(f"{module}.{name}")

    def persistent_load(self, saved_id: object) -> _Storage:
        match saved_id:
            case ("storage", Placeholder(name=kind), str(key), str(), int(length)) if (
                kind in _DTYPES
            ):
                dtype, entry = _DTYPES[kind], f"{self._prefix}data/{key}"
            case _:
                raise ValueError("a persistent id that is no storage")
        if entry not in self._entries or self._entries[entry].file_size != length * dtype.itemsize:
            raise ValueError(f"storage {entry} is missing or not of {length} {dtype}")
        return _Storage(entry, dtype, length)


def _read_tensors(
    archive: zipfile.ZipFile, tensors: Mapping[str, StoredTensor]
) -> dict[str, np.ndarray]:
    total = sum(math.prod(tensor.shape) for tensor in tensors.values()) * 4
    if total > _LARGEST_TOTAL:
        raise SpecjaxError(f"it holds {total} bytes of tensors (at most {_LARGEST_TOTAL})")
    storages: dict[_Storage, np.ndarray] = {}
    arrays = {}
    for name, tensor in tensors.items():
        storage = tensor.storage
        if storage not in storages:
            storages[storage] = np.frombuffer(archive.read(storage.entry), storage.dtype)
        arrays[name] = np.lib.stride_tricks.as_strided(
            storages[storage][tensor.offset :],
            tensor.shape,
            [step * storage.dtype.itemsize for step in tensor.strides],
            writeable=False,
        ).copy()
    return arrays


def _are_sizes(values: object) -> bool:
    return isinstance(values, tuple) and all(type(n) is int and 0 <= n < 1 << 48 for n in values)


def _one_line(message: object) -> str:
    text = " ".join(str(message).split())
    return text if len(text) <= 200 else text[:200] + "..."
