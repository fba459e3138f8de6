from __future__ import annotations

import re
from collections import Counter
from html.parser import HTMLParser

import pytest
from markupsafe import Markup

from handful.report.clouds import cloud_pair
from handful.report.page import (
    Block,
    Chip,
    Column,
    Figure,
    Figures,
    Fold,
    Page,
    Paragraph,
    Section,
    Sentences,
    Table,
    TextItem,
    TextList,
    Verdict,
    table,
)
from handful.report.plots import Bar, bar_chart
from handful.report.render import render_page
from handful.report.wording import visible
from tests.payloads import payloads

ALLOWED = set(
    [
        "html",
        "head",
        "meta",
        "title",
        "link",
        "style",
        "body",
        "header",
        "h1",
        "h2",
        "h3",
        "bdi",
        "div",
        "p",
        "nav",
        "ol",
        "ul",
        "li",
        "a",
        "main",
        "section",
        "table",
        "caption",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "figure",
        "figcaption",
        "details",
        "summary",
        "span",
        "svg",
        "g",
        "path",
        "text",
        "use",
        "defs",
        "clippath",
        "rect",
    ]
)


class Elements(HTMLParser):
    """Every element, attribute and text of a page, as a parser that is not ours reads it."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str | None]] = []
        self.texts: list[str] = []
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def page_of(*blocks: Block, title: str = "A run") -> Page:
    return Page(title, Verdict("Use it", ("because",)), (Section("Part", "intro", blocks),))


def everything(texts: list[str]) -> Page:
    """A page whose every string is one of the texts."""
    rows = tuple((text, text) for text in texts)
    bars = [Bar(text, 0.5, 0.4, 0.6) for text in texts[:12]]
    words = Counter(dict.fromkeys(texts[:40], 3))
    blocks: tuple[Block, ...] = (
        Table((Column(texts[0], "name"), Column(texts[1], "text")), rows, texts[2]),
        bar_chart(bars, axis=texts[3], caption=texts[4]),
        cloud_pair(words, words, label=texts[5]),
        Paragraph(texts[6]),
        Paragraph(texts[7], warning=True),
        Sentences(tuple(texts)),
        TextList(tuple(TextItem(text, (Chip(text), Chip(text, "bad"))) for text in texts), texts[8]),
        Fold(texts[9], (Paragraph(texts[10]), Fold(texts[11], (Sentences((texts[12],)),)))),
    )
    sections = tuple(Section(text, text, blocks if not index else ()) for index, text in enumerate(texts[:20]))
    return Page(texts[0], Verdict(texts[1], tuple(texts)), sections)


def test_hostile_texts_stay_texts() -> None:
    texts = payloads()
    html = render_page(everything(texts))
    elements = Elements(html)
    assert set(elements.tags) <= ALLOWED
    assert not [name for _, name, _ in elements.attributes if name.startswith("on")]
    assert not [value for _, name, value in elements.attributes if name == "src"]
    for tag, name, value in elements.attributes:
        if name == "href":
            assert value is not None
            assert re.fullmatch(r"#section-\d+|data:,|#d[0-9a-f]+-\w+", value), (tag, value)
    seen = set(elements.texts)
    assert {visible(text) for text in texts} <= seen


def test_every_payload_is_another() -> None:
    assert len(set(payloads(1200))) == 1200


def test_the_same_page_is_the_same_bytes() -> None:
    assert render_page(everything(payloads(60))) == render_page(everything(payloads(60)))


def test_the_page_forbids_scripts_and_requests() -> None:
    html = render_page(page_of()).decode()
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
    assert f'<meta http-equiv="Content-Security-Policy" content="{policy}">' in html
    assert html.startswith("<!doctype html>\n")
    assert '<meta name="color-scheme" content="light dark">' in html
    assert not re.findall(r"https?://|//[a-z]", html)


def test_template_braces_in_a_text_are_not_a_template() -> None:
    html = render_page(page_of(Paragraph("{{ 7 * 7 }} {% raw %} {# x #}"))).decode()
    assert "<p>{{ 7 * 7 }} {% raw %} {# x #}</p>" in html


def test_only_markup_is_markup() -> None:
    numbers = table("a", [], [])
    trusted = Figure(Markup("<svg></svg>"), numbers)
    forged = Figure("<svg onload=alert(1)></svg>", numbers)  # type: ignore[arg-type]
    html = render_page(page_of(trusted, forged)).decode()
    assert "<svg></svg>" in html
    assert "&lt;svg onload=alert(1)&gt;" in html


def test_invisible_characters_are_spelt_out() -> None:
    html = render_page(page_of(TextList((TextItem("a\u202eb\x00", (Chip("\u2066l"),)),)), title="x\x1b")).decode()
    for shown in ("a⟨U+202E⟩b⟨U+0000⟩", "⟨U+2066⟩l", "<title>x⟨U+001B⟩</title>"):
        assert shown in html
    assert not set(html) & set("\u202e\u2066\x00\x1b")


def test_tables_mark_rows_and_align_columns() -> None:
    made = Table((Column("m", "name"), Column("n"), Column("t", "text")), (("a", "1", "x"), ("b", "2", "y")), "C")
    html = render_page(page_of(made, Table(made.columns, made.rows, marked=frozenset({1})))).decode()
    assert "<caption>C</caption>" in html
    row = (
        '<td class="name"><bdi>b</bdi></td><td class="number"><bdi>2</bdi></td><td class="text"><bdi>y</bdi></td></tr>'
    )
    assert f"<tr>{row}" in html
    assert f'<tr class="marked">{row}' in html


def test_figures_come_with_their_numbers() -> None:
    one = bar_chart([Bar("a", 0.5, 0.4, 0.6)], axis="accuracy", caption="Caption")
    html = render_page(page_of(one, Figures((one, one)))).decode()
    assert html.count("<figcaption>Caption</figcaption>") == 3
    assert html.count("0.400 to 0.600") == 3
    assert html.count("<details><summary>The numbers</summary>") == 3


def test_sections_are_linked() -> None:
    page = Page("t", Verdict("v"), (Section("One", ""), Section("Two", "x")))
    html = render_page(page).decode()
    assert '<a href="#section-2">Two</a>' in html
    assert '<section id="section-2">\n<h2>Two</h2>\n<p class="intro">x</p>' in html


@pytest.mark.parametrize("warning", [True, False])
def test_warnings_stand_out(warning: bool) -> None:
    html = render_page(page_of(Paragraph("mind this", warning=warning))).decode()
    assert ('<p class="warning" role="note">mind this</p>' in html) == warning
