"""The best, the median and the worst images of a run."""

from collections.abc import Mapping

from experiments.reporting.page import Picture
from experiments.reporting.pictures import Album, Refused
from experiments.reporting.runs import Run
from experiments.results.tables import SCORES
from experiments.runs.names import GALLERY

EACH = 3  # images of a group
# The pictures that `--save` makes of an image, as `page.html` names them, and what is in them.
_CONTENTS = {
    "gallery": "the image, what was found in it and, where it is annotated, the annotation",
    "overlays": "the image, and what each stage made of it",
}
_WITHOUT = ("channels", "similarity")  # binaries of figures instead of pictures of single images
_Exhibit = dict[str, str | Picture | None]


def picked(scores: Mapping[str, float], each: int = EACH) -> dict[str, list[str]]:
    """Images by name of their group, from the best down; no image is in two of them.

    `each` images a group, or a third of all where there are fewer; of two, the best and the worst.
    Equal scores are in the order of their ids.
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

    They are of the setting with the highest mean, or the first images where none is scored.
    """
    if run.binary in _WITHOUT:
        return [], []
    score, setting, values = run.main_score, run.best_setting, {}
    if score is None:
        chosen = {"first": list(run.scores[setting])[: 3 * EACH]}
        remarks = ["Without annotation no image is scored; these are the first ones."]
    else:
        values = run.values(setting, score)
        chosen = picked(values)
        highest = ", the setting with the highest mean" if len(run.means(score)) > 1 else ""
        remarks = [f"Ranked by each image's own {SCORES[score]}, with {setting}{highest}."]
    text = {image: f"{100 * value:.2f} %" for image, value in values.items()}
    groups = [
        (name, [_exhibit(run, album, setting, one, text.get(one, ""), remarks) for one in images])
        for name, images in chosen.items()
    ]
    shown = [one["gallery"] or one["overlays"] for _, exhibits in groups for one in exhibits]
    if missing := shown.count(None):
        remarks.append(
            f"{missing} of these images {'have' if missing > 1 else 'has'} no picture. The command"
            " of the run with --save=overlays adds one of each image; --save=gallery makes them of"
            f" the first {GALLERY} images only."
        )
    return groups, remarks


def _exhibit(
    run: Run, album: Album, setting: str, image: str, score: str, remarks: list[str]
) -> _Exhibit:
    """The image, its score as text (empty where it has none) and its pictures, None for none."""
    exhibit = {"image": image, "score": score, **dict.fromkeys(_CONTENTS)}
    title = f"{image}, {score}" if score else image
    for kind, content in _CONTENTS.items():
        if path := run.picture(kind, setting, image):
            try:
                exhibit[kind] = album.photograph(path, alt=f"{title}: {content}")
            except Refused as reason:
                remarks.append(f"A picture of {image} ({kind}) is not shown: {reason}.")
    return exhibit
