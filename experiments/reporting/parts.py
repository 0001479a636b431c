"""What a page consists of: tables, pictures and remarks, as plain text that the page escapes."""

import dataclasses
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows of text under headings.

    Attributes:
        caption: what it shows.
        headings: one for each column.
        rows: their cells.
        remarks: sentences to go under it.
        groups: headings over headings, and how many columns each spans.
    """

    caption: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    remarks: Sequence[str] = ()
    groups: Sequence[tuple[str, int]] = ()


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture within the page.

    Attributes:
        source: a `data:` address.
        alt: what it shows, for those who do not see it.
        caption: a sentence to go under it.
        size: width and height in pixels, where they are known.
        table: the numbers that are drawn.
    """

    source: str
    alt: str
    caption: str
    size: tuple[int, int] | None = None
    table: Table | None = None


@dataclasses.dataclass(frozen=True)
class Plots:
    """A run's plots, and what is to be said of those that are not shown."""

    pictures: Sequence[Picture]
    remarks: Sequence[str]


@dataclasses.dataclass(frozen=True)
class Exhibit:
    """One image of the gallery.

    Attributes:
        image: its id.
        score: its score, in words; empty where it has none.
        result: the image, what was found and what is annotated, where that was saved.
        stages: what each stage made of it, where that was saved.
    """

    image: str
    score: str
    result: Picture | None
    stages: Picture | None


@dataclasses.dataclass(frozen=True)
class Gallery:
    """Images in named groups, such as the best, and remarks."""

    groups: Sequence[tuple[str, Sequence[Exhibit]]]
    remarks: Sequence[str]


@dataclasses.dataclass(frozen=True)
class Section:
    """All that the page says of a run.

    Attributes:
        anchor: its name within the page.
        title: of the run.
        facts: names and values that go under the title.
        warnings: what the run's user was told.
        results: tables of scores.
        certainty: tables of intervals and comparisons.
        forest: the intervals, drawn.
        plots: the run's own.
        gallery: its images.
        failures: a row for each image that failed.
        details: tables of the configuration, the versions and the times.
    """

    anchor: str
    title: str
    facts: Sequence[tuple[str, str]]
    warnings: Sequence[str]
    results: Sequence[Table]
    certainty: Sequence[Table]
    forest: Picture | None
    plots: Plots
    gallery: Gallery
    failures: Table | None
    details: Sequence[Table]
