"""The report in a real browser: hostile texts do nothing, nothing is fetched, and it fits a telephone."""

from __future__ import annotations

import dataclasses
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from handful.benchmark.benchmark import run_benchmark
from handful.benchmark.plan import BenchmarkPlan
from handful.evaluation.methods import methods_of
from handful.report.benchmark_report import benchmark_page, read_benchmark
from handful.report.page import Page
from handful.report.render import render_page
from handful.report.run_report import run_page
from handful.report.wording import visible
from handful.run import open_run
from handful.task import Task
from tests.payloads import payloads
from tests.report.samples import films, run_data
from tests.report.test_render import everything
from tests.toys import Listener, RecordingEngine, small_recipe

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Dialog
    from playwright.sync_api import Page as Tab

PROJECT = Path(__file__).parents[2]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
WIDTHS = (400, 1600)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium of the system; without it the tests are skipped, but never silently in CI."""
    named = os.environ.get("HANDFUL_BROWSER") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if named is None:
        _give_up("there is no Chromium: sudo apt-get install chromium, or set HANDFUL_BROWSER to its path")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        _give_up("playwright is not installed: pip install -e '.[dev]'")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=named, args=["--no-sandbox"])
        yield opened
        opened.close()


def _give_up(reason: str) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def hostile_run() -> Page:
    """The page of a run whose labels, names and texts are payloads."""
    texts = payloads()
    task = films((texts[4], texts[33]), name=texts[2])
    data = run_data(task)
    return run_page(
        dataclasses.replace(
            data,
            model=texts[3],
            candidates=[dataclasses.replace(c, text=texts[100 + i]) for i, c in enumerate(data.candidates)],
            task=dataclasses.replace(task, instruction=texts[60], warnings=tuple(texts[61:70])),
        )
    )


def hostile_benchmark() -> Page:
    """The page of a benchmark whose task, labels, examples and test texts are payloads."""
    texts = payloads()
    labels = [texts[4], texts[33]]
    task = Task.create(
        texts[2],
        {name: {"verbalizer": f"word {index}", "description": texts[5]} for index, name in enumerate(labels)},
        [(text, labels[index % 2]) for index, text in enumerate(texts[:40])],
        test=[(text, labels[index % 2]) for index, text in enumerate(texts[40:60])],
        text_name=texts[6],
    )
    methods = methods_of("zero_shot,lora_real:1,lora_real:2,lora_real,lora_synthetic,lora_synthetic[2],lora_real:full")
    plan = BenchmarkPlan((task,), methods, (0, 1), small_recipe(), RecordingEngine(), shots_per_label=3)
    with tempfile.TemporaryDirectory() as folder:
        with open_run(Path(folder) / "bench", {"identity": plan.identity(), "environment": {}}) as run:
            run_benchmark(plan, run, Listener())
        return benchmark_page(read_benchmark(Path(folder) / "bench"))


def long_words() -> Page:
    """The page of a run of very long words and labels."""
    task = films(("W" * 150, "i" * 150), name="n" * 150)
    data = run_data(task)
    return run_page(
        dataclasses.replace(data, candidates=[dataclasses.replace(c, text="x" * 90_000) for c in data.candidates])
    )


def opened(browser: Browser, path: Path, *, width: int, scheme: Any) -> tuple[Tab, list[str]]:
    """Open the page and everything foldable on it; return the tab and whatever went wrong or was asked for."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    tab, trouble = context.new_page(), list[str]()

    def dismiss(dialog: Dialog) -> None:
        trouble.append(f"dialog {dialog.message}")
        dialog.dismiss()

    tab.on("dialog", dismiss)
    tab.on("console", lambda message: trouble.append(f"console {message.text}"))
    tab.on("pageerror", lambda error: trouble.append(f"error {error}"))
    tab.on("popup", lambda popup: trouble.append("popup"))
    tab.on("request", lambda request: trouble.extend({request.url} - {path.as_uri()}))
    tab.goto(path.as_uri())
    tab.evaluate("() => document.querySelectorAll('details').forEach(one => { one.open = true })")
    return tab, trouble


def overflow(tab: Tab) -> int:
    """By how many pixels the page is wider than the window."""
    wider: int = tab.evaluate("() => document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return wider


PAGES: dict[str, Callable[[], Page]] = {
    "every string": lambda: everything(payloads()),
    "hostile run": hostile_run,
    "hostile benchmark": hostile_benchmark,
    "long words": long_words,
    "plain run": lambda: run_page(run_data()),
}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", PAGES)
def test_nothing_runs_nothing_is_fetched_and_it_fits(
    name: str, width: int, scheme: str, browser: Browser, tmp_path: Path
) -> None:
    path = tmp_path / "report.html"
    path.write_bytes(render_page(PAGES[name]()))
    tab, trouble = opened(browser, path, width=width, scheme=scheme)
    # What wakes handlers, had one come through.
    tab.mouse.move(width / 2, 300)
    tab.keyboard.press("Tab")
    tab.wait_for_timeout(200)
    assert trouble == []
    assert tab.url == path.as_uri()
    assert tab.evaluate("() => document.scripts.length + document.querySelectorAll('img, iframe, form').length") == 0
    assert overflow(tab) <= 0
    tab.context.close()


def test_texts_are_shown_as_they_are(browser: Browser, tmp_path: Path) -> None:
    path, texts = tmp_path / "report.html", payloads()
    path.write_bytes(render_page(everything(texts)))
    tab, _ = opened(browser, path, width=1600, scheme="light")
    shown = tab.evaluate(
        "() => [...document.querySelectorAll('#section-1 .texts li > p:first-child')].map(p => p.innerText)"
    )
    assert [" ".join(text.split()) for text in shown] == [" ".join(visible(text).split()) for text in texts]
    tab.context.close()


LOWEST_CONTRAST = """() => {
  const linear = v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4
  const light = colour => colour.match(/[\\d.]+/g).slice(0, 3)
    .reduce((sum, v, i) => sum + linear(v / 255) * [.2126, .7152, .0722][i], 0)
  const ground = one => {
    const colour = one ? getComputedStyle(one).backgroundColor : 'rgb(255, 255, 255)'
    return colour.endsWith(', 0)') ? ground(one.parentElement) : colour
  }
  return [...document.querySelectorAll('p, td, th, li, summary, figcaption, caption, .chip, a, svg text')].map(one => {
    const style = getComputedStyle(one), ink = light(one.closest('svg') ? style.fill : style.color)
    const paper = light(ground(one))
    const ratio = (Math.max(ink, paper) + .05) / (Math.min(ink, paper) + .05)
    return [ratio, one.tagName, one.textContent.slice(0, 40)]
  }).sort((a, b) => a[0] - b[0])[0]
}"""
"""Of the text that stands out least: its contrast as WCAG 2 counts it, its element, its beginning."""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(scheme: str, browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_bytes(render_page(run_page(run_data())))
    tab, _ = opened(browser, path, width=1600, scheme=scheme)
    contrast = tab.evaluate(LOWEST_CONTRAST)
    assert contrast[0] >= 4.5, contrast
    tab.context.close()


def test_it_prints(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_bytes(render_page(run_page(run_data())))
    tab, _ = opened(browser, path, width=1600, scheme="dark")
    assert tab.pdf(format="A4").startswith(b"%PDF")
    tab.emulate_media(media="print")
    assert tab.evaluate("() => getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not tab.locator("nav").is_visible()
    tab.context.close()


@pytest.mark.parametrize("task", ["sst2", "trec", "ag_news"])
def test_a_benchmark_of_many_methods_fits_on_paper(task: str, browser: Browser) -> None:
    """A4 with Chromium's margins is 718 pixels wide; what is wider is cut off."""
    tab, _ = opened(browser, PROJECT / "benchmarks" / "results" / f"{task}.html", width=718, scheme="light")
    tab.emulate_media(media="print")
    assert tab.evaluate("() => document.documentElement.scrollWidth") <= 718
    tab.context.close()
