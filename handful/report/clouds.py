"""Word clouds as SVG: the words of real texts beside those of written ones (paper, Fig. 4)."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from markupsafe import Markup

from handful.report.page import Figure, Figures, table
from handful.report.svg import SERIES, drawn, element
from handful.report.wording import brief, cut

_WIDTH, _HEIGHT = 380, 210
_LARGEST, _SMALLEST = 40, 10
_MOST_WORDS = 45
_WORD = 24
_TABLE_WORDS = 20


def cloud_pair(real: Counter[str], written: Counter[str], *, label: str) -> Figures:
    """Return the clouds of one label side by side; words with how often they occur."""
    return Figures(
        (
            _cloud_figure(real, f"{label}: real texts", SERIES[1]),
            _cloud_figure(written, f"{label}: written texts", SERIES[0]),
        )
    )


def word_cloud(counts: Mapping[str, int], *, title: str, colour: str = SERIES[0]) -> Markup:
    """Return the commonest words, the larger the more often they occur; always the same for the same counts."""
    counts = _shown_words(counts)
    words: list[ElementTree.Element] = []
    if counts:
        font = _font()
        largest = max(counts.values())
        for (word, _), size, (top, left), *_ in _layout(counts, font):
            sized = _sized(font, size)
            attributes = {
                "x": int(left),
                "y": int(top) + sized.getmetrics()[0],
                "font-size": size,
                "fill": colour,
                "fill-opacity": round(0.6 + 0.4 * counts[word] / largest, 2),
                # The browser's font is another one than the layout was made with.
                "textLength": round(sized.getlength(word)),
                "lengthAdjust": "spacingAndGlyphs",
            }
            words.append(element("text", attributes, word))
    name = hashlib.sha256(repr((title, sorted(counts.items()))).encode("utf-8", "replace")).hexdigest()[:8]
    return drawn(_WIDTH, _HEIGHT, title, words, name=name)


def _cloud_figure(counts: Counter[str], title: str, colour: str) -> Figure:
    top = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:_TABLE_WORDS]
    numbers = table("word", ["count"], [[cut(word, 40), f"{count:,}"] for word, count in top])
    nothing = "" if counts else " (no words)"
    return Figure(word_cloud(counts, title=title, colour=colour), numbers, f"{title}{nothing}")


def _shown_words(counts: Mapping[str, int]) -> dict[str, int]:
    """Return the commonest words as they can be drawn, in an order that does not depend on how they were counted."""
    shown: Counter[str] = Counter()
    for word, count in counts.items():
        if word.strip() and count > 0:
            shown[brief(word, _WORD)] += count
    return dict(sorted(shown.items(), key=lambda item: (-item[1], item[0]))[:_MOST_WORDS])


def _layout(counts: Mapping[str, int], font: Path) -> list[Any]:
    from wordcloud import WordCloud

    cloud = WordCloud(
        font_path=str(font),
        width=_WIDTH,
        height=_HEIGHT,
        margin=3,
        prefer_horizontal=1.0,
        max_font_size=_LARGEST,
        min_font_size=_SMALLEST,
        max_words=_MOST_WORDS,
        relative_scaling=0.5,
        random_state=0,
        color_func=lambda *_, **__: "black",
    )
    layout: list[Any] = cloud.generate_from_frequencies(dict(counts)).layout_
    return layout


def _font() -> Path:
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    import matplotlib

    return Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"


def _sized(font: Path, size: int) -> Any:
    from PIL import ImageFont

    return ImageFont.truetype(str(font), size)
