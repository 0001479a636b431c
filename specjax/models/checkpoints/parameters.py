"""From the tensors of a checkpoint file to the leaves of a `ViT`, with none of either left over.

Tensors are floats in any known layout; leaves are float32, kernels `[inputs, outputs]`.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from specjax.errors import SpecjaxError
from specjax.models.checkpoints.layouts import Layout, first_few, recognise
from specjax.models.checkpoints.skeleton import leaf_shapes
from specjax.models.config import ViTConfig


class _Source(NamedTuple):
    """Where leaves come from: a key, the shape it must have, and the leaves it yields."""

    key: str
    shape: tuple[int, ...]
    leaves: tuple[str, ...]
    convert: Callable[[np.ndarray], np.ndarray]  # to the leaves, stacked on a new first axis


def read_parameters(
    tensors: Mapping[str, np.ndarray], config: ViTConfig
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """The leaves of a ViT, float32, by dotted path, and the keys that were ignored.

    Raises:
        SpecjaxError: A leaf has no tensor, a tensor has no leaf, a shape does not fit or a value is
            not finite; all such problems are named together.
    """
    layout, prefix = recognise(tensors)
    sources = _sources(layout, config)
    left = set(tensors)
    parameters, missing, misshapen, not_floats, not_finite = {}, [], [], [], []
    for source in sources:
        key = prefix + source.key
        if key not in left:
            missing.append(key)
            continue
        left.remove(key)
        if tensors[key].shape != source.shape:
            misshapen.append(f"{key} is {tensors[key].shape}, not {source.shape}")
            continue
        if not jnp.issubdtype(tensors[key].dtype, jnp.floating):
            not_floats.append(f"{key} is {tensors[key].dtype}")
            continue
        with np.errstate(over="ignore"):  # an overflow becomes infinite, which is reported
            tensor = np.asarray(tensors[key], np.float32)
        if not np.isfinite(tensor).all():
            not_finite.append(key)
        converted = source.convert(tensor)
        parameters.update(
            (leaf, np.ascontiguousarray(part))
            for leaf, part in zip(source.leaves, converted, strict=True)
        )
    ignored = {key for key in left if _is_ignored(key.removeprefix(prefix), layout)}
    extra = sorted(left - ignored)
    problems = (
        ("missing", missing),
        ("extra", extra),
        ("misshapen", misshapen),
        ("not floating point", not_floats),
        ("not finite", not_finite),
    )
    report = "; ".join(f"{len(keys)} {name} ({first_few(keys)})" for name, keys in problems if keys)
    if report:
        raise SpecjaxError(f"the tensors do not fit the config ({layout.name} names): {report}")
    return parameters, tuple(sorted(ignored))


def _sources(layout: Layout, config: ViTConfig) -> list[_Source]:
    shapes = leaf_shapes(config)
    sources = [
        _Source(key, (1, *shapes[leaf]), (leaf,), lambda tensor: tensor)
        for key, leaf in (
            (layout.cls_token, "cls_token"),
            (layout.position_embeddings, "position_embeddings"),
        )
    ]
    for file_name, names in layout.modules:
        for block in range(config.num_layers) if "{}" in file_name else (0,):
            modules = [name.format(block) for name in names]
            sources += _module_sources(file_name.format(block), modules, shapes, config)
    filled = [leaf for source in sources for leaf in source.leaves]
    # A table that forgets or repeats a leaf is a mistake of this module, not of the file.
    if sorted(filled) != sorted(shapes):
        raise AssertionError(f"the {layout.name} table does not fill every leaf once")
    return sources


def _module_sources(
    file_name: str, modules: list[str], shapes: Mapping[str, tuple[int, ...]], config: ViTConfig
) -> list[_Source]:
    """The sources of a module's weight and bias; several modules are fused along the outputs."""
    parts, size = len(modules), config.patch_size

    def leaves(name: str) -> tuple[str, ...]:
        return tuple(f"{module}.{name}" for module in modules)

    def split(tensor: np.ndarray) -> np.ndarray:
        return tensor.reshape(parts, -1, *tensor.shape[1:])

    sources = []
    for name, leaf in (("weight", "scale"), ("bias", "bias")):
        if leaves(leaf)[0] in shapes:
            shape = (parts * shapes[leaves(leaf)[0]][0],)
            sources.append(_Source(f"{file_name}.{name}", shape, leaves(leaf), split))
    kernel = shapes.get(leaves("kernel")[0])
    if kernel and modules == ["patch_embedding"]:
        shape = (kernel[1], 3, size, size)
        sources.append(
            _Source(
                f"{file_name}.weight",
                shape,
                leaves("kernel"),
                # [outputs, colour, row, column] to [row, column, colour, outputs].
                lambda tensor: tensor.transpose(2, 3, 1, 0).reshape(1, *kernel),
            )
        )
    elif kernel:
        shape = (parts * kernel[1], kernel[0])
        sources.append(
            _Source(
                f"{file_name}.weight",
                shape,
                leaves("kernel"),
                lambda tensor: split(tensor).transpose(0, 2, 1),
            )
        )
    return sources


def _is_ignored(key: str, layout: Layout) -> bool:
    """Whether a key without the shared prefix is that of a head, which the backbone lacks."""
    return key.removeprefix("module.").startswith(layout.ignored)
