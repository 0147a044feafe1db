"""Every kind of page in a real browser: each is opened once for all that is asked of it.

A few kinds are tried each time, all of them with `-m slow`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any

import pytest
from opened_pages import CHROMIUM, Opened, axe
from page_nets import EVERY, list_profiles

from archprof.analysis.report.page import Report, build_report

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium")

QUICK = ("unet", "one op", "unknown", "two versions")

KINDS = [pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow]) for name in EVERY]

OUTSIDE = """() => {
  const wrong = document.documentElement.scrollWidth > innerWidth ? ["the page scrolls sideways"] : [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let text; (text = texts.nextNode());) {
    const holder = text.parentElement, range = document.createRange();
    if (!text.data.trim() || /SCRIPT|STYLE|TITLE/i.test(holder.tagName)) continue;
    range.selectNodeContents(text);
    const box = range.getBoundingClientRect();
    if (box.width < 1 || box.height < 1) continue;
    for (let around = holder; around !== document.body; around = around.parentElement) {
      const style = getComputedStyle(around), frame = around.getBoundingClientRect();
      if (around instanceof SVGElement && around.tagName !== "svg") continue;
      if (around.tagName !== "svg" && /inline$|contents/.test(style.display)) continue;
      if (/auto|scroll/.test(style.overflowX)) break;
      if (style.textOverflow === "ellipsis" && holder.closest("[title]")) break;
      if (box.left < frame.left - 1.5 || box.right > frame.right + 1.5 ||
          (style.overflowY === "hidden" && style.webkitLineClamp === "none" && box.bottom > frame.bottom + 2)) {
        const kind = around.className.baseVal ?? around.className;
        wrong.push(`${text.data.trim().slice(0, 60)} in ${around.tagName}.${kind}`);
        break;
      }
    }
  }
  return wrong;
}"""
"""Texts that stand outside a box around them, up to the next that scrolls; a cut name has it whole in its title."""


@pytest.mark.parametrize("name", KINDS)
def test_a_page_of_every_kind(opened: Callable[..., Opened], name: str) -> None:
    profiles = list_profiles(name)
    shown = build_report(profiles, command="archprof report")
    page = opened(shown, bypass_csp=True).page
    for width in (1920, 360, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate(OUTSIDE) == [], width
    check_print(page, shown)
    check_accessible(page)
    check_without_script(opened(shown, java_script_enabled=False).page, shown)


def check_accessible(page: Any) -> None:
    """Nothing serious, light on a screen and dark on a phone."""
    if "AXE_CORE" not in os.environ:
        return
    page.evaluate("document.querySelectorAll('tr[hidden]').forEach(row => row.remove())")  # thousands, and never met
    for look, width in (("light", 1280), ("dark", 360)):
        page.set_viewport_size({"width": width, "height": 800})
        page.emulate_media(color_scheme=look)
        with axe(page) as found:
            assert found() == [], look


def check_print(page: Any, shown: Report) -> None:
    """At most six pages, each sentence and total on them once, and no button."""
    page.set_viewport_size({"width": 1040, "height": 700})
    printed = page.pdf(prefer_css_page_size=True)
    assert 1 <= len(re.findall(rb"/Type\s*/Page\b", printed)) <= 6
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    text = read(page)
    for finding in list_findings(shown):
        assert text.count(read_words(finding)) == 1, finding
    for word in ("Unfold all", "Copy CSV", "Filter:", "Print everything", "↕", "▾", "undefined", "NaN", "None"):
        assert word not in text.replace("None of", ""), word
    totals = page.locator("table:visible tfoot tr:not(.left):visible").count()
    assert totals == page.locator("table:visible:has(tfoot)").count()
    assert page.evaluate(OUTSIDE) == []
    page.emulate_media(media="screen")


def check_without_script(page: Any, shown: Report) -> None:
    """Numbers, picture, sentences and tables are there, and nothing that would need the script."""
    assert page.locator("h1").inner_text() == page.title()
    targets = page.eval_on_selector_all("nav a", "all => all.map(a => document.querySelectorAll(a.hash).length)")
    assert set(targets) == {1}
    assert page.locator(".tile:visible").count() >= 3
    assert page.locator("#net0 .strip:visible").count() >= 1
    assert page.locator("table:visible").first.locator("tbody tr:visible").count() >= 1
    assert page.locator("button:visible, input[type=search]:visible").count() == 0
    text = read(page)
    for finding in list_findings(shown):
        assert read_words(finding) in text
    assert page.evaluate(OUTSIDE) == []


def list_findings(shown: Report) -> list[str]:
    said = shown.comparison.findings if shown.comparison else shown.models[0].findings
    return [finding.text for finding in said]


def read(page: Any) -> str:
    return read_words(page.locator("body").inner_text())


def read_words(text: str) -> str:
    """As it is read: with single spaces, and without the marks that a hostile name would hide in."""
    return " ".join(text.replace("\u202e", "\\u202e").split())
