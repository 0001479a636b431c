"""One HTML file that needs no other: no script, nothing from the network, every text escaped.

It consists of tables, pictures and remarks, which are plain text until they are rendered here.
"""

import base64
import hashlib
import pathlib
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import jinja2

_TEMPLATES = pathlib.Path(__file__).parent / "templates"
_NUMBER = re.compile(r"[-+<>]?\d[\d.,]*(e[-+]?\d+)?( to [-+]?\d[\d.]*)?|-")


class Table(NamedTuple):
    """Rows of text under headings, and sentences to go under the table."""

    caption: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    remarks: Sequence[str] = ()
    groups: Sequence[tuple[str, int]] = ()  # headings above the headings, and what they span


class Picture(NamedTuple):
    """A picture within the page, and a sentence to go under it."""

    source: str  # a `data:` address
    alt: str
    caption: str
    size: tuple[int, int] | None = None  # width and height in pixels, where they are known
    table: Table | None = None  # the numbers that are drawn


class Exhibit(NamedTuple):
    """One image of the gallery, by its id, with its score as text (empty where it has none)."""

    image: str
    score: str
    result: Picture | None  # the image, its instances and its annotation
    stages: Picture | None  # what each stage made of the image


def render(**content: Any) -> str:
    """The page; `content` is what `page.html` names."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["numeric_columns"] = numeric_columns
    # Our own file and the only text that is not escaped; the page allows no other style.
    style = (_TEMPLATES / "page.css").read_text(encoding="utf-8")
    style_hash = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    page = environment.get_template("page.html")
    return page.render(**content, style=style, style_hash=style_hash)


def numeric_columns(table: Table) -> list[bool]:
    """Which columns after the first hold numbers, or dashes in their place, and nothing else."""
    columns = range(1, len(table.headings))
    return [False] + [
        any(row[column] != "-" for row in table.rows)
        and all(_NUMBER.fullmatch(row[column]) for row in table.rows)
        for column in columns
    ]
