"""What a run computes, apart from the backbone: its settings, and the two protocols.

A protocol holds the choices in which the paper's equations and words differ from the authors'
released code. It is data: functions take single choices as arguments, and none asks which protocol
it runs under. The documentation has the table of differences.
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

    Attributes:
        name: what files and tables call it.
        foreground_entropy: entropy rule of the foreground stage.
        instance_entropy: entropy rule of the instance stage.
        normalize_before_foreground_selection: L2-normalise tokens over all channels, then select
            channels and leave them so; otherwise select on raw features, then normalise. The
            instance stage always does the second.
        foreground_median: window of the median filter on the foreground mask.
        region_area: how the size of a foreground region is measured.
        break_sign_ties: see `specjax.spectral.orient`.
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

# Labels are written as one byte per pixel, of which 255 means void to most readers.
MAX_INSTANCES = 254

PROTOCOLS = {protocol.name: protocol for protocol in (PAPER, REFERENCE)}


@dataclasses.dataclass(frozen=True)
class Config:
    """What a run computes, apart from the backbone; a static argument of the stages.

    Attributes:
        M: channels kept by noise reduction, in both stages (`channel_count` takes shares of C).
        N: channels kept by deviation reduction, at most M.
        bins: histogram bins of the channel entropy.
        metric: one of `specjax.METRICS`.
        protocol: `PAPER` or `REFERENCE`, or choices of your own.
        solver: "auto", "eigh" or "krylov": see `specjax.smallest_eigenpairs`.
        restarts: k-means starts.

    Raises:
        SpecjaxError: a value is of another type or out of range; its `parameter` is the name.
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
                f"N={self.N} channels cannot be kept of M={self.M}: choose an N of at most M",
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
    """M for features of `channels` channels: a number, or a share of all C, rounded down.

    Args:
        count: 128, "128", "C", "C/3" or "3C/4".
        channels: C.

    Raises:
        SpecjaxError: another text, or a number that does not lie in 1..C (`parameter` is "M").
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
            f"M={text} does not lie in 1..C, and these features have C={channels} channels; C/3"
            " gives a third of them",
            parameter="M",
        )
    return number
