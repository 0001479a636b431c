"""The columns of every binary's table: keys of a result, in order, with their headings."""

# Fractions that a line holds of one image and a result as their mean, with their names. The first
# one that a run has is what the run is about.
SCORES = {
    "miou": "mIoU",
    "f_score": "F-score",
    "f_score_raw": "F-score without post-processing",
    "best_channel_miou": "mIoU of the best channel",
    "method_miou": "mIoU of the method",
}
# Tables print fractions in percent, and their differences in points.
FRACTIONS = (*SCORES, "miou_instances", "published", "published_raw")
DIFFERENCES = ("difference", "difference_raw")

# Headings that are not the key itself.
_HEADINGS = {
    "name": "on",
    "ncr": "NCR",
    "dcr": "DCR",
    "boc": "BoC",
    "foreground_M": "foreground M",
    "miou": "mIoU %",
    "miou_instances": "mIoU % (instances)",
    "f_score": "F %",
    "f_score_raw": "F % raw",
    "published_raw": "published raw",
    "difference_raw": "difference",
    "best_channel_miou": "best channel mIoU %",
    "method_miou": "method mIoU %",
    "mr": "mR",
    "images_left_out": "left out",
    "images_without_instances": "images",
}


def columns(keys: str) -> dict[str, str]:
    """Columns from keys that are separated by spaces."""
    return {key: _HEADINGS.get(key, key) for key in keys.split()}


_SCORES = "miou published difference miou_instances f_score"
INSTANCE = columns(f"metric M N protocol {_SCORES} f_score_raw images instances")
_RAW = "f_score_raw published_raw difference_raw"
FOREGROUND = columns(f"M protocol f_score published difference {_RAW} images instances")
ABLATION = columns(f"name ncr dcr boc foreground_M M N {_SCORES} images")
SWEEP = columns(f"M N protocol {_SCORES} images instances")
CHANNELS = columns("figure M N best_channel_miou method_miou images images_left_out")
SIMILARITY = columns("metric M N mr intra inter images images_left_out")
# Without annotation no image is scored, and all count as images without (annotated) instances.
INSTANCE_UNSCORED = columns("metric M N protocol images_without_instances")
FOREGROUND_UNSCORED = columns("M protocol images_without_instances")

# By the binary's name.
SCORED = {
    "instance": INSTANCE,
    "segment": INSTANCE,
    "fgbg": FOREGROUND,
    "ablation": ABLATION,
    "sweep": SWEEP,
    "channels": CHANNELS,
    "similarity": SIMILARITY,
}
UNSCORED = {
    "instance": INSTANCE_UNSCORED,
    "segment": INSTANCE_UNSCORED,
    "fgbg": FOREGROUND_UNSCORED,
}
