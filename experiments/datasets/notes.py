"""What reading passes over: the kinds of notes of a record, and a sentence for each.

The notes of a record are counts by kind. They are kept with the results of its image, so that a
run that continues still reports what an earlier one passed over.
"""

from collections.abc import Iterable, Mapping

CROWDS, EMPTY, RINGS = "crowds", "empty_annotations", "degenerate_rings"
SWAPPED, UNCLEAR = "sizes_swapped", "orientation_unclear"
GREY = "grey_masks"

# `CROWDS` is noted where an image has nothing else; `experiments.loop.coverage` reports it.
_TEXTS = {
    EMPTY: "{count} annotations without a mask were passed over",
    RINGS: "{count} rings of fewer than three points were passed over",
    SWAPPED: "{count} images have height and width exchanged in the annotation file; the size of "
    "the image was taken",
    UNCLEAR: "{count} images have an EXIF orientation, and sizes cannot tell whether they were "
    "annotated as shown or as stored; they were taken as shown (--orientation=stored if that is "
    "wrong)",
    GREY: "{count} masks are grey in more than a tenth of their pixels; what is above half white "
    "counts as the object",
}


def sentences(notes: Iterable[tuple[str, Mapping[str, int]]]) -> list[str]:
    """One sentence for each kind of note, given the notes of images by their id."""
    notes = list(notes)
    sentences = []
    for kind, text in _TEXTS.items():
        images = [image for image, counts in notes if counts.get(kind)]
        count = sum(counts.get(kind, 0) for _, counts in notes)
        if images:
            sentences.append(f"{text.format(count=count)} (the first in {images[0]!r})")
    return sentences
