"""How things look on the terminal: lines, tables, errors. User text is never read as markup."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

_WIDTH_OF_PIPES = 140
_STEERING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def plain(text: str) -> str:
    r"""Return text with control characters, and those that turn writing around, spelled out: none steers a terminal.

    >>> plain("a\x1b[2J")
    'a\\x1b[2J'
    """
    return _STEERING.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def plain_json(text: str) -> str:
    r"""As `plain`, spelled as JSON spells characters: a JSON text means the same as before.

    >>> plain_json('{"id": "a\x9b2J"}')
    '{"id": "a\\u009b2J"}'
    """
    return _STEERING.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def plain_line(text: str) -> str:
    r"""Return text as `plain` does, with tabs and line ends spelled out, too: a value prints no line of its own.

    >>> plain_line("a\nb")
    'a\\nb'
    """
    return plain(text).replace("\t", "\\t").replace("\n", "\\n")


def say(text: str = "") -> None:
    """Print lines on stdout."""
    print(plain(text), flush=True)


def say_json(value: Mapping[str, Any]) -> None:
    """Print one JSON object on one line of stdout; in ASCII, so that any locale can carry it."""
    print(json.dumps(value, ensure_ascii=True), flush=True)


def tell(text: str) -> None:
    """Print lines about the work, rather than its result, on stderr."""
    print(plain(text), file=sys.stderr, flush=True)


def tell_error(text: str) -> None:
    """Print an error on stderr."""
    tell(f"handful: {text}")


def tell_warning(text: str) -> None:
    """Print a warning on stderr."""
    tell(f"handful: warning: {text}")


def draws_on_terminal() -> bool:
    """Return whether stderr is a terminal that may be drawn on."""
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def drawing_console() -> Console:
    """Return the console for moving bars, on stderr."""
    from rich.console import Console

    return Console(stderr=True)


def show_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, title: str = "") -> None:
    """Print a table on stdout; the first column holds names, the others numbers."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, title=Text(plain(title)) if title else None, title_justify="left")
    for index, column in enumerate(columns):
        table.add_column(Text(plain(column)), justify="left" if index == 0 else "right", overflow="fold")
    for row in rows:
        table.add_row(*(Text(plain_line(cell)) for cell in row))
    width = None if sys.stdout.isatty() else _WIDTH_OF_PIPES
    Console(width=width).print(table)


def results_table(results: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return the columns and rows of the table of methods."""
    columns = [
        "method",
        "accuracy",
        "95 % interval",
        "macro-F1",
        "accuracy, calibrated on the generated pool",
        "ms per text",
        "prompt tokens",
    ]
    return columns, [_result_row(row) for row in results["methods"]]


def _result_row(row: Mapping[str, Any]) -> list[str]:
    return [
        row["title"],
        f"{row['accuracy']:.3f}",
        f"{row['accuracy_low']:.3f} to {row['accuracy_high']:.3f}",
        f"{row['macro_f1']:.3f}",
        "\u2013" if row["calibrated_accuracy"] is None else f"{row['calibrated_accuracy']:.3f}",
        f"{row['ms_per_text']:.1f}",
        f"{row['prompt_tokens']:.0f}",
    ]


def tally_table(tallies: Mapping[str, Mapping[str, int]]) -> tuple[list[str], list[list[str]]]:
    """Return the columns and rows of the table of labels: what was written for each and what was kept under it."""
    rows = [[label, str(count["written"]), str(count["kept"])] for label, count in tallies.items()]
    return ["label", "written for it", "kept under it"], rows
