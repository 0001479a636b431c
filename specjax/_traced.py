"""Traced programs, kept on disk: a later process does not trace them again.

JAX keeps compiled programs on disk, but finds them by their text (StableHLO), which it gets by
tracing the function: two seconds for the stages of an image. Here the text is kept, by what it was
made from: the function, the types of its arguments, its settings, the sources of this package, and
the versions and the configuration of JAX. The programs of this package do so (`specjax._program`);
in other processes, `call` is a plain call.
"""

import contextlib
import functools
import hashlib
import importlib.metadata
import pathlib
import re
from collections.abc import Callable, Hashable
from typing import Any

import jax
import jax.export

from specjax._folder import OutputError, write_bytes

# Where they are kept; None in processes that keep none.
_folder: pathlib.Path | None = None
# Packages whose code is part of a trace.
_PACKAGES = ("jax", "jaxlib", "flax")
# Of a function in the text of a tree; its name stands before it.
_ADDRESS = r" at 0x[0-9a-f]+"


def keep_in(folder: pathlib.Path | None) -> None:
    """Keep the traced programs of this process in a folder, or no longer."""
    global _folder
    _folder = folder


def call(function: Callable[..., Any], *args: Any, **static: Hashable) -> Any:
    """`function(*args, **static)` as one program, which is read from disk where it is known.

    Args:
        function: of this package, whose keyword arguments are static. Its results are arrays, or
            named tuples registered by `jax.export.register_namedtuple_serialization`.
        args: pytrees of arrays.
        static: as part of a file's name, they must have the same `repr` in every process.
    """
    if _folder is None:
        return function(*args, **static)
    leaves, tree = jax.tree.flatten(args)
    types = tuple((leaf.shape, leaf.dtype) for leaf in leaves)
    configured = tuple((name, str(value)) for name, value in sorted(jax.config.values.items()))
    settings = tuple(sorted(static.items()))
    return _program(_folder, function, tree, types, settings, configured)(*leaves)


@functools.lru_cache(maxsize=256)
def _program(folder, function, tree, types, static, configured):
    """The jitted program of a function for such arguments."""

    def stage(*leaves):
        return function(*jax.tree.unflatten(tree, leaves), **dict(static))

    stage.__name__ = function.__name__
    path = folder / f"{_digest(function, tree, types, static, configured)}.stablehlo"
    exported = _read(path)
    if exported is None:
        exported = jax.export.export(jax.jit(stage))(
            *(jax.ShapeDtypeStruct(shape, dtype) for shape, dtype in types)
        )
        content = bytes(exported.serialize())
        with contextlib.suppress(OutputError):  # it is traced again next time
            write_bytes(path, hashlib.sha256(content).digest() + content)
    return jax.jit(exported.call)


def _digest(function, tree, types, static, configured) -> str:
    versions = [importlib.metadata.version(name) for name in _PACKAGES]
    made_from = (
        _sources(), versions, configured, jax.default_backend(),
        function.__module__, function.__qualname__, re.sub(_ADDRESS, "", str(tree)), types, static,
    )  # fmt: skip
    return hashlib.sha256(repr(made_from).encode()).hexdigest()


@functools.cache
def _sources() -> str:
    """A digest of the sources of this package."""
    root = pathlib.Path(__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root)} {path.stat().st_size}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _read(path: pathlib.Path) -> jax.export.Exported | None:
    """The program in a file, after its checksum; None where there is none, or it is damaged."""
    try:
        whole = path.read_bytes()
    except OSError:
        return None
    checksum, content = whole[:32], whole[32:]
    if hashlib.sha256(content).digest() != checksum:
        return None
    return jax.export.deserialize(bytearray(content))
