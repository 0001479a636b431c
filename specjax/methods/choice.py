"""All methods by name: from the features of an image to a label map.

"dsi" is the method of the package (`specjax.pipeline`), Deep Spectral Improvement; the others are
those that papers compare it with. They find how many objects there are by themselves.
"""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from specjax.errors import SpecjaxError
from specjax.methods.dsm import dsm_object
from specjax.methods.dsm_segments import dsm_segments
from specjax.methods.maskcut import maskcut
from specjax.methods.tokencut import tokencut
from specjax.tokens import Grid

METHODS = {
    "dsi": "Deep Spectral Improvement, the method of this package",
    "tokencut": "TokenCut, one object",
    "maskcut": "MaskCut, one object per round",
    "dsm": "Deep Spectral Methods, one object",
    "dsm_segments": "Deep Spectral Methods, three segments and the background",
}
# The thresholds of the authors, for the keys of DINO.
_TAUS = {"tokencut": 0.2, "maskcut": 0.15}
# Families whose keys are all alike in an image, so that neither of these thresholds cuts them:
# methods with a threshold centre them. The outputs of their last block have another threshold.
_ALIKE = ("dinov2", "dinov2_with_registers")
_TAU_OF_OUTPUTS = 0.6
# Methods that take outputs of these families by default: docs/methods.md has the measurements.
_ON_OUTPUTS = ("tokencut", "maskcut", "dsm")
MAX_ROUNDS = 100


class Found(NamedTuple):
    """The result of `label_by`, over tokens.

    Attributes:
        labels: 0 for background, 1, 2, ... for objects.
        foreground: tokens of any object.
        maps: the eigenvectors that were cut or clustered.
    """

    labels: Int[Array, " tokens"]
    foreground: Bool[Array, " tokens"]
    maps: Float[Array, "vectors tokens"]


@dataclasses.dataclass(frozen=True)
class Choice:
    """A method other than "dsi" and its settings; hashable, a static argument.

    Attributes:
        method: one of `METHODS`, not "dsi".
        tau: threshold of TokenCut and MaskCut, from -1 to 1; None takes the authors'.
        rounds: rounds of MaskCut, its N.
        center: whether to subtract the image's mean from the features.
        solver: eigensolver (see `smallest_eigenpairs`).

    Raises:
        SpecjaxError: a value is out of range; the error's `parameter` is the name of the field.
    """

    method: str
    tau: float | None = None
    rounds: int = 3
    center: bool = False
    solver: str = "auto"

    def __post_init__(self):
        if self.tau is not None and not -1 <= self.tau <= 1:
            raise SpecjaxError(f"tau is {self.tau}: it must be from -1 to 1", parameter="tau")
        if type(self.rounds) is not int or not 1 <= self.rounds <= MAX_ROUNDS:
            raise SpecjaxError(
                f"rounds is {self.rounds!r}: it must be an integer from 1 to {MAX_ROUNDS}",
                parameter="rounds",
            )


def choice_of(
    method: str,
    *,
    tau: float | None,
    rounds: int,
    center: bool | None,
    solver: str,
    family: str,
    features: str,
) -> Choice | None:
    """The choice of a method; None for "dsi".

    Where `center` or `tau` are None, they suit the family (`ViTConfig.family`) and the kind of
    features: TokenCut and MaskCut leave DINOv2's outputs as they are, with a threshold of 0.6, and
    centre its other features.

    Raises:
        SpecjaxError: a value is out of range.
    """
    if method not in METHODS:
        raise SpecjaxError(
            f"unknown method {method!r}: choose one of {', '.join(METHODS)}", parameter="method"
        )
    if family in _ALIKE and features == "outputs" and not center:
        tau, center = _TAU_OF_OUTPUTS if tau is None else tau, False
    centering = family in _ALIKE and method in _TAUS if center is None else center
    choice = Choice(method, tau, rounds, centering, solver)
    return None if method == "dsi" else choice


def default_features(method: str, *, family: str) -> str:
    """The kind of features that a method takes of a family's backbones (`ViTConfig.family`)."""
    return "outputs" if family in _ALIKE and method in _ON_OUTPUTS else "keys"


@functools.partial(jax.jit, static_argnames=("choice",))
def label_by(
    features: Float[Array, "tokens channels"], grid: Grid, key: Key[Array, ""], *, choice: Choice
) -> Found:
    """Label the objects of an image by another method than "dsi".

    `key` starts the k-means of "dsm_segments"; the other methods draw nothing.
    """
    common = {"center": choice.center, "solver": choice.solver}
    tau = _TAUS.get(choice.method) if choice.tau is None else choice.tau
    if choice.method == "maskcut":
        cuts = maskcut(features, grid, tau=tau, N=choice.rounds, **common)
        return Found(cuts.labels, cuts.labels > 0, cuts.vectors)
    if choice.method == "dsm_segments":
        segments = dsm_segments(features, grid, key, **common)
        return Found(segments.labels, segments.labels > 0, segments.vectors)
    if choice.method == "tokencut":
        found = tokencut(features, grid, tau=tau, **common)
    else:
        found = dsm_object(features, grid, **common)
    return Found(found.mask.astype(jnp.int32), found.mask, found.vector[None, :])
