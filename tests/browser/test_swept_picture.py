"""The page of a sweep in a browser: axes that switch, points that follow the filter, and a page that asks nobody."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from opened_pages import CHROMIUM, axe, until

from archprof.facts.swept import Cell, SweptRow, start_row
from archprof.render.page.swept_page import render_swept_page

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium")

NETS = {
    "small": (1, 30, 9.0, 3),
    "middle": (2, 20, 5.0, 2),
    "wide": (3, 10, 7.0, 9),
    "large <b>": (4, 40, 2.0, 1),
    "unknown": (9, 5, None, None),
}
"""MACs in G, parameters in M, error in percent, predicted ms."""


def row(name: str, batch: int) -> SweptRow:
    macs, params, error, time = NETS[name]
    made = replace(
        start_row(Cell(name, batch=batch, dtype="float32"), f"{name}{batch}", {}), status="ok", complete=True
    )
    return replace(
        made, macs=batch * macs * 10**9, params=params * 10**6, top5_error=error,
        predicted_seconds=time and time * batch * 1e-3,
    )  # fmt: skip


@pytest.fixture
def page(browser: Any, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    contexts, wrong = [], list[str]()

    def open_(width: int = 1280, **options: Any) -> Any:
        path = tmp_path / "sweep.html"
        path.write_text(render_swept_page([row(name, batch) for batch in (1, 8) for name in NETS], "Runs"), "utf-8")
        contexts.append(browser.new_context(viewport={"width": width, "height": 900}, **options))
        contexts[-1].set_offline(True)
        opened = contexts[-1].new_page()
        opened.on("pageerror", lambda error: wrong.append(str(error)))
        opened.on("console", lambda line: wrong.append(line.text))
        opened.on("request", lambda asked: wrong.append(asked.url) if asked.url != path.as_uri() else None)
        opened.goto(path.as_uri())
        return opened

    yield open_
    for context in contexts:
        context.close()
    assert wrong == []


def points(page: Any, setting: int) -> int:
    return str(page.locator(f'.swept [data-p="{setting}"]').get_attribute("d")).count("h0")


def front(page: Any, setting: int) -> list[str]:
    return [text.strip() for text in page.locator(f'[data-front="{setting}"] a').all_inner_texts()]


def choose(page: Any, axis: str, key: str) -> None:
    page.locator(f"label[for={axis}-{key}]").click()


def test_the_script_draws_what_was_drawn_without_it(page: Callable[..., Any]) -> None:
    read = (
        "[...document.querySelectorAll('.swept path[data-p], .swept path[data-f]')].map(path => path.getAttribute('d'))"
    )
    opened = page()
    drawn = opened.evaluate(read)
    markup = opened.evaluate("document.documentElement.outerHTML")
    static = page(java_script_enabled=False)
    text = Path(static.url.removeprefix("file://")).read_text()
    assert drawn == [
        path
        for n in (0, 1)
        for path in (
            re.search(rf'<path d="([^"]*)" class="c{n} line"', text)[1],  # type: ignore[index]
            re.search(rf'<path d="([^"]*)" class="c{n} dots"', text)[1],  # type: ignore[index]
        )
    ]
    assert "large &lt;b&gt;" in markup
    assert static.locator(".swept").is_visible()
    assert static.locator(".switch:visible").count() == 0
    assert static.locator("#runs tbody tr:visible").count() == 10


def test_axes_switch_and_the_front_follows(page: Callable[..., Any]) -> None:
    opened = page()
    assert (points(opened, 0), front(opened, 0)) == (4, ["small", "middle", "large <b>"])
    choose(opened, "x", "params")
    assert front(opened, 0) == ["wide", "middle", "large <b>"]
    choose(opened, "y", "macs")
    assert points(opened, 1) == 5
    assert front(opened, 1) == ["unknown", "wide", "middle", "small"]
    opened.locator("#x-params").focus()
    for key in ("predicted_seconds", "top5_error"):
        opened.keyboard.press("ArrowRight")
        assert opened.locator("input[name=axis-x]:checked").get_attribute("value") == key
    assert opened.locator(".swept g[data-x]:visible").count() == 1
    assert opened.locator(".swept").get_attribute("aria-label").startswith("MACs against Published top-5 error")


def test_an_axis_ends_where_the_points_that_are_drawn_do(page: Callable[..., Any]) -> None:
    """The net of most MACs has no error: against that, MACs reach to 8 x 4 G, and against parameters to 8 x 9 G."""
    opened = page()
    high = "Number(document.querySelector('.swept g[data-x]:not([hidden])').dataset.high)"
    assert 32e9 <= opened.evaluate(high) < 72e9
    choose(opened, "y", "params")
    assert opened.evaluate(high) >= 72e9
    choose(opened, "y", "top5_error")
    assert 32e9 <= opened.evaluate(high) < 72e9


def test_the_picture_follows_the_filter(page: Callable[..., Any]) -> None:
    opened = page()
    search = opened.locator("#runs input[type=search]")
    search.fill("middle")
    until(opened, "document.querySelector('.swept [data-p=\"0\"]').getAttribute('d').split('h0').length == 2")
    assert front(opened, 0) == ["middle"]
    search.fill("batch:8")
    until(opened, "document.querySelector('.swept [data-p=\"0\"]').getAttribute('d') == ''")
    assert (points(opened, 1), front(opened, 0)) == (4, [])
    opened.locator('[data-do="reset"]').click()
    until(opened, "document.querySelector('.swept [data-p=\"0\"]').getAttribute('d').split('h0').length == 5")


def test_a_point_says_what_it_is_and_leads_to_its_row(page: Callable[..., Any]) -> None:
    opened = page()
    at = opened.locator(".swept [data-p='0']").evaluate(
        """path => {
          const [x, y] = /M([\\d.]+) ([\\d.]+)/.exec(path.getAttribute("d").split("h0")[1]).slice(1).map(Number);
          const end = new DOMPoint(x, y).matrixTransform(path.ownerSVGElement.getScreenCTM());
          return [end.x, end.y];
        }"""
    )
    opened.mouse.move(*at)
    said = opened.locator(".tip:visible").inner_text()
    assert said.splitlines() == ["middle", "batch 1", "Published top-5 error: 5.00", "MACs: 2.00 G"]
    opened.mouse.click(*at)
    until(opened, "location.hash === '#runs-1'")


@pytest.mark.skipif("AXE_CORE" not in os.environ, reason="AXE_CORE does not name an axe.min.js")
@pytest.mark.parametrize(("look", "width"), [("light", 1280), ("dark", 360)])
def test_axe_finds_nothing_serious(page: Callable[..., Any], look: str, width: int) -> None:
    opened = page(width=width, color_scheme=look, bypass_csp=True)
    assert opened.evaluate("document.documentElement.scrollWidth") <= width
    with axe(opened) as found:
        assert found() == []
