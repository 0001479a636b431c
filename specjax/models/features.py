"""Which features of a backbone are meant: their kind, and the block that they are of."""

from typing import NamedTuple

from jaxtyping import Array, Float

from specjax.errors import SpecjaxError

FEATURES = ("keys", "queries", "values", "outputs")


def feature_kinds(features: str) -> tuple[str, ...]:
    """The kinds of features in a list with commas, such as "keys" or "keys,values".

    Raises:
        SpecjaxError: one is unknown, or named twice.
    """
    kinds = tuple(features.split(","))
    unknown = [kind for kind in kinds if kind not in FEATURES]
    if unknown or len(set(kinds)) < len(kinds):
        raise SpecjaxError(
            f"features is {features!r}: it must be one or several, with commas, of"
            f" {', '.join(FEATURES)}",
            parameter="features",
        )
    return kinds


class BlockOutputs(NamedTuple):
    """What one block computes for the patch tokens; padding rows are meaningless.

    Attributes:
        keys: output of the key projection, bias included, heads concatenated, before any rotation.
        queries: the same of the query projection.
        values: the same of the value projection.
        outputs: the block's output; of the last block, after the model's final LayerNorm.
        cls: the same of the class token, which the others leave out, as they do registers.
    """

    keys: Float[Array, "tokens channels"]
    queries: Float[Array, "tokens channels"]
    values: Float[Array, "tokens channels"]
    outputs: Float[Array, "tokens channels"]
    cls: Float[Array, " channels"]


def block_number(layer: int, *, num_layers: int) -> int:
    """The number of a block from 1 on; negative ones count from the end.

    Raises:
        SpecjaxError: there is no such block.
    """
    if type(layer) is not int or not 1 <= abs(layer) <= num_layers:
        raise SpecjaxError(
            f"layer is {layer!r}: the model has {num_layers} blocks, 1 to {num_layers} or"
            f" -{num_layers} to -1",
            parameter="layer",
        )
    return layer if layer > 0 else num_layers + 1 + layer
