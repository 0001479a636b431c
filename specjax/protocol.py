"""The two protocols: the paper's equations and words, and the authors' released code.

A protocol is data. Functions take single choices as arguments; nothing asks which protocol it
runs under. The README holds the table of differences.
"""

import dataclasses

from specjax.channels import EntropyRule
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

PROTOCOLS = {protocol.name: protocol for protocol in (PAPER, REFERENCE)}
