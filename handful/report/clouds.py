"""Word clouds as SVG: the words of real texts beside those of written ones (paper, Fig. 4).

Words are laid out by the box of each: the browser's letters are others than those they were measured with, so that a
layout by the pixels of the letters, such as the wordcloud package makes, would let them run into one another.
"""

from __future__ import annotations

import hashlib
import logging
import math
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from xml.etree import ElementTree

import numpy as np
from markupsafe import Markup

from handful.calibration import FloatArray
from handful.report.page import Figure, Figures, table
from handful.report.svg import SERIES, drawn, element
from handful.report.wording import brief, cut

_WIDTH, _HEIGHT = 380, 200
_LARGEST, _SMALLEST = 38, 9
_FILLED = 0.5
"""Share of the drawing that words may take in their first sizes; more of them leaves no room to place the last."""
_ASCENT, _DESCENT, _GAP = 0.78, 0.24, 3
_MOST_WORDS = 40
_WORD = 24

Box = tuple[float, float, float, float]


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
    largest = max(counts.values(), default=1)
    words: list[ElementTree.Element] = []
    for word, size, (left, top, right, _) in _layout(counts):
        attributes = {
            "x": round(left),
            "y": round(top + _ASCENT * size),
            "font-size": f"{size:.1f}",
            "fill": colour,
            "fill-opacity": f"{0.7 + 0.3 * counts[word] / largest:.2f}",
            # The browser's font is another one than the layout was made with.
            "textLength": round(right - left),
            "lengthAdjust": "spacingAndGlyphs",
        }
        words.append(element("text", attributes, word))
    name = hashlib.sha256(repr((title, sorted(counts.items()))).encode("utf-8", "replace")).hexdigest()[:8]
    return drawn(_WIDTH, _HEIGHT, title, words, name=name)


def _cloud_figure(counts: Counter[str], title: str, colour: str) -> Figure:
    top = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:_MOST_WORDS]
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


def _layout(counts: Mapping[str, int]) -> list[tuple[str, float, Box]]:
    """Place words one by one, each as near to the middle as it fits; what fits nowhere is made smaller, or left out."""
    largest = max(counts.values(), default=1)
    sizes = [_SMALLEST + (_LARGEST - _SMALLEST) * (count / largest) ** 0.7 for count in counts.values()]
    widths = _widths(list(counts))
    area = sum(width * size * size for width, size in zip(widths, sizes, strict=True))
    scale = min(1.0, math.sqrt(_FILLED * _WIDTH * _HEIGHT / area)) if area else 1.0
    places = _places()
    placed: list[tuple[str, float, Box]] = []
    for word, wanted, width in zip(counts, sizes, widths, strict=True):
        size = max(_SMALLEST, scale * wanted)
        while size >= _SMALLEST:
            box = _free_box(places, width * size, (_ASCENT + _DESCENT) * size, [box for _, _, box in placed])
            if box is not None:
                placed.append((word, size, box))
                break
            size *= 0.88
    return placed


def _places() -> FloatArray:
    """Return where the middle of a word may be, from the middle of the drawing outwards."""
    xs, ys = np.meshgrid(np.arange(0, _WIDTH + 1, 5.0), np.arange(0, _HEIGHT + 1, 4.0))
    across, down = xs.ravel() - _WIDTH / 2, ys.ravel() - _HEIGHT / 2
    # Half-way values tie: the order of the grid decides, whatever the machine.
    order = np.lexsort((np.arange(across.size), across**2 + (down * _WIDTH / _HEIGHT) ** 2))
    return np.stack([xs.ravel()[order], ys.ravel()[order]], axis=1)


def _free_box(places: FloatArray, width: float, height: float, taken: Sequence[Box]) -> Box | None:
    left, top = places[:, 0] - width / 2, places[:, 1] - height / 2
    right, bottom = left + width, top + height
    free = (left >= 0) & (top >= 0) & (right <= _WIDTH) & (bottom <= _HEIGHT)
    for other in taken:
        apart = (left >= other[2] + _GAP) | (right + _GAP <= other[0]) | (top >= other[3]) | (bottom <= other[1])
        free &= apart
    if not free.any():
        return None
    first = int(free.argmax())
    return float(left[first]), float(top[first]), float(right[first]), float(bottom[first])


def _widths(words: Sequence[str]) -> list[float]:
    """Return how wide each word is at a font size of 1."""
    # It says on stderr that it builds its cache of fonts.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(family="DejaVu Sans", size=100)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # letters the font lacks
        return [text_to_path.get_text_width_height_descent(word, font, ismath=False)[0] / 100 for word in words]
