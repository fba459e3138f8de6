"""SVG that stands in a page: of what matplotlib writes, only what is needed and known; colours that follow the page."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from xml.etree import ElementTree

from markupsafe import Markup

INK, GRID, MUTED, HEAT = "#010203", "#040506", "#070809", "#0a0b0c"
"""Stand for colours of the page while something is drawn, as the series do."""
SERIES = ("#0d0e0f", "#101112", "#131415", "#161718")
_COLOURS = {
    INK: "currentColor",
    GRID: "var(--grid)",
    MUTED: "var(--muted)",
    HEAT: "var(--heat)",
    **{colour: f"var(--series-{index})" for index, colour in enumerate(SERIES, start=1)},
}
_ELEMENTS = {"svg", "g", "path", "text", "tspan", "use", "defs", "clipPath", "rect", "line", "circle", "title"}
_ATTRIBUTES = {
    "viewBox", "d", "transform", "style", "x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "r", "width", "height", "id",
    "href", "clip-path", "fill", "fill-opacity", "stroke", "font-size", "text-anchor", "textLength", "lengthAdjust",
    "role", "aria-label",
}  # fmt: skip
_FONT = re.compile(r"font:\s*(?:[\w-]+\s+)*?([\d.]+px)[^;]*")
_WIDEST = 1.45
"""A drawing grows to so many times its size, where there is room."""


def drawn(width: float, height: float, title: str, children: Sequence[ElementTree.Element], *, name: str) -> Markup:
    """Return an SVG of our own elements.

    Args:
        width: In pixels; on narrower screens it is scrolled rather than shrunk.
        height: In pixels.
        title: What it shows, for those who do not see it.
        children: Its elements.
        name: Makes its ids differ from those of other drawings.
    """
    root = ElementTree.Element("svg", {"viewBox": f"0 0 {width:g} {height:g}"})
    root.extend(children)
    return _finished(root, width, title, name)


def element(tag: str, attributes: Mapping[str, object], text: str = "") -> ElementTree.Element:
    """Return one element."""
    made = ElementTree.Element(tag, {key: str(value) for key, value in attributes.items()})
    made.text = text
    return made


def from_matplotlib(source: str, title: str) -> Markup:
    """Return what matplotlib wrote, fit to stand in a page: no document type, no style sheet, no metadata.

    Args:
        source: An SVG document.
        title: What it shows, for those who do not see it.
    """
    root = ElementTree.fromstring(source)
    width = float(root.attrib["viewBox"].split()[2])
    return _finished(root, width, title, hashlib.sha256(source.encode()).hexdigest()[:8])


def _finished(root: ElementTree.Element, width: float, title: str, name: str) -> Markup:
    _keep_known(root)
    _name_apart(root, f"d{name}-")
    root.attrib.pop("width", None)
    root.attrib.pop("height", None)
    root.set("role", "img")
    root.set("aria-label", title)
    root.set("style", f"width:100%;min-width:{0.92 * width:.0f}px;max-width:{_WIDEST * width:.0f}px")
    return Markup(ElementTree.tostring(root, encoding="unicode"))  # ElementTree has escaped it


def _keep_known(parent: ElementTree.Element) -> None:
    """Drop foreign elements and attributes, namespaces and comments; put the page's colours and font in."""
    parent.tag = _plain(parent.tag)
    attributes = {_plain(key): value for key, value in parent.attrib.items()}
    parent.attrib.clear()
    for key, value in attributes.items():
        if key in _ATTRIBUTES:
            parent.set(key, _coloured(value) if key in {"style", "fill", "stroke"} else value)
    if parent.tag not in {"text", "tspan", "title"}:
        parent.text = None
    for child in list(parent):
        child.tail = None
        if isinstance(child.tag, str) and _plain(child.tag) in _ELEMENTS:
            _keep_known(child)
        else:
            parent.remove(child)


def _plain(name: str) -> str:
    return name.rpartition("}")[2]


def _coloured(style: str) -> str:
    # matplotlib names its own font; the page has one.
    style = _FONT.sub(r"font-size: \1", style)
    for stand_in, colour in _COLOURS.items():
        style = style.replace(stand_in, colour)
    return style


def _name_apart(root: ElementTree.Element, prefix: str) -> None:
    """Keep the ids that something refers to, and make them differ from those of other drawings."""
    everything = list(root.iter())
    used = {
        name
        for one in everything
        for value in one.attrib.values()
        for name in re.findall(r"(?:url\(|^)#([\w-]+)", value)
    }
    for one in everything:
        if one.attrib.get("id") in used:
            one.set("id", prefix + one.attrib["id"])
        else:
            one.attrib.pop("id", None)
        for key in ("href", "clip-path", "style"):
            if key in one.attrib:
                one.set(key, re.sub(r"(url\(|^)#([\w-]+)", rf"\1#{prefix}\2", one.attrib[key]))
