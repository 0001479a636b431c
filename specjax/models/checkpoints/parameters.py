"""From the tensors of a checkpoint file to the leaves of a `ViT`, with none of either left over.

Tensors are floats in any known layout; leaves are float32, kernels `[inputs, outputs]`. Layer scale
is folded into the projection that it follows, which changes no output.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from specjax.errors import SpecjaxError
from specjax.models.checkpoints.inference import fixed_positions
from specjax.models.checkpoints.layouts import Recognised, first_few, recognise
from specjax.models.checkpoints.skeleton import leaf_shapes
from specjax.models.config import FAMILIES, ViTConfig

Tensors = Mapping[str, np.ndarray]
Shapes = Mapping[str, tuple[int, ...]]


class _Source(NamedTuple):
    """Where leaves come from: a key, the shape it must have, and the leaves it yields.

    Stacked on a new first axis, `convert` gives one array for each of `leaves`; None drops it.
    """

    key: str
    shape: tuple[int, ...]
    leaves: tuple[str | None, ...]
    convert: Callable[[np.ndarray], np.ndarray]


def read_parameters(
    tensors: Tensors, config: ViTConfig
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """The leaves of a ViT, float32, by dotted path, and the keys that were ignored.

    Raises:
        SpecjaxError: A leaf has no tensor, a tensor has no leaf, a shape does not fit or a value is
            not finite; all such problems are named together.
    """
    found = recognise(tensors)
    tensors = _with_usual_positions(tensors, found, config)
    reader = _Reader(tensors)
    for source in _sources(found, tensors, config):
        reader.read(source)
    _fold_layer_scale(reader, found, config)
    ignored = {key for key in reader.left if _is_ignored(key, found)}
    reader.refuse_what_does_not_fit(sorted(reader.left - ignored), found.layout.name)
    return reader.parameters, tuple(sorted(ignored))


class _Reader:
    """Takes tensors one after the other, and remembers which and what was wrong with them."""

    def __init__(self, tensors: Tensors):
        self._tensors = tensors
        self.left = set(tensors)
        self.parameters: dict[str, np.ndarray] = {}
        self._problems: dict[str, list[str]] = {
            "missing": [],
            "extra": [],
            "misshapen": [],
            "not floating point": [],
            "not finite": [],
        }

    def read(self, source: _Source) -> None:
        """Fill the leaves of a source."""
        tensor = self.take(source.key, source.shape)
        if tensor is None:
            return
        for leaf, part in zip(source.leaves, source.convert(tensor), strict=True):
            if leaf is not None:
                if not np.isfinite(part).all():
                    self._problems["not finite"].append(source.key)
                self.parameters[leaf] = np.ascontiguousarray(part)

    def take(self, key: str, shape: tuple[int, ...]) -> np.ndarray | None:
        """A tensor as float32; None, and a problem, where it is not there or of another kind."""
        if key not in self.left:
            self._problems["missing"].append(key)
            return None
        self.left.remove(key)
        tensor = self._tensors[key]
        if tensor.shape != shape:
            self._problems["misshapen"].append(f"{key} is {tensor.shape}, not {shape}")
            return None
        if not jnp.issubdtype(tensor.dtype, jnp.floating):
            self._problems["not floating point"].append(f"{key} is {tensor.dtype}")
            return None
        with np.errstate(over="ignore"):  # an overflow becomes infinite, which is reported
            return np.asarray(tensor, np.float32)

    def refuse_what_does_not_fit(self, extra: list[str], layout: str) -> None:
        """Raise one error that names all problems."""
        problems = {**self._problems, "extra": extra}
        report = "; ".join(
            f"{len(keys)} {name} ({first_few(keys)})" for name, keys in problems.items() if keys
        )
        if report:
            raise SpecjaxError(f"the tensors do not fit the config ({layout} names): {report}")


def _with_usual_positions(tensors: Tensors, found: Recognised, config: ViTConfig) -> Tensors:
    """The tensors, with position embeddings for CLS and the patches, and for nothing else.

    Some files have none for CLS, which is then zero; a distilled model has one for its second
    token as well, which is read as a register; MAE and MoCo v3 may leave all out.
    """
    layout, prefix = found.layout, found.prefix
    key = prefix + layout.arrays["position_embeddings"][0]
    cells = config.grid_size**2
    if config.rope_theta is not None:
        return tensors
    if key not in tensors:
        made = fixed_positions(config)
        return tensors if made is None else {**tensors, key: made}
    positions = tensors[key]
    if positions.ndim != 3 or positions.shape[0] != 1:
        return tensors
    if positions.shape[1] == cells:
        none = np.zeros_like(positions[:, :1])
        return {**tensors, key: np.concatenate([none, positions], axis=1)}
    distilled = prefix + "dist_token"
    if distilled in tensors and positions.shape[1] == cells + 2:
        register = np.asarray(tensors[distilled], np.float32) + positions[:, 1:2]
        rest = {name: tensor for name, tensor in tensors.items() if name != distilled}
        place = {key: np.concatenate([positions[:, :1], positions[:, 2:]], axis=1)}
        return {**rest, **place, prefix + layout.arrays["registers"][0]: register}
    return tensors


def _sources(found: Recognised, tensors: Tensors, config: ViTConfig) -> list[_Source]:
    shapes, layout = leaf_shapes(config), found.layout
    sources = []
    for leaf, names in layout.arrays.items():
        if leaf in shapes:
            keys = [found.prefix + name for name in names]
            key = next((key for key in keys if key in tensors), keys[0])
            sources.append(_Source(key, (1, *shapes[leaf]), (leaf,), lambda tensor: tensor))
    filled: set[str] = set()
    for name, modules in _chosen(found, tensors, shapes):
        for block in range(config.num_layers) if name.startswith("{}") else (None,):
            file_name = found.key(name, block)
            inside = "" if block is None else f"blocks.{block}."
            paths = [inside + module for module in modules]
            sources += _module_sources(file_name, paths, tensors, shapes, found, config, block)
            filled |= set(paths)
    forgotten = {path.rpartition(".")[0] for path in shapes} - {""} - filled
    # A table that forgets a module is a mistake of this package, not of the file.
    if forgotten:
        raise AssertionError(f"the {layout.name} table lacks {sorted(forgotten)}")
    return sources


def _chosen(
    found: Recognised, tensors: Tensors, shapes: Shapes
) -> list[tuple[str, tuple[str, ...]]]:
    """For each module of the model the row of the table that the file has, else its first row."""
    rows: list[tuple[str, tuple[str, ...]]] = []
    filled: set[str] = set()

    def in_model(module: str, name: str) -> bool:
        inside = "blocks.0." if name.startswith("{}") else ""
        return any(path.startswith(f"{inside}{module}.") for path in shapes)

    usable = [
        (name, modules)
        for name, modules in found.layout.modules
        if all(in_model(module, name) for module in modules)
    ]
    present = [row for row in usable if f"{found.key(row[0], 0)}.weight" in tensors]
    for name, modules in (*present, *usable):
        if not filled & set(modules):
            rows.append((name, modules))
            filled |= set(modules)
    return rows


def _module_sources(
    file_name: str,
    modules: list[str],
    tensors: Tensors,
    shapes: Shapes,
    found: Recognised,
    config: ViTConfig,
    block: int | None,
) -> list[_Source]:
    """The sources of a module's weight and bias; several modules are stacked along the outputs."""
    parts = len(modules)

    def split(tensor: np.ndarray) -> np.ndarray:
        return tensor.reshape(parts, -1, *tensor.shape[1:])

    def leaves(name: str) -> tuple[str | None, ...]:
        paths = [f"{module}.{name}" for module in modules]
        return tuple(path if path in shapes else None for path in paths)

    weight = f"{file_name}.weight"
    kernel = shapes.get(f"{modules[0]}.kernel")
    if kernel is None:
        sources = [_Source(weight, shapes[f"{modules[0]}.scale"], leaves("scale"), split)]
    elif modules == ["patch_embedding"]:
        shape = (kernel[1], 3, config.patch_size, config.patch_size)

        def by_pixel(tensor: np.ndarray) -> np.ndarray:
            # [outputs, colour, row, column] to [row, column, colour, outputs].
            return tensor.transpose(2, 3, 1, 0).reshape(1, *kernel)

        sources = [_Source(weight, shape, leaves("kernel"), by_pixel)]
    else:
        stacked = (parts * kernel[1], kernel[0])
        sources = [
            _Source(weight, stacked, leaves("kernel"), lambda part: split(part).transpose(0, 2, 1))
        ]
    biases = leaves("bias")
    if any(biases):
        (size,) = shapes[next(filter(None, biases))]
        separate = _separate_biases(modules, tensors, found, block)
        if separate and f"{file_name}.bias" not in tensors:
            for module, key in separate.items():
                sources.append(_Source(key, (size,), (f"{module}.bias",), lambda b: b[None]))
        else:
            sources.append(_Source(f"{file_name}.bias", (parts * size,), biases, split))
    return sources


def _separate_biases(
    modules: list[str], tensors: Tensors, found: Recognised, block: int | None
) -> dict[str, str]:
    """Keys of biases that lie apart from their weights, by the module that they are of."""
    keys = {}
    for module in modules:
        name = found.layout.separate_biases.get(module.rpartition(".")[2])
        if name and found.key("{}." + name, block) in tensors:
            keys[module] = found.key("{}." + name, block)
    return keys


def _fold_layer_scale(reader: _Reader, found: Recognised, config: ViTConfig) -> None:
    """Multiply the outputs of each block's two branches by its layer scale, where there is one."""
    parameters = reader.parameters
    for module, names in found.layout.scales.items():
        keys = [[found.key("{}." + name, n) for name in names] for n in range(config.num_layers)]
        present = [next((key for key in one if key in reader.left), None) for one in keys]
        if not any(present) and not FAMILIES[config.family].layer_scale:
            continue
        for block, key in enumerate(present):
            scale = reader.take(key or keys[block][0], (config.hidden_size,))
            kernel, bias = (f"blocks.{block}.{module}.{leaf}" for leaf in ("kernel", "bias"))
            if scale is not None and kernel in parameters and bias in parameters:
                parameters[kernel] = parameters[kernel] * scale[None, :]
                parameters[bias] = parameters[bias] * scale


def _is_ignored(key: str, found: Recognised) -> bool:
    """Whether a key is outside of the backbone, or that of a head, which the backbone lacks."""
    if not key.startswith(found.prefix):
        return True
    name = key.removeprefix(found.prefix).removeprefix("module.")
    masks = name.startswith(found.blocks) and name.endswith(".attn.qkv.bias_mask")
    return masks or name.startswith(found.layout.ignored)
