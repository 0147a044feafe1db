"""The network along its length in a real browser: many kinds of nets, every width, by mouse, keyboard and neither."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from opened_pages import Opened, until
from page_nets import trace
from torch import nn

import archprof
from archprof.analysis.network.network import CallTimes, build_network
from archprof.analysis.report.page import Report, build_report
from archprof.render.page import html

NETS = (
    "vgg16", "resnet152", "torchvision:swin_t", "torchvision:vit_b_16", "torchvision:efficientnet_b0",
    "torchvision:convnext_tiny", "torchvision:inception_v3", "torchvision:fasterrcnn_resnet50_fpn",
    "torchvision:densenet121", "hf:gpt2", "hf:llama-2-7b", "hf:mixtral-8x7b",
)  # fmt: skip

QUICK = ("vgg16", "resnet152", "torchvision:swin_t", "torchvision:inception_v3", "hf:gpt2", "unet", "one op")
"""Those that are tried each time."""

EVERY = [
    pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow]) for name in (*NETS, "unet", "deep", "one op")
]

OUTSIDE = """() => {
  const wrong = [];
  for (const text of document.querySelectorAll("svg text")) {
    const box = text.getBoundingClientRect(), svg = text.ownerSVGElement.getBoundingClientRect();
    if (!box.width) continue;
    const column = text.closest(".strip a")?.querySelector(".hit")?.getBoundingClientRect() ?? svg;
    const around = box.left < column.left - 1 || box.right > column.right + 1;
    if (around || box.top < svg.top - 1 || box.bottom > svg.bottom + 1) wrong.push(text.textContent);
  }
  return wrong;
}"""
"""Texts of pictures that stand outside their picture, or outside their column of a strip."""

INSIDE_BOXES = """() => {
  const wrong = [];
  for (const column of document.querySelectorAll(".strip a")) {
    const box = [...column.querySelectorAll(".box")].pop().getBoundingClientRect();
    if (!box.width) continue;
    const texts = [...column.querySelectorAll("text")].filter((one) => one.getBoundingClientRect().top < box.bottom);
    for (const text of texts) {
      const place = text.getBoundingClientRect();
      if (place.left < box.left || place.right > box.right || place.bottom > box.bottom) wrong.push(text.textContent);
    }
  }
  return wrong;
}"""
"""Texts of a box that reach over its border."""


@pytest.fixture
def report_of(made: Callable[..., Report]) -> Callable[[str], Report]:
    return lambda name: made(name) if name in NETS else build_report([trace(name)])


def check_texts(page: Any) -> None:
    for width in (360, 1280, 1920):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate(OUTSIDE) == [], width
        assert page.evaluate(INSIDE_BOXES) == [], width


@pytest.mark.parametrize("name", EVERY)
def test_every_net_along_its_length(
    opened: Callable[..., Opened],
    report_of: Callable[[str], Report],
    name: str,
) -> None:
    shown = report_of(name)
    page = opened(shown, bypass_csp=True).page
    network = shown.models[0].network
    columns = page.locator("#net0 > .pic .strip a")
    assert columns.count() == len(network.blocks)
    check_texts(page)
    page.set_viewport_size({"width": 1280, "height": 800})
    first = page.locator("#net0 > .pic").bounding_box()
    assert first["y"] + first["height"] <= 800
    for at, block in enumerate(network.blocks):
        if block.inner is not None:
            columns.nth(at).focus()
            page.keyboard.press("Enter")
            until(page, f"getComputedStyle(document.getElementById('net0-{at}')).display === 'block'")
            assert page.locator(".net > .inside:visible").count() == 1
            assert page.locator(f"#net0-{at} > .pic .strip a").count() == len(block.inner.blocks)
            check_texts(page)
            page.set_viewport_size({"width": 1280, "height": 800})
            break
    if "AXE_CORE" in os.environ:
        page.evaluate(Path(os.environ["AXE_CORE"]).read_text("utf-8"))
        for look in ("light", "dark"):
            page.emulate_media(color_scheme=look)
            result = page.evaluate("axe.run('.net', { resultTypes: ['violations'] })")
            grave = [one for one in result["violations"] if one["impact"] in ("serious", "critical")]
            assert [(one["id"], one["nodes"][0]["failureSummary"]) for one in grave] == []


def test_the_table_follows_and_the_same_again_closes(
    opened: Callable[..., Opened], made: Callable[..., Report]
) -> None:
    one = opened(made("resnet152"))
    page = one.page
    column = page.locator("#net0 > .pic a").nth(6)
    column.click()
    until(page, "location.hash === '#net0-6'")
    assert column.get_attribute("aria-expanded") == "true"
    assert {name.split(".")[0] for name in one.shown()} == {"layer3"}
    column.click()
    until(page, "location.hash === '#net0'")
    assert page.locator(".inside:visible").count() == 0
    column.focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    until(page, "location.hash === '#net0-5'")
    page.locator("#net0-5 a").nth(1).focus()
    page.keyboard.press("Escape")
    until(page, "document.activeElement.getAttribute('href') === '#net0-5' && location.hash === '#net0'")


def test_what_is_inside_opens_in_what_is_inside(opened: Callable[..., Opened], made: Callable[..., Report]) -> None:
    shown = made("torchvision:fasterrcnn_resnet50_fpn")
    page = opened(shown).page
    blocks = shown.models[0].network.blocks
    outer = next(i for i, one in enumerate(blocks) if one.inner and any(inner.inner for inner in one.inner.blocks))
    inner = next(i for i, one in enumerate(blocks[outer].inner.blocks) if one.inner)  # type: ignore[union-attr]
    page.locator("#net0 > .pic a").nth(outer).click()
    page.locator(f"#net0-{outer} > .pic a").nth(inner).click()
    until(page, f"getComputedStyle(document.getElementById('net0-{outer}-{inner}')).display === 'block'")
    assert page.locator(f"#net0-{outer}").is_visible()
    page.locator(f"#net0-{outer}-{inner} .close").first.click()
    until(page, f"location.hash === '#net0-{outer}'")
    assert not page.locator(f"#net0-{outer}-{inner}").is_visible()


def test_an_address_opens_it_at_once(opened: Callable[..., Opened], made: Callable[..., Report]) -> None:
    page = opened(made("resnet18")).page
    page.goto(page.url + "#net0-2")
    page.reload()
    until(page, "!!document.getElementById('net0-2')")
    until(page, "getComputedStyle(document.getElementById('net0-2')).display === 'block'")


def test_without_a_script_columns_lead_on(opened: Callable[..., Opened], made: Callable[..., Report]) -> None:
    page = opened(made("hf:gpt2"), java_script_enabled=False).page
    columns = page.locator("#net0 > .pic a")
    columns.nth(1).click()
    assert page.locator("#net0-1").is_visible()
    columns.nth(2).click()
    row = page.locator("tr:target")
    assert "lm_head" in row.locator("th").inner_text()


def test_a_picture_says_what_the_pointer_is_on(opened: Callable[..., Opened], made: Callable[..., Report]) -> None:
    page = opened(made("resnet152")).page
    page.locator("#net0 > .pic a").nth(6).hover()
    until(page, "!document.querySelector('.tip').hidden")
    said = page.locator(".tip").inner_text().split("\n")
    assert said[:3] == ["layer3.1–35", "35 equal: Bottleneck, 9 layers", "to 1024×14×14"]
    assert "MACs 7.64 G (66%)" in said
    page.mouse.move(2, 2)
    until(page, "document.querySelector('.tip').hidden")


def test_a_picture_is_copied(opened: Callable[..., Opened], made: Callable[..., Report]) -> None:
    page = opened(made("resnet18"), permissions=["clipboard-read", "clipboard-write"]).page
    buttons = page.locator("#net0 > .copies button")
    buttons.nth(0).click()
    until(page, "navigator.clipboard.readText().then(text => text.startsWith('<svg'))")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert 'xmlns="http://www.w3.org/2000/svg"' in copied
    assert "class=" not in copied
    assert "var(--" not in copied
    assert "layer4.1" in copied
    buttons.nth(1).click()
    until(page, "navigator.clipboard.read().then(([one]) => one.types.includes('image/png'))")


def test_on_paper_the_strip_is_whole(opened: Callable[..., Opened], made: Callable[..., Report]) -> None:
    page = opened(made("hf:gpt2")).page
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 1040, "height": 700})
    for drawing in page.locator(".strip:visible").all():
        box = drawing.bounding_box()
        assert box["x"] + box["width"] <= 1040
    assert page.locator("#net0-1").is_visible()
    assert page.locator(".copies:visible").count() == 0


def test_what_is_predicted_is_hatched(browser: Any, tmp_path: Any) -> None:
    profile = archprof.profile("resnet18")
    times = CallTimes(
        {i: 1e-4 * (i % 7) for i in range(len(profile.calls))}, "predicted for a device", is_predicted=True
    )
    path = tmp_path / "x.svg"
    path.write_text(build_network(profile, times=times).to_svg(), "utf-8")
    page = browser.new_page()
    page.goto(path.as_uri())
    assert page.locator("pattern").count() == 1
    assert page.locator("path[fill='url(#strip-hatch)']").count() > 3
    assert page.get_by_text("predicted for a device").count() == 1
    page.close()


def test_it_paints_and_answers_at_once(browser: Any, made: Callable[..., Report], tmp_path: Any) -> None:
    """Under 0.4 and 1.5 s on two cores: the least of a few loads, for others may work on them too."""
    path = tmp_path / "x.html"
    text = html.render_page(made("resnet152"))
    path.write_text(text, "utf-8")
    assert len(text.encode()) < 300_000
    taken = list[tuple[float, float]]()
    while len(taken) < 10 and not (taken and is_quick(taken)):
        page = browser.new_page()
        page.goto(path.as_uri())
        until(page, "performance.getEntriesByType('paint').length > 0 && !document.getElementById('insides')")
        paint = page.evaluate("performance.getEntriesByType('paint')[0].startTime")
        ready = page.evaluate("performance.now()")  # with the script done, and what it unpacks
        taken.append((paint, ready))
        page.close()
    assert is_quick(taken), taken


def is_quick(taken: list[tuple[float, float]]) -> bool:
    """By milliseconds to the first paint, and until everything is there and answers."""
    return min(paint for paint, _ in taken) < 400 and min(ready for _, ready in taken) < 1500


@pytest.mark.parametrize(
    "names",
    [
        ("vgg16", "resnet18", "torchvision:swin_t", "torchvision:vit_b_16"),
        ("alexnet", "vgg16", "resnet50", "resnet152"),
        ("vgg16", "resnet18", "hf:gpt2", "torchvision:swin_t", "torchvision:vit_b_16"),
    ],
)
def test_a_page_of_four_models_is_small(made: Callable[..., Report], names: tuple[str, ...]) -> None:
    assert len(html.render_page(made(*names)).encode()) < 400_000


def test_hostile_names_are_only_shown(opened: Callable[..., Opened]) -> None:
    evil = '"><img src=x onerror=alert(1)>'
    net = nn.Sequential()
    for i in range(3):
        inner = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
        net.add_module(f"{evil.replace('.', '_')}{i * 'x'}", inner)
    page = opened(build_report([archprof.profile(net, (1, 4))])).page
    page.locator("#net0 > .pic a").first.click()
    assert page.locator("img").count() == 0
    assert re.search("onerror", page.locator("#net0").inner_text())
