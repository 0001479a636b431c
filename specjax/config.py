"""What a run computes, apart from the backbone: static settings of the composed stages."""

import dataclasses

from specjax.errors import SpecjaxError
from specjax.protocol import PAPER, Protocol


@dataclasses.dataclass(frozen=True)
class Config:
    """What a run computes, apart from the backbone.

    Attributes:
        M: channels kept by noise reduction, in both stages.
        N: channels kept by deviation reduction, at most M.
        bins: histogram bins of the channel entropy.
        metric: one of `specjax.affinity.METRICS`.
        protocol: `PAPER` or `REFERENCE`, or choices of your own.
        solver: "auto", "eigh", "lobpcg" or "krylov": see `specjax.spectral`.
        restarts: k-means starts.
    """

    M: int = 128
    N: int = 60
    bins: int = 30
    metric: str = "boc"
    protocol: Protocol = PAPER
    solver: str = "auto"
    restarts: int = 10


def check_config(config: Config, channels: int) -> Config:
    """The configuration for features of so many channels, N clamped to M.

    Raises:
        SpecjaxError: M is out of range.
    """
    if not 1 <= config.M <= channels:
        raise SpecjaxError(
            f"M={config.M} does not lie in 1..C, and these features have C={channels} channels;"
            " use --M=C/3 for a third of them"
        )
    if config.N < 1:
        raise SpecjaxError(f"N={config.N} must be at least 1")
    return dataclasses.replace(config, N=min(config.N, config.M))
