"""What an experiment finds in an image."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Outcome:
    """What was found in one image under one setting.

    Attributes:
        line: for `per_image.jsonl`; `id` and `setting` are added.
        labels: int [tokens], 0 background.
        foreground: bool [tokens].
        maps: [segments, tokens] eigensegments; None where there are none.
    """

    line: Mapping[str, Any]
    labels: np.ndarray
    foreground: np.ndarray
    maps: np.ndarray | None = None


# Outcomes by setting, of each image of a batch; and a call that brings them from the devices, which
# another thread makes while the next batch is computed.
Outcomes = list[dict[str, Outcome]]
Pending = Callable[[], Outcomes]
