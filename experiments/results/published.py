"""The numbers of the paper, as fractions, and what they were measured on.

All are for DINO ViT-S/16. The F-scores were measured on whole splits of two datasets, the mIoUs on
a test split whose list of frames is not public.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from specjax import Config

INSTANCES_MEASURED_ON = (
    "YouTube-VIS 2019 (10,285 frames), DINO ViT-S/16, M = 128, N = 60, number of instances known"
)
FOREGROUND_MEASURED_ON = {
    "ytvis": "YouTube-VIS 2019 train (61,845 frames), DINO ViT-S/16",
    "voc": "PASCAL VOC 2012 train+val segmentation (2,913 images), DINO ViT-S/16",
}

# mIoU by metric: of Table II, and of each stratum of Tables III and IV, from the lowest stratum up
# (`strata.STRATA` has their bounds).
_BY_METRIC = {
    "mahalanobis": (0.2527, (0.2446, 0.2720, 0.2686), (0.2657, 0.2398)),
    "l1": (0.3153, (0.3192, 0.3418, 0.3025), (0.3210, 0.3097)),
    "dot": (0.3271, (0.3350, 0.3525, 0.3069), (0.3423, 0.3120)),
    "l2": (0.3277, (0.3342, 0.3526, 0.3099), (0.3354, 0.3199)),
    "chebyshev": (0.3309, (0.3365, 0.3591, 0.3131), (0.3408, 0.3210)),
    "cosine": (0.3356, (0.3403, 0.3626, 0.3138), (0.3423, 0.3290)),
    "correlation": (0.3408, (0.3476, 0.3667, 0.3164), (0.3498, 0.3318)),
    "braycurtis": (0.3414, (0.3467, 0.3706, 0.3188), (0.3491, 0.3338)),
    "boc": (0.3441, (0.3494, 0.3738, 0.3233), (0.3510, 0.3371)),
}
MIOU = {metric: whole for metric, (whole, _, _) in _BY_METRIC.items()}
BY_STRATUM: Mapping[str, Mapping[str, Sequence[float]]] = {
    "mbor": {metric: parts for metric, (_, parts, _) in _BY_METRIC.items()},
    "size_ratio": {metric: parts for metric, (_, _, parts) in _BY_METRIC.items()},
}
# Table V: mIoU by the parts that are on in the instance stage.
ABLATION = {
    "none": 0.3175,
    "NCR": 0.3292,
    "NCR+DCR": 0.3270,
    "BoC": 0.3050,
    "NCR+BoC": 0.3362,
    "NCR+DCR+BoC": 0.3441,
}
ALL_CHANNELS = "+foregroundC"  # ends the names of settings whose foreground uses all channels
# Table I, Fig. 8 and 9: F-score with and without post-processing, on YouTube-VIS and on VOC, by M
# as a share of all C channels. There is no number for VOC at C/11.
_F_SCORES = {
    "1": ((0.5390, 0.5068), (0.5866, 0.5768)),
    "3/4": ((0.5389, 0.5074), (0.5859, 0.5762)),
    "1/2": ((0.5579, 0.5285), (0.5832, 0.5737)),
    "1/3": ((0.5684, 0.5413), (0.5856, 0.5776)),
    "1/5": ((0.5669, 0.5391), (0.5969, 0.5881)),
    "1/7": ((0.5593, 0.5291), (0.5901, 0.5822)),
    "1/9": ((0.5523, 0.5200), (0.5877, 0.5770)),
    "1/11": ((0.5433, 0.5092), None),
}
F_SCORES = {
    dataset: {Fraction(share): scores for share, row in _F_SCORES.items() if (scores := row[place])}
    for place, dataset in enumerate(("ytvis", "voc"))
}


def is_papers_setting(config: Config, num_instances: int | None) -> bool:
    """Whether the published mIoUs have this configuration; `num_instances` None is the oracle."""
    return (config.M, config.N, config.bins, num_instances) == (128, 60, 30, None)


def switches(setting: str) -> tuple[bool, ...]:
    """Whether NCR, DCR and BoC are on in a setting of the ablation."""
    return tuple(part in setting.split("+") for part in ("NCR", "DCR", "BoC"))


def both_ablations(results: Sequence[Mapping[str, Any]]) -> tuple[list, list]:
    """The six results of each table; those with NCR are in both. KeyError if one is missing."""
    found = {result["setting"]: result for result in results}
    second = [found.get(name + ALL_CHANNELS, found[name]) for name in ABLATION]
    return [found[name] for name in ABLATION], second


def share_of(M: int, channels: int) -> Fraction | None:
    """The share of Table I that gives M of `channels`; None unless exactly one does."""
    found = [share for share in F_SCORES["ytvis"] if int(share * channels) == M]
    return found[0] if len(found) == 1 else None


def f_score(dataset: str, M: int, channels: int) -> tuple[float | None, float | None]:
    """The two F-scores of Table I at M of `channels`; None if the table has none."""
    share = share_of(M, channels)
    scores = None if share is None else F_SCORES[dataset].get(share)
    return scores or (None, None)


def closest(dataset: str) -> str:
    """The dataset of Table I to show beside a dataset: the same, or else YouTube-VIS."""
    return dataset if dataset in F_SCORES else "ytvis"


def compared(measured: float | None, published: float | None) -> dict[str, float | None]:
    """`published`, and `difference`, the measured number minus the published one, if both exist."""
    difference = None if measured is None or published is None else measured - published
    return {"published": published, "difference": difference}


def remark(
    measured_on: str, *, dataset: str, backbone: str, image_size: int | None, here: str = ""
) -> str:
    """The line under a table: what the published numbers and ours were measured on."""
    size = "" if image_size is None else f"short side {image_size} pixels"
    run = ", ".join(filter(None, (f"dataset {dataset}", f"backbone {backbone}", size, here)))
    return f"published: {measured_on}; here: {run}"


def backbone_name(kind: str, *, checkpoint: str, features_dir: object) -> str:
    """A backbone's name for `remark`, from its kind and the flags that chose it."""
    if kind == "features":
        return f"unknown (features of {features_dir})"
    # What `auto` loads where it is not the built-in checkpoint.
    loaded = "facebook/dino-vits16" if checkpoint == "auto" else checkpoint
    return loaded if kind == "checkpoint" else kind


def instance_setting(config: Config, num_instances: int | None) -> str:
    """The instance stage's configuration, for `remark`."""
    number = "number of instances known" if num_instances is None else f"{num_instances} instances"
    return f"M = {config.M}, N = {config.N}, {number}"
