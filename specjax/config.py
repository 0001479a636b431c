"""The settings of the stages after the backbone, and the two protocols.

A protocol holds the choices in which the paper differs from the authors' released code. It is data:
functions take single choices as arguments, and none asks for the protocol's name. The documentation
has the table of differences.
"""

import dataclasses
import re
from fractions import Fraction

from specjax._eigensolvers import SOLVERS
from specjax.affinity import METRICS
from specjax.channels import EntropyRule
from specjax.errors import SpecjaxError
from specjax.morphology import RegionArea


@dataclasses.dataclass(frozen=True)
class Protocol:
    """Every choice in which the paper and the released code differ.

    `PAPER` and `REFERENCE` are the two instances; make others with `dataclasses.replace`.

    Attributes:
        name: used in files and tables.
        foreground_entropy: entropy rule of the foreground stage.
        instance_entropy: entropy rule of the instance stage.
        normalize_before_foreground_selection: in the foreground stage, L2-normalise tokens over all
            channels, then select channels; otherwise select channels, then normalise. The instance
            stage always selects first.
        foreground_median: side of the window of the median filter on the foreground mask, in
            tokens; odd.
        region_area: how the area of a foreground region is measured, "tokens" or "contour" (see
            `specjax.morphology.region_areas`).
        break_sign_ties: whether an eigenvector has a defined sign where neither sign has more than
            half of its entries (see `specjax.spectral.orient`).

    Example:
        >>> import dataclasses
        >>> mine = dataclasses.replace(specjax.PAPER, name="mine", foreground_median=3)
        >>> specjax.Config(protocol=mine).protocol.foreground_median
        3
    """

    name: str
    foreground_entropy: EntropyRule
    instance_entropy: EntropyRule
    normalize_before_foreground_selection: bool
    foreground_median: int
    region_area: RegionArea
    break_sign_ties: bool


PAPER = Protocol(
    name="paper",
    foreground_entropy=EntropyRule(),
    instance_entropy=EntropyRule(),
    normalize_before_foreground_selection=False,
    foreground_median=5,
    region_area="tokens",
    break_sign_ties=True,
)

REFERENCE = Protocol(
    name="reference",
    foreground_entropy=EntropyRule(over_all_channels=True, empty_bin_entropy=5.0),
    instance_entropy=EntropyRule(over_all_channels=True, smoothing=1e-6),
    normalize_before_foreground_selection=True,
    foreground_median=3,
    region_area="contour",
    break_sign_ties=False,
)

# Label maps are written with one byte per pixel, and most readers take 255 for void.
MAX_INSTANCES = 254

PROTOCOLS = {protocol.name: protocol for protocol in (PAPER, REFERENCE)}


@dataclasses.dataclass(frozen=True)
class Config:
    """The settings of the stages after the backbone; hashable, a static argument of each stage.

    Attributes:
        M: channels kept by noise channel reduction (NCR), in both stages; `channel_count` turns a
            share of C into a number.
        N: channels kept by deviation channel reduction (DCR), at most M.
        bins: bins of the histogram of a channel (B).
        metric: how foreground tokens are compared, one of `METRICS`.
        protocol: `PAPER`, `REFERENCE`, or a `Protocol` of your own.
        solver: eigensolver, "auto", "eigh" or "krylov" (see `smallest_eigenpairs`).
        restarts: starts of k-means; the best is kept.

    Raises:
        SpecjaxError: a value is of the wrong type or out of range; the error's `parameter` is the
            name of the field.

    Example:
        >>> config = specjax.Config(M=64, N=32, protocol=specjax.REFERENCE)
        >>> config.metric, config.bins
        ('boc', 30)
    """

    M: int = 128
    N: int = 60
    bins: int = 30
    metric: str = "boc"
    protocol: Protocol = PAPER
    solver: str = "auto"
    restarts: int = 10

    def __post_init__(self):
        for name in ("M", "N", "bins", "restarts"):
            value = getattr(self, name)
            if type(value) is not int or value < 1:  # True is an int otherwise
                raise SpecjaxError(
                    f"{name} is {value!r}: it must be an integer of at least 1", parameter=name
                )
        if self.N > self.M:
            raise SpecjaxError(
                f"N={self.N} is more than M={self.M}: choose an N of at most M",
                parameter="N",
            )
        for name, known in (("metric", METRICS), ("solver", ("auto", *SOLVERS))):
            value = getattr(self, name)
            if value not in known:
                raise SpecjaxError(
                    f"unknown {name} {value!r}: choose one of {', '.join(known)}", parameter=name
                )
        if not isinstance(self.protocol, Protocol):
            raise SpecjaxError(
                f"protocol is {self.protocol!r}: it must be a Protocol, such as PAPER, or one of"
                " PROTOCOLS by its name",
                parameter="protocol",
            )


def channel_count(count: str | int, channels: int) -> int:
    """The number of channels M that a number or a share of all C channels stands for.

    Args:
        count: 128, "128", or a share such as "C", "C/3" or "3C/4", which is rounded down.
        channels: how many channels there are (C).

    Returns:
        From 1 to C.

    Raises:
        SpecjaxError: `count` is another text, or not from 1 to C; the error's `parameter` is "M".

    Example:
        >>> specjax.channel_count("C/3", 384)
        128
    """
    text = str(count).strip()
    match = re.fullmatch(r"(?:(\d{0,6})C(?:/(\d{1,6}))?|(\d{1,6}))", text)
    if match is None or (match[2] is not None and int(match[2]) == 0):
        raise SpecjaxError(
            f"M={text}: give a number of channels, or a share of all C such as C/3", parameter="M"
        )
    if match[3] is None:
        number = int(Fraction(int(match[1] or 1), int(match[2] or 1)) * channels)
    else:
        number = int(match[3])
    if not 1 <= number <= channels:
        raise SpecjaxError(
            f"M={text} is out of range: the features have C={channels} channels; C/3 keeps a third"
            " of them",
            parameter="M",
        )
    return number
