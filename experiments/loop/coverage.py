"""What a run did not read or score, and why."""

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.datasets import notes


def gaps(
    lines: Mapping[str, Sequence[Mapping[str, Any]]],
    failures: Sequence[Mapping[str, str]],
    *,
    annotated: bool,
) -> list[str]:
    """A sentence for each reason why the results are not those of every image and annotation.

    `lines` are those of each setting; an image counts once.
    """
    images = {line["id"]: line for of_setting in lines.values() for line in of_setting}
    found = []
    if failures and annotated:  # scores are then those of the other images
        first = failures[0]
        total = len(images.keys() | {failure["id"] for failure in failures})
        found.append(
            f"{len(failures)} of {total} images failed and are not scored; the first is "
            f"{first['id']!r}: {first['error']}"
        )
    empty = [line for line in images.values() if line.get("num_instances") == 0]
    if annotated and empty:
        count = f"{len(empty)} of {len(images)} images are not scored, as they have"
        if len(empty) == len(images):
            count = f"nothing is scored: all {len(images)} images have"
        crowds = sum(bool(line.get("notes", {}).get(notes.CROWDS)) for line in empty)
        why = f"; in {crowds} of them there are only crowds (iscrowd), which are void"
        found.append(f"{count} no annotated instance on the token grid{why if crowds else ''}")
    return found + notes.sentences((name, line.get("notes", {})) for name, line in images.items())
