"""A page as HTML: one file, no script, no request, the same bytes for the same page."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

from handful.report.page import Page
from handful.report.wording import visible

if TYPE_CHECKING:
    from jinja2 import Environment

_TEMPLATES = Path(__file__).parent / "templates"


def render_page(page: Page) -> bytes:
    """Return the page as HTML in UTF-8; all its strings are escaped, and what is invisible in them is spelt out."""
    return _environment().get_template("page.html").render(page=page).encode()


@functools.cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _shown(value: object) -> object:
    from jinja2 import Undefined
    from markupsafe import Markup

    if isinstance(value, Markup | Undefined):
        return value
    return visible(str(value))
