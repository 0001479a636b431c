"""The page is safe to open, whatever a run holds; its links, alternatives and lists."""

import base64
import hashlib
import re

from experiments.reporting.page import Table, numeric_columns
from tests.support.report_runs import save_picture, write_page, write_run

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&\u202e"


def test_hostile_texts_are_texts(tmp_path):
    scores = {HOSTILE: {HOSTILE: 0.5, "../../secret": 0.7}, "boc": {HOSTILE: 0.4, "b": 0.2}}
    run = write_run(
        tmp_path / "run",
        scores,
        dataset=HOSTILE,
        warnings=[HOSTILE],
        failures=[{"id": HOSTILE, "error": HOSTILE, HOSTILE: []}],
        versions={HOSTILE: HOSTILE},
        seconds={HOSTILE: {HOSTILE: [HOSTILE]}},
    )
    save_picture(tmp_path / "secret.png", (1, 2, 3))
    text = f'a,{HOSTILE}\n1,"{HOSTILE.replace(chr(34), chr(34) * 2)}"\n'
    (run / f"{HOSTILE.replace('/', '')}.csv").write_text(text)
    (run / f"{HOSTILE.replace('/', '')}.svg").write_text("<svg onload='alert(3)'></svg>")
    output = tmp_path / "report.html"
    page = write_page([run], output)
    assert page.text.count(HOSTILE) > 10 and f">{HOSTILE}<" not in output.read_text()
    assert page.text.count("The plot's numbers") == 2
    tags = {tag for tag, *_ in page.attributes}
    assert "script" not in tags and not {n for _, n, _ in page.attributes if n.startswith("on")}
    sources = page.named("img", "src")
    assert sources and all(re.fullmatch(r"data:image/[a-z+]+;base64,[\w+/=]+", s) for s in sources)
    assert all(link.startswith("#") for link in page.named("a", "href"))
    assert "http:" not in output.read_text() and "https:" not in output.read_text()
    assert not tags & {"link", "iframe", "object", "embed", "form", "base"}


def test_the_page_allows_its_own_style_alone(tmp_path):
    output = tmp_path / "report.html"
    page = write_page([write_run(tmp_path / "run", {"boc": {"a": 0.5}})], output)
    (policy,) = [value for value in page.named("meta", "content") if "default-src" in value]
    (style,) = re.findall(r"<style>(.*?)</style>", output.read_text(), re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy.startswith("default-src 'none'; img-src data:; ")
    assert f"style-src 'sha256-{digest}'" in policy and "unsafe" not in policy
    assert "script-src" not in policy and "url(" not in style and "@import" not in style
    assert page.named("html", "lang") == ["en"]
    assert "width=device-width, initial-scale=1" in page.named("meta", "content")
    assert not [name for _, name, _ in page.attributes if name == "style"]


def test_headings_links_and_alternatives(tmp_path):
    scores = {"boc": {"a": 0.5, "b": 1}, "l1": {"a": 0.5, "b": 1}}
    runs = [write_run(tmp_path / name, scores) for name in ("one", "two")]
    page = write_page(runs, tmp_path / "report.html")
    identities = [value for _, name, value in page.attributes if name == "id"]
    assert len(identities) == len(set(identities))
    links = {link[1:] for link in page.named("a", "href")} - {"top"}
    assert links == {"run1", "run2", "methods"} and links <= set(identities)
    images = [1 for tag, name, _ in page.attributes if (tag, name) == ("img", "src")]
    assert len(images) == 2 and len([alt for alt in page.named("img", "alt") if alt]) == 2
    assert "Report of 2 runs" in page.text
    # What the columns of numbers are.
    assert set(page.named("th", "scope")) == {"col", "row"}


def test_a_lone_surrogate_is_written_as_a_question_mark(tmp_path):
    run = write_run(tmp_path / "run", {"boc": {"\ud800": 0.5}})
    page = write_page([run], tmp_path / "report.html")
    assert "?, 50.00 %" in page.text


def test_columns_of_numbers():
    rows = [["1", "+1.20", "5.00 to -6.1", "-", "x", "-"], ["2", "<0.001", "-", "-", "7", "1e-05"]]
    table = Table("", list("abcdef"), rows)
    assert numeric_columns(table) == [False, True, True, False, False, True]
