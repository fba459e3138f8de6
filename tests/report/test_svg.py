from __future__ import annotations

from handful.report.svg import INK, SERIES, drawn, element, from_matplotlib

SOURCE = f"""<?xml version="1.0" encoding="utf-8" standalone="no"?>
<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd">
<svg xmlns:xlink="http://www.w3.org/1999/xlink" width="288pt" height="72pt" viewBox="0 0 288 72"
 xmlns="http://www.w3.org/2000/svg" version="1.1" onload="alert(1)">
 <metadata><about/></metadata>
 <defs><style type="text/css">*{{stroke-linejoin: round}}</style></defs>
 <script>alert(1)</script>
 <!-- a comment -->
 <g id="figure_1"><clipPath id="p1"><rect x="0" y="0" width="9" height="9"/></clipPath>
  <path id="m1" d="M 0 0" style="fill: {SERIES[0]}; stroke: {INK}"/>
  <use xlink:href="#m1" clip-path="url(#p1)" style="fill: {INK}"/>
  <text style="font: italic 9.5px 'DejaVu Sans', sans-serif; text-anchor: middle; fill: {INK}">a &lt; b</text>
  <image href="https://evil.example/x.png"/>
 </g>
</svg>"""


def test_only_what_is_known_stays() -> None:
    made = from_matplotlib(SOURCE, "A <title>")
    for gone in ("DOCTYPE", "http", "metadata", "<style", "script", "comment", "onload", "image", "figure_1", "xlink"):
        assert gone not in made
    assert made.startswith('<svg viewBox="0 0 288 72"')
    assert 'role="img" aria-label="A &lt;title&gt;"' in made
    assert "a &lt; b</text>" in made


def test_colours_and_font_are_those_of_the_page() -> None:
    made = from_matplotlib(SOURCE, "")
    assert "fill: var(--series-1); stroke: currentColor" in made
    assert "font-size: 9.5px; text-anchor: middle; fill: currentColor" in made
    assert "DejaVu" not in made
    assert INK not in made


def test_ids_differ_between_drawings_and_still_fit() -> None:
    made = {from_matplotlib(SOURCE, ""), from_matplotlib(SOURCE.replace("M 0 0", "M 1 1"), "")}
    names = {svg.partition('clipPath id="')[2].partition('"')[0] for svg in made}
    assert len(names) == 2
    for svg in made:
        name = svg.partition('clipPath id="')[2].partition('"')[0]
        assert f'clip-path="url(#{name})"' in svg
        assert f'href="#{name.removesuffix("p1")}m1"' in svg


def test_own_elements_are_escaped() -> None:
    text = element("text", {"x": 1, "onclick": "alert(1)", "fill": SERIES[1]}, "</text><script>")
    made = drawn(100, 50, 'a"b', [text], name="x")
    assert '<text x="1" fill="var(--series-2)">&lt;/text&gt;&lt;script&gt;</text>' in made
    assert 'aria-label="a&quot;b"' in made
    assert "onclick" not in made
    assert "min-width:92px;max-width:145px" in made
