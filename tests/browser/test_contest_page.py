"""The page of different nets in a browser: one scatter with a switch for each axis."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from opened_pages import CHROMIUM, axe

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium")

NETS = ("alexnet", "vgg16", "resnet50")


def test_axes_switch_by_mouse_and_keyboard(opened: Callable[..., Any], made: Callable[..., Any]) -> None:
    page = opened(made(*NETS)).page
    shown = page.locator(".contest .pair:visible")
    assert shown.locator(".behind path").count() == 77
    page.locator(".contest label[for=x-params]").click()
    assert shown.locator("figure, .fig").get_attribute("id") == "fig-error_params"
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert shown.locator(".fig").get_attribute("id") == "fig-error_peak"
    assert shown.locator(".behind").count() == 0
    page.locator(".contest label[for=y-peak]").click()
    assert "both ways" in shown.inner_text()
    page.locator(".contest label[for=y-params]").click()
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
