"""The best, the median and the worst images of a run."""

from collections.abc import Mapping, Sequence

from experiments.reporting.certainty import NAMES, main_score
from experiments.reporting.parts import Exhibit, Gallery, Picture
from experiments.reporting.pictures import Album, Refused
from experiments.reporting.runs import Run
from experiments.runs.gallery import COUNT

# Images of a group.
EACH = 3
# What `--save` makes, and what is in it.
_RESULT = ("gallery", "the image, what was found in it and, where it is annotated, the annotation")
_STAGES = ("overlays", "the image, and what each stage made of it")
# They draw figures, and no picture of what was found in an image.
_WITHOUT = ("channels", "similarity")
_NAMES = ("best", "median", "worst")


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
    groups = (ranked[:count], ranked[first : first + count], ranked[-count:])
    return dict(zip(_NAMES, groups, strict=True))


def gallery_of(run: Run, album: Album) -> Gallery:
    """Groups of the setting with the highest score; the first images where nothing is scored.

    None where the binary makes no pictures of images.
    """
    if run.binary in _WITHOUT:
        return Gallery([], [])
    score = main_score(run)
    if score is None:
        return _unscored(run, album)
    ranked = [
        (result[score], -place)
        for place, result in enumerate(run.results)
        if result.get(score) is not None
    ]
    setting = run.settings[-max(ranked)[1]]
    scores = run.scores[setting][score]
    remarks = [
        f"By {NAMES[score]}, the image's own, of {setting}"
        + (": the setting with the highest mean." if len(ranked) > 1 else ".")
    ]
    groups = [
        (
            name,
            [
                _exhibit(run, album, setting, image, f"{100 * scores[image]:.2f} %", remarks)
                for image in images
            ],
        )
        for name, images in picked(scores).items()
    ]
    return Gallery(groups, [*remarks, *_missing(groups)])


def _unscored(run: Run, album: Album) -> Gallery:
    """Of a run without annotation."""
    setting = run.settings[0]
    remarks = ["Without annotation no image is scored: these are the first."]
    images = run.images[setting][: 3 * EACH]
    exhibits = [_exhibit(run, album, setting, image, "", remarks) for image in images]
    groups = [("first", exhibits)]
    return Gallery(groups, [*remarks, *_missing(groups)])


def _exhibit(
    run: Run, album: Album, setting: str, image: str, score: str, remarks: list[str]
) -> Exhibit:
    result, stages = (
        _picture(run, album, setting, image, score, remarks, *kind) for kind in (_RESULT, _STAGES)
    )
    return Exhibit(image, score, result, stages)


def _picture(
    run: Run,
    album: Album,
    setting: str,
    image: str,
    score: str,
    remarks: list[str],
    kind: str,
    content: str,
) -> Picture | None:
    path = run.picture(kind, setting, image)
    if path is None:
        return None
    try:
        source, size = album.photograph(path)
    except Refused as reason:
        remarks.append(f"A picture of {image} ({kind}) is not shown: {reason}.")
        return None
    return Picture(source, f"{image}{score and f', {score}'}: {content}", "", size)


def _missing(groups: Sequence[tuple[str, Sequence[Exhibit]]]) -> Sequence[str]:
    exhibits = [exhibit for _, exhibits in groups for exhibit in exhibits]
    count = sum(each.result is None and each.stages is None for each in exhibits)
    if not count:
        return []
    return [
        f"Of {count} there is no picture here. The command of the run with --save=overlays adds one"
        f" of each image; --save=gallery makes them of the first {COUNT} images alone."
    ]
