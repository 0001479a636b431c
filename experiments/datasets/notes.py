"""What reading passes over: the kinds of notes of a record, and a sentence for each.

The notes of a record are counts by kind. They are kept with the results of its image, so that a
run that continues still reports what an earlier one passed over.
"""

from collections.abc import Iterable, Mapping

from specjax._remarks import FEW_BITS

CROWDS, EMPTY, RINGS = "crowds", "empty_annotations", "degenerate_rings"
SWAPPED, UNCLEAR = "sizes_swapped", "orientation_unclear"
GREY = "grey_masks"
CLASSES = "class_numbers"

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
    CLASSES: "{count} masks are instanceIds maps of Cityscapes; their values below 1000 are "
    "classes and no instances: 24 to 33, groups of objects, are void, the others background",
    FEW_BITS: "{count} images have values of 16 bits that fit into 14, 12, 10 or 8; each was "
    "scaled from the fewest that hold its values",
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
