"""The page of different nets in a browser: one scatter with a switch for each axis."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any

import pytest
from opened_pages import CHROMIUM, axe

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium")

NETS = ("alexnet", "vgg16", "resnet50")


def test_axes_switch_by_mouse_and_keyboard(opened: Callable[..., Any], made: Callable[..., Any]) -> None:
    page = opened(made(*NETS)).page
    shown = page.locator(".contest .pair:visible")
    assert shown.locator(".behind").get_attribute("d").count("h0") == 77
    page.locator(".contest label[for=x-params]").click()
    assert shown.locator("figure, .fig").get_attribute("id") == "fig-error_params"
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert shown.locator(".fig").get_attribute("id") == "fig-error_peak"
    assert shown.locator(".behind").count() == 0
    page.locator(".contest label[for=x-params]").click()
    page.locator(".contest label[for=y-params]").click()
    assert "both ways" in shown.inner_text()
    page.locator(".contest label[for=x-peak]").click()
    assert shown.locator("svg").get_attribute("aria-label").startswith("Peak memory against parameters")
    assert shown.count() == 1


def test_without_a_script_the_first_axes_stand_and_no_switch(
    opened: Callable[..., Any], made: Callable[..., Any]
) -> None:
    page = opened(made(*NETS), java_script_enabled=False).page
    assert page.locator("#fig-error_macs svg").is_visible()
    assert page.locator(".contest .switch:visible").count() == 0


@pytest.mark.skipif("AXE_CORE" not in os.environ, reason="AXE_CORE does not name an axe.min.js")
@pytest.mark.parametrize(("look", "width"), [("light", 1280), ("dark", 360)])
def test_axe_finds_nothing_serious_on_other_axes(
    opened: Callable[..., Any], made: Callable[..., Any], look: str, width: int
) -> None:
    page = opened(made(*NETS), width=width, color_scheme=look, bypass_csp=True).page
    page.locator(".contest label[for=x-peak]").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    with axe(page) as found:
        assert found() == []


def ratios(page: Any) -> dict[str, list[str]]:
    """The summary's ratios as shown, by the measure, a model each."""
    script = """() => Object.fromEntries([...document.querySelectorAll("#summary thead th")].flatMap((th, at) =>
      th.dataset.k.endsWith("_ratio")
        ? [[th.dataset.k, [...document.querySelectorAll("#summary tbody tr")].map((row) => row.cells[at].innerText)]]
        : []))"""
    return dict(page.evaluate(script))


def test_the_reference_is_the_model_that_is_chosen(opened: Callable[..., Any], made: Callable[..., Any]) -> None:
    shown = made(*NETS)
    page = opened(shown).page
    first = ratios(page)
    totals = [model.profile.totals for model in shown.models]
    for at, choice in (
        (1, lambda: page.get_by_role("button", name="Ratios to B vgg16").click()),
        (2, press_enter(page)),
    ):
        choice()
        for key in ("params", "macs", "flops"):
            base = getattr(totals[at], key)
            assert ratios(page)[f"{key}_ratio"] == [f"{getattr(one, key) / base:,.2f}" for one in totals]
        assert [one == "true" for one in pressed(page)] == [i == at for i in range(3)]
    assert page.locator("#summary caption").inner_text() == "resnet50 against alexnet and vgg16"
    assert "ratio to C" in page.locator("#summary .note").inner_text()
    page.locator("#summary tbody th").first.click()
    assert ratios(page) == first


def press_enter(page: Any) -> Callable[[], None]:
    def press() -> None:
        page.get_by_role("button", name="Ratios to C resnet50").focus()
        page.keyboard.press("Enter")

    return press


def pressed(page: Any) -> list[str]:
    return [one.get_attribute("aria-pressed") for one in page.locator("#summary .ref").all()]


def test_without_a_script_the_first_model_is_the_reference(
    opened: Callable[..., Any], made: Callable[..., Any]
) -> None:
    page = opened(made(*NETS), java_script_enabled=False).page
    assert page.locator("#summary .ref").count() == 0
    assert ratios(page)["macs_ratio"][0] == "1.00"


def test_and_more_leaves_the_rows_of_the_finding(opened: Callable[..., Any], made: Callable[..., Any]) -> None:
    shown = made("resnet50")
    one = opened(shown)
    first = one.shown()
    link = one.page.get_by_role("link", name=re.compile(r"and \d+ more")).first
    finding = next(found for found in shown.models[0].findings if len(found.rows) > 5)
    link.focus()
    one.page.keyboard.press("Enter")
    assert sorted(one.shown()) == sorted(finding.rows)
    assert one.page.locator("#m0 tfoot .left td").first.inner_text() == f"Sum of {len(finding.rows)} rows"
    one.page.locator("#m0 input").fill("layer1.0.conv2")
    assert one.shown() == ["layer1.0.conv2"]
    link.click()
    assert len(one.shown()) == len(finding.rows)
    one.page.locator('#m0 [data-do="reset"]').click()
    assert one.shown() == first
