"""The best, the median and the worst images of a run."""

from collections.abc import Mapping

from experiments.reporting.page import Picture
from experiments.reporting.pictures import Album, Refused
from experiments.reporting.runs import Run
from experiments.results.tables import SCORES
from experiments.runs.names import GALLERY

EACH = 3  # images in a group
# The pictures of an image that `--save` writes, as `page.html` names them, and their content.
_CONTENTS = {
    "gallery": "the image, the instances found in it and, if there is one, the annotation",
    "overlays": "the image and the result of each stage",
}
_WITHOUT = ("channels", "similarity")  # binaries that draw figures, not pictures of images
_Exhibit = dict[str, str | Picture | None]


def picked(scores: Mapping[str, float], each: int = EACH) -> dict[str, list[str]]:
    """The images of each group, from the best down; no image is in two groups.

    A group has `each` images, or a third of all if there are fewer; two images are the best and the
    worst. Images with equal scores are in the order of their ids.
    """
    ranked = sorted(scores, key=lambda image: (-scores[image], image))
    count = min(each, len(ranked) // 3)
    if not count:
        return {name: [image] for name, image in zip(("best", "worst"), ranked, strict=False)}
    first = (len(ranked) - count) // 2
    median = ranked[first : first + count]
    return {"best": ranked[:count], "median": median, "worst": ranked[-count:]}


def gallery_of(run: Run, album: Album) -> tuple[list[tuple[str, list[_Exhibit]]], list[str]]:
    """Groups of images with their names, and remarks.

    They show the setting with the highest mean, or the first images if none is scored.
    """
    if run.binary in _WITHOUT:
        return [], []
    score, setting, values = run.main_score, run.best_setting, {}
    if score is None:
        chosen = {"first": list(run.scores[setting])[: 3 * EACH]}
        remarks = ["Without annotation, images have no scores; these are the first ones."]
    else:
        values = run.values(setting, score)
        chosen = picked(values)
        highest = ", the setting with the highest mean" if len(run.means(score)) > 1 else ""
        remarks = [f"Ranked by the {SCORES[score]} of each image, with {setting}{highest}."]
    text = {image: f"{100 * value:.2f} %" for image, value in values.items()}
    groups = [
        (
            name,
            [
                _exhibit(run, album, setting, image, text.get(image, ""), remarks)
                for image in images
            ],
        )
        for name, images in chosen.items()
    ]
    shown = [
        exhibit["gallery"] or exhibit["overlays"] for _, exhibits in groups for exhibit in exhibits
    ]
    if missing := shown.count(None):
        remarks.append(
            f"{missing} of these images {'have' if missing > 1 else 'has'} no picture. Give the"
            " command of the run again with --save=overlays to add one for each image;"
            f" --save=gallery writes them only for the first {GALLERY} images."
        )
    return groups, remarks


def _exhibit(
    run: Run, album: Album, setting: str, image: str, score: str, remarks: list[str]
) -> _Exhibit:
    """The image, its score as text (may be empty) and its pictures (None if missing)."""
    exhibit = {"image": image, "score": score, **dict.fromkeys(_CONTENTS)}
    title = f"{image}, {score}" if score else image
    for kind, content in _CONTENTS.items():
        if path := run.picture(kind, setting, image):
            try:
                exhibit[kind] = album.photograph(path, alt=f"{title}: {content}")
            except Refused as reason:
                remarks.append(f"A picture of {image} ({kind}) is not shown: {reason}.")
    return exhibit
