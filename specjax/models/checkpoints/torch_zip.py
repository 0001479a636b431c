"""Tensors from a torch `.bin`/`.pth` file (zip format, torch >= 1.6) without torch.

Such a file is a zip of raw storages and a pickle that says which tensor lies where in which
storage. A pickle is a program: the small machine below lets it build dictionaries, lists and tensor
records and nothing else. What it refuses is named in a `SpecjaxError`, and refused before anything
runs.
"""

import math
import os
import pickletools
import struct
import zipfile
from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from specjax.errors import SpecjaxError

_LARGEST_TOTAL = 8 << 30  # bytes of all entries together, and of the tensors built from them
_LARGEST_PICKLE = 16 << 20  # a thousand times the index of a ViT

_DTYPES = {
    "DoubleStorage": np.dtype("<f8"),
    "FloatStorage": np.dtype("<f4"),
    "HalfStorage": np.dtype("<f2"),
    "BFloat16Storage": np.dtype(jnp.bfloat16),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("i1"),
    "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
}

# What torch.save writes (pickle protocols 2 to 4). Left out on purpose: opcodes that make objects
# of classes (NEWOBJ, INST, OBJ), that look things up in the process (EXT*), and text forms.
_OPCODES = frozenset(
    "PROTO FRAME STOP MARK NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 BINFLOAT "
    "BINUNICODE SHORT_BINUNICODE EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_LIST APPEND APPENDS "
    "EMPTY_DICT SETITEM SETITEMS BINPUT LONG_BINPUT MEMOIZE BINGET LONG_BINGET GLOBAL "
    "STACK_GLOBAL REDUCE BUILD BINPERSID".split()
)

# The errors that a damaged or hostile program ends in.
_UNPICKLING_ERRORS = (LookupError, MemoryError, TypeError, ValueError)


class StoredTensor(NamedTuple):
    """Where a tensor lies: shape and strides, in elements, within one storage of the file."""

    storage: "_Storage"
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Storage(NamedTuple):
    entry: str
    dtype: np.dtype
    length: int


class _StorageType(NamedTuple):
    dtype: np.dtype


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


def _rebuild_parameter(tensor, *_unused):
    """Stands for `torch._utils._rebuild_parameter`: the tensor itself."""
    if not isinstance(tensor, StoredTensor):
        raise ValueError("a parameter without a tensor")
    return tensor


def _make_dictionary():
    """Stands for `collections.OrderedDict`, which is always saved empty and then filled."""
    return {}


_GLOBALS = {
    ("collections", "OrderedDict"): _make_dictionary,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    **{("torch", name): _StorageType(dtype) for name, dtype in _DTYPES.items()},
}


def is_torch_zip(path: str | os.PathLike) -> bool:
    """Whether the file starts as a zip does."""
    with open(path, "rb") as file:
        return file.read(4) == b"PK\x03\x04"


def read_torch_zip(
    path: str | os.PathLike, choose: Callable[[object], dict[str, StoredTensor]]
) -> dict[str, np.ndarray]:
    """The tensors of a torch zip file that `choose` picks from what was saved.

    `choose` gets what `torch.load` would return, with `StoredTensor` for every tensor and plain
    dictionaries for ordered ones; only the tensors it returns are read. They come back in their
    stored dtype and by the same names.

    Raises:
        SpecjaxError: The file is missing, damaged, too large, in the old format, or its pickle does
            anything but rebuild tensors.
    """
    try:
        if not is_torch_zip(path):
            raise SpecjaxError(
                f"{path} is not a torch zip file: if it is of the format before torch 1.6, "
                "re-save it with torch.save(torch.load(FILE), NEW_FILE)"
            )
        with zipfile.ZipFile(path) as archive:
            tensors = choose(_unpickle(archive, path))
            return _read_tensors(archive, tensors, path)
    except (zipfile.BadZipFile, EOFError, RuntimeError, ValueError, struct.error) as error:
        raise SpecjaxError(
            f"{path} is truncated or damaged ({_one_line(error)}): fetch it again"
        ) from error
    except OSError as error:
        raise SpecjaxError(f"cannot read {path}: {error.strerror or _one_line(error)}") from error


def _unpickle(archive: zipfile.ZipFile, path: str | os.PathLike) -> object:
    entries = {entry.filename: entry for entry in archive.infolist()}
    _check_sizes(archive, entries, path)
    programs = [name for name in entries if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(programs) != 1:
        raise SpecjaxError(f"{path} is not a torch file: it holds {len(programs)} data.pkl, not one")
    prefix = programs[0].removesuffix("data.pkl")
    if entries[programs[0]].file_size > _LARGEST_PICKLE:
        raise SpecjaxError(f"{path}: its data.pkl is larger than {_LARGEST_PICKLE} bytes; refused")
    byte_order = entries.get(f"{prefix}byteorder")
    if byte_order and (byte_order.file_size > 16 or archive.read(byte_order) != b"little"):
        raise SpecjaxError(f"{path} is not little-endian: re-save it on an ordinary machine")
    program = archive.read(programs[0])
    try:
        _check_program(program, path)
        return _run(program, path, prefix, entries)
    except _UNPICKLING_ERRORS as error:
        raise SpecjaxError(
            f"{path}: its data.pkl is damaged or not made by torch.save ({_one_line(error)})"
        ) from error


def _check_sizes(
    archive: zipfile.ZipFile, entries: dict[str, zipfile.ZipInfo], path: str | os.PathLike
) -> None:
    size = os.fstat(archive.fp.fileno()).st_size
    total = sum(entry.file_size for entry in entries.values())
    # Entries are stored as they are; one that claims more than the file holds is a bomb.
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries.values()):
        raise SpecjaxError(f"{path} is a compressed zip, which torch.save never writes; refused")
    if total > min(size, _LARGEST_TOTAL):
        raise SpecjaxError(
            f"{path} claims {total} bytes in a file of {size} (at most {_LARGEST_TOTAL}); refused"
        )


def _check_program(program: bytes, path: str | os.PathLike) -> None:
    """Walks the pickle without running it; raises for what torch.save would not have written."""
    for count, (opcode, argument, _) in enumerate(pickletools.genops(program)):
        if opcode.name == "GLOBAL":
            module, _, name = argument.partition(" ")
            _look_up(module, name, path)
        if opcode.name not in _OPCODES:
            raise SpecjaxError(f"{path}: its pickle uses {opcode.name}; refused, nothing was executed")
        # Memo indices count the values that were made: a larger one is no pickler's.
        if opcode.name in ("BINPUT", "LONG_BINPUT") and argument > count:
            raise SpecjaxError(f"{path}: its pickle has a memo index of {argument}; refused")


def _look_up(module: str, name: str, path: str | os.PathLike) -> object:
    try:
        return _GLOBALS[module, name]
    except KeyError:
        raise SpecjaxError(
            f"{path}: its pickle asks for {_one_line(f'{module}.{name}')}, which is not part of a "
            "tensor; refused, nothing was executed. Save the state dict alone: "
            "torch.save(model.state_dict(), FILE)"
        ) from None


def _run(
    program: bytes,
    path: str | os.PathLike,
    prefix: str,
    entries: dict[str, zipfile.ZipInfo],
) -> object:
    """What a checked program builds.

    Not left to `pickle.Unpickler`, which hashes whatever comes as a key: of tuples nested deep
    enough that overflows the C stack, of tuples that share their parts it takes for ever.
    """
    stack, outer, memo = [], [], {}
    for opcode, argument, _ in pickletools.genops(program):
        match opcode.name:
            case "PROTO" | "FRAME" | "STOP":
                pass
            case "NONE":
                stack.append(None)
            case "NEWTRUE" | "NEWFALSE":
                stack.append(opcode.name == "NEWTRUE")
            case "EMPTY_TUPLE":
                stack.append(())
            case "EMPTY_LIST":
                stack.append([])
            case "EMPTY_DICT":
                stack.append({})
            case "MARK":
                outer.append(stack)
                stack = []
            case "TUPLE":
                items, stack = stack, outer.pop()
                stack.append(tuple(items))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                stack.append(tuple(_pop(stack, int(opcode.name[-1]))))
            case "APPEND":
                items = _pop(stack, 1)
                _last(stack, list).extend(items)
            case "APPENDS":
                items, stack = stack, outer.pop()
                _last(stack, list).extend(items)
            case "SETITEM":
                items = _pop(stack, 2)
                _set_items(_last(stack, dict), items)
            case "SETITEMS":
                items, stack = stack, outer.pop()
                _set_items(_last(stack, dict), items)
            case "BUILD":
                stack.pop()  # attributes of a state dict (its `_metadata`): of no use here
                _last(stack, dict)
            case "BINPUT" | "LONG_BINPUT":
                memo[argument] = stack[-1]
            case "MEMOIZE":
                memo[len(memo)] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case "GLOBAL":
                module, _, name = argument.partition(" ")
                stack.append(_look_up(module, name, path))
            case "STACK_GLOBAL":
                module, name = _pop(stack, 2)
                if not (isinstance(module, str) and isinstance(name, str)):
                    raise ValueError("a name that is no text")
                stack.append(_look_up(module, name, path))
            case "REDUCE":
                function, arguments = _pop(stack, 2)
                if not (callable(function) and isinstance(arguments, tuple)):
                    raise ValueError("a call of what is no function")
                stack.append(function(*arguments))
            case "BINPERSID":
                stack.append(_storage(stack.pop(), prefix, entries))
            case _:  # numbers and texts: nothing else is in _OPCODES
                stack.append(argument)
    return stack.pop()


def _pop(stack: list, count: int) -> list:
    if len(stack) < count:
        raise ValueError("an operation without its operands")
    items = stack[-count:]
    del stack[-count:]
    return items


def _last(stack: list, kind: type) -> object:
    if type(stack[-1]) is not kind:
        raise ValueError(f"a {type(stack[-1]).__name__} used as a {kind.__name__}")
    return stack[-1]


def _set_items(dictionary: dict, items: list) -> None:
    for key, value in zip(items[::2], items[1::2], strict=True):
        # An integer below this has a hash of its own; a million keys of one hash take hours.
        is_small = isinstance(key, int) and abs(key) < 1 << 60
        if not (is_small or key is None or isinstance(key, str | float)):
            raise ValueError(f"a dictionary with a key of type {type(key).__name__}")
        dictionary[key] = value


def _storage(saved_id: object, prefix: str, entries: dict[str, zipfile.ZipInfo]) -> _Storage:
    match saved_id:
        case ("storage", _StorageType(dtype), str(key), str(), int(length)):
            entry = f"{prefix}data/{key}"
        case _:
            raise ValueError("a persistent id that is no storage")
    if entry not in entries or entries[entry].file_size != length * dtype.itemsize:
        raise ValueError(f"storage {entry} is missing or not of {length} {dtype}")
    return _Storage(entry, dtype, length)


def _read_tensors(
    archive: zipfile.ZipFile, tensors: dict[str, StoredTensor], path: str | os.PathLike
) -> dict[str, np.ndarray]:
    total = sum(math.prod(tensor.shape) for tensor in tensors.values()) * 4
    if total > _LARGEST_TOTAL:
        raise SpecjaxError(f"{path} holds {total} bytes of tensors (at most {_LARGEST_TOTAL})")
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
