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
    assert (
        shown.locator(".behind").get_attribute("d").count("h0") == 77 + 767
    )  # of timm two nets are vgg16 and resnet50
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


def place_dots(svg: Any) -> list[tuple[float, float]]:
    """Where in the window the grey dots of a picture are: its path holds tenths of the picture's 580 pixels."""
    box, path, places = svg.bounding_box(), svg.locator(".behind").get_attribute("d"), [(0.0, 0.0)]
    for right, down in re.findall(r"m(-?\d+) ?(-?\d+)h0", path):
        places.append((places[-1][0] + int(right), places[-1][1] + int(down)))
    scale = box["width"] / 5800
    return [(box["x"] + scale * x, box["y"] + scale * y) for x, y in places[1:]]


@pytest.mark.parametrize(("x", "y"), [("macs", "error"), ("macs", "params"), ("params", "error")])
def test_a_grey_dot_says_which_net_it_is(opened: Callable[..., Any], made: Callable[..., Any], x: str, y: str) -> None:
    page = opened(made(*NETS)).page
    page.locator(f".contest label[for=y-{y}]").click()
    page.locator(f".contest label[for=x-{x}]").click()
    svg = page.locator(f"#fig-{y}_{x} svg")
    svg.scroll_into_view_if_needed()
    places = place_dots(svg)
    names = [name for _, _, name in next(one for one in made(*NETS).charts if one.key == f"{y}_{x}").backdrop]
    assert len(places) == len(names) > 800
    told = {}
    for name in ("timm:tinynet_e at 106 px", "resnext101_32x8d", "timm:eva02_large_patch14_448 at 448 px"):
        page.mouse.move(*places[names.index(name)])
        told[name] = page.locator(".tip").inner_text()
    assert {name: name for name in told} == told
    page.mouse.move(places[0][0], svg.bounding_box()["y"] - 40)
    assert page.locator(".tip").is_hidden()


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


def aligned(page: Any, table: str, key: str) -> dict[str, str]:
    """A column of a table of stages or layers, by the name of the row, and its total."""
    script = """([id, key]) => {
      const at = [...document.querySelectorAll(`#${id} thead th`)].findIndex((th) => th.dataset.k === key);
      const rows = [...document.querySelectorAll(`#${id} tbody tr, #${id} tfoot tr`)];
      return Object.fromEntries(rows.map((row) => [row.cells[0].textContent, row.cells[at].textContent]));
    }"""
    return dict(page.evaluate(script, [table, key]))


@pytest.mark.parametrize("table", ["stages", "layers"])
def test_stages_and_layers_follow_the_reference(
    opened: Callable[..., Any], made: Callable[..., Any], table: str
) -> None:
    """With vgg16 for the reference, the columns are A/B and C/B, and 224x224 is in vgg16 alone."""
    shown = made(*NETS)
    page = opened(shown).page
    head = page.locator(f"#{table} thead th:visible")
    first = {key: aligned(page, table, key) for key in ("macs_ratio_b", "macs_ratio_c", "params_ratio_c")}
    assert "+ 224x224" in first["macs_ratio_b"]
    page.get_by_role("button", name="Ratios to B vgg16").click()
    assert [text for text in head.all_inner_texts() if "/" in text] == ["A/B", "C/B"]
    a, b, c = (model.profile.totals for model in shown.models)
    for key in ("macs", "params"):
        base = getattr(b, key)
        assert aligned(page, table, f"{key}_ratio_b")["Total"] == f"{getattr(a, key) / base:.2f}"
        assert aligned(page, table, f"{key}_ratio_c")["Total"] == f"{getattr(c, key) / base:.2f}"
    now = aligned(page, table, "macs_ratio_c")
    assert "- 224x224" in now
    records = [row for row in shown.comparison.stages.records() if "28x28" in row["part"]]
    assert now["27x27 / 28x28"] == f"{records[0]['macs_c'] / records[0]['macs_b']:.2f}"
    assert "in B" in page.locator(f"#{table} .note").inner_text()
    page.get_by_role("button", name="Ratios to A alexnet").click()
    assert {key: aligned(page, table, key) for key in first} == first


def test_tokens_and_pixels_have_no_ratio_whichever_is_the_reference(
    opened: Callable[..., Any], made: Callable[..., Any]
) -> None:
    shown = made("vgg16", "resnet18", "hf:gpt2")
    page = opened(shown).page
    for reference, unlike in (("A vgg16", [2]), ("C hf:gpt2", [0, 1])):
        page.get_by_role("button", name=f"Ratios to {reference}").click()
        found = ratios(page)
        for key in ("macs_ratio", "act_fp32_ratio"):
            assert [i for i, text in enumerate(found[key]) if text == "–"] == unlike
        assert "–" not in found["params_ratio"]
        totals = [aligned(page, "layers", f"macs_ratio_{letter}")["Total"] for letter in "bc"]
        assert (totals == ["–", "–"]) == (reference[0] == "C")
    sentences = [finding.text for finding in shown.comparison.findings]
    assert not any("vgg16" in text and "gpt2" in text for text in sentences if "passes differ" not in text)
    assert "3x224x224 for vgg16 and resnet18; " in sentences[0]


@pytest.mark.parametrize("script", [True, False])
def test_one_metric_at_a_time_fits_the_page(opened: Callable[..., Any], made: Callable[..., Any], script: bool) -> None:
    names = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
    page = opened(made(*names), java_script_enabled=script).page
    assert page.locator("#summary .scroll").evaluate("box => box.scrollWidth - box.clientWidth") <= 0
    for id in ("stages", "layers"):
        box = page.locator(f"#{id} .scroll")
        for choice, wanted in (("macs", "A MACs"), ("params", "A params"), ("holds", "What is there")):
            page.locator(f"label[for={id}-by-{choice}]").click()
            if choice != "holds":
                assert box.evaluate("box => box.scrollWidth - box.clientWidth") <= 0
            heads = page.locator(f"#{id} thead th:visible").all_inner_texts()
            assert any(text.startswith(wanted) for text in heads)
            assert len(heads) == (2 if choice == "holds" else 10)
    cells = aligned(page, "stages", "holds").values()
    assert not any("|" in text for text in cells)
    assert any(text.startswith("A: ") and "; B: " in text for text in cells)
