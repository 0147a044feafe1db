"""What the tests of pages share: a browser off the network, reports that are traced once, and what a page did."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import archprof
from archprof.analysis.report.page import Report, build_report
from archprof.render.page import html

api = pytest.importorskip("playwright.sync_api", reason="needs Playwright for Python")
CHROMIUM = shutil.which("chromium")
LAYERS = "#m0 tbody tr"


@dataclass
class Opened:
    """A page in the browser, and what it did that it should not."""

    page: Any
    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def shown(self, selector: str = LAYERS) -> list[str]:
        """The first cells of the rows that are to be seen, in their order."""
        rows = "rows => rows.filter(row => row.getClientRects().length).map(row => row.cells[0].innerText.trim())"
        return list(self.page.eval_on_selector_all(selector, rows))

    def column(self, key: str) -> list[float]:
        """Raw values of a column of the table of layers, row by row as shown."""
        script = """([rows, key]) => {
          const heads = [...document.querySelectorAll("#m0 thead th")];
          const at = heads.findIndex(th => th.dataset.k === key);
          return [...document.querySelectorAll(rows)].filter(row => row.getClientRects().length)
            .map(row => Number(row.cells[at].dataset.v ?? 0));
        }"""
        return list(self.page.evaluate(script, [LAYERS, key]))


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    with api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield launched
        launched.close()


@pytest.fixture(scope="session")
def made() -> Callable[..., Report]:
    """The report of some models, traced once each."""
    profiles: dict[str, archprof.Profile] = {}

    def of(*names: str) -> Report:
        for name in names:
            if name not in profiles:
                profiles[name] = archprof.profile(name)
        return build_report([profiles[name] for name in names], command=f"archprof report {' '.join(names)}")

    return of


@pytest.fixture
def opened(browser: Any, tmp_path: Path) -> Iterator[Callable[..., Opened]]:
    """Opens a report from the file system; at the end nothing was asked for, and nobody complained."""
    contexts, pages = [], list[Opened]()

    def open_(
        shown: Report, plotly: html.PlotlyEmbedding = "none", width: int = 1280, height: int = 800, **options: Any
    ) -> Opened:
        path = tmp_path / f"{len(pages)}.html"
        path.write_text(html.render_page(shown, plotly=plotly), "utf-8")
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        context.set_offline(True)
        opened = Opened(context.new_page())
        pages.append(opened)

        def block(route: Any) -> None:
            if route.request.url == path.as_uri():
                route.continue_()
            else:
                opened.requests.append(route.request.url)
                route.abort()

        context.route("**/*", block)
        opened.page.on("pageerror", lambda error: opened.errors.append(str(error)))
        opened.page.on("console", lambda line: opened.errors.append(f"{line.type}: {line.text}"))
        opened.page.on("dialog", lambda dialog: opened.errors.append(f"dialog: {dialog.message}"))
        opened.page.goto(path.as_uri())
        return opened

    yield open_
    for page in pages:
        assert page.requests == []
        assert page.errors == []
    for context in contexts:
        context.close()


def until(page: Any, script: str) -> None:
    """Wait until it is so; Playwright's own way needs the `eval` that the page's policy forbids."""
    end = time.monotonic() + 10
    while not page.evaluate(script):
        assert time.monotonic() < end, f"never came true: {script}"
        page.wait_for_timeout(20)


@contextmanager
def axe(page: Any) -> Iterator[Callable[[], list[str]]]:
    """What axe-core finds that is serious: rule, element, and why."""
    page.evaluate(Path(os.environ["AXE_CORE"]).read_text("utf-8"))

    def found() -> list[str]:
        result = page.evaluate("axe.run({ resultTypes: ['violations'] })")
        grave = [one for one in result["violations"] if one["impact"] in ("serious", "critical")]
        return [
            f"{one['id']}: {node['html'][:100]}: {node['failureSummary'][:200]}"
            for one in grave
            for node in one["nodes"]
        ]

    yield found
