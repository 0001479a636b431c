"""What a page consists of: tables, pictures and remarks, as plain text that the page escapes."""

import dataclasses
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows of text under headings, and sentences to go under the table."""

    caption: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    remarks: Sequence[str] = ()
    groups: Sequence[tuple[str, int]] = ()  # headings above the headings, and what they span


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture within the page, and a sentence to go under it."""

    source: str  # a `data:` address
    alt: str
    caption: str
    size: tuple[int, int] | None = None  # width and height in pixels, where they are known
    table: Table | None = None  # the numbers that are drawn


@dataclasses.dataclass(frozen=True)
class Exhibit:
    """One image of the gallery, by its id, with its score as text (empty where it has none)."""

    image: str
    score: str
    result: Picture | None  # the image, its instances and its annotation
    stages: Picture | None  # what each stage made of the image


@dataclasses.dataclass(frozen=True)
class Gallery:
    """Images in named groups, such as the best, and remarks."""

    groups: Sequence[tuple[str, Sequence[Exhibit]]]
    remarks: Sequence[str]


@dataclasses.dataclass(frozen=True)
class Section:
    """All that the page says of a run."""

    anchor: str  # its name within the page
    title: str
    facts: Sequence[tuple[str, str]]  # names and values that go under the title
    warnings: Sequence[str]
    results: Sequence[Table]
    certainty: Sequence[Table]  # intervals and comparisons
    forest: Picture | None  # the intervals, drawn
    plots: Sequence[Picture]
    plot_remarks: Sequence[str]
    gallery: Gallery
    failures: Table | None
    details: Sequence[Table]  # configuration, versions and times
