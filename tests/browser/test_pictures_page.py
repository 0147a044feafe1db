"""The drawn pictures in a browser: their numbers have one fitting prefix, their order is that of the network."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from opened_pages import CHROMIUM, Opened, until

import archprof
from archprof.analysis.report.page import Report, build_report

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium")

FOUR_DIGITS = re.compile(r"\d{1,2},\d{3}|\d{1,4}")


def texts(page: Any, selector: str) -> list[str]:
    return list(page.eval_on_selector_all(selector, "all => all.map(one => one.textContent)"))


def test_the_prefix_of_a_picture_is_that_of_its_largest_number(
    opened: Callable[..., Opened], made: Callable[..., Report]
) -> None:
    shown = made("alexnet", "vgg16", "resnet50")
    page = opened(shown).page
    assert texts(page, "#fig-stage_params .v text") == ["61.10", "138.36", "25.56"]
    assert texts(page, "#fig-stage_macs .v text") == ["0.71", "15.47", "4.09"]
    assert "Parameters [M]" in texts(page, "#fig-stage_params text")
    assert "MACs [G]" in texts(page, "#fig-stage_macs text")


@pytest.mark.parametrize(
    "names", [("resnet152",), ("hf:gpt2",), ("alexnet", "vgg16", "resnet50"), ("vgg16", "torchvision:vit_b_16")]
)
def test_no_axis_has_a_number_that_a_prefix_would_shorten(
    opened: Callable[..., Opened], made: Callable[..., Report], names: tuple[str, ...]
) -> None:
    page = opened(made(*names)).page
    ticks = texts(page, ".chart g[text-anchor] text:not(.name), .chart .v text")
    assert len(ticks) > 10
    for text in ticks:
        assert re.fullmatch(r"[\d.,]+( [kMGT])?", text), text
        assert float(text.split()[0].replace(",", "")) < 10_000


def test_the_map_is_in_the_order_of_the_network_and_equal_blocks_are_one(
    opened: Callable[..., Opened], made: Callable[..., Report]
) -> None:
    page = opened(made("resnet152")).page
    heads = page.locator(".by-macs .head").evaluate_all(
        "all => all.map(one => [one.querySelector('text')?.textContent, one.getBoundingClientRect().left])"
    )
    names, lefts = zip(*(head for head in heads if re.fullmatch(r"layer\d", head[0] or "")), strict=True)
    assert names == ("layer1", "layer2", "layer3", "layer4")
    assert list(lefts) == sorted(lefts)
    assert page.locator(".by-macs .head", has_text="1–35 ×35").count() == 1
    box = page.locator(".by-macs [data-r]", has=page.get_by_text("4.05 G", exact=True))
    box.scroll_into_view_if_needed()
    page.wait_for_timeout(200)  # what scrolls takes the words away
    box.hover()
    until(page, "!document.querySelector('.tip').hidden")
    # 3x3 at 14x14, 256 to 256 channels: 36 of layer3, of which the first is no part of the 35.
    macs = 35 * 14 * 14 * 256 * 256 * 9
    share = 100 * macs / made("resnet152").models[0].profile.totals.macs
    said = page.locator(".tip").inner_text().split("\n")
    assert said == ["layer3.1–35.conv2 ×35", "Conv2d", f"{macs / 1e9:.2f} G ({share:.0f}%)"]


def test_a_page_of_a_comparison_shows_the_contest_beside_its_findings(
    opened: Callable[..., Opened], made: Callable[..., Report]
) -> None:
    page = opened(made("alexnet", "vgg16", "resnet50")).page
    assert page.locator(".maps").count() == 0
    left, right = (page.locator(f".first > {one}").bounding_box() for one in (".findings", ".contest"))
    assert left["x"] + left["width"] <= right["x"]
    assert abs(left["y"] - right["y"]) < 2


def test_a_model_without_windows_has_no_column_for_what_they_see(
    opened: Callable[..., Opened], made: Callable[..., Report]
) -> None:
    for name, expected in (("hf:gpt2", 0), ("torchvision:swin_t", 0), ("resnet18", 1)):
        page = opened(made(name)).page
        assert page.locator("#m0 th[data-k=rf]").count() == expected
    head = page.locator("#m0 th[data-k=rf]")
    assert head.evaluate("one => getComputedStyle(one).textAlign") == "right"


def test_kinds_of_work_have_their_colours_and_a_single_op_has_no_chart(
    opened: Callable[..., Opened], made: Callable[..., Report]
) -> None:
    page = opened(made("hf:gpt2")).page
    key = texts(page, "#fig-m0-intensity .chart > text")
    assert {"matrix product", "attention", "norm"} <= set(key)
    assert "convolution" not in key
    one = opened(build_report([archprof.profile(torch.nn.ReLU(), (1, 16))])).page
    assert one.locator("figure.fig, .maps").count() == 0


def test_what_a_window_sees_never_shrinks(made: Callable[..., Report]) -> None:
    for name in ("resnet50", "torchvision:googlenet"):
        series = {one.key: one for one in made(name).models[0].charts}["field"]
        seen = [y for _, y, _ in series.points[0]]
        assert len(seen) > 20
        assert seen == sorted(seen)


def test_a_name_of_300_letters_takes_neither_the_tiles_nor_the_table(opened: Callable[..., Opened]) -> None:
    net = torch.nn.Sequential()
    net.add_module("a" * 300, torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.ReLU()))
    net.add_module("b", torch.nn.Linear(4, 4))
    for width in (360, 1280):
        page = opened(build_report([archprof.profile(net, (1, 4))]), width=width).page
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.locator("#tile-peak").bounding_box()["height"] < 140
        first = page.locator("#m0 tbody th").first
        assert first.bounding_box()["width"] < max(width / 2, 200)
        assert "a" * 300 in first.get_attribute("title")


def test_a_detector_says_on_its_first_screen_that_values_count(
    opened: Callable[..., Opened], made: Callable[..., Report]
) -> None:
    page = opened(made("torchvision:fasterrcnn_resnet50_fpn")).page
    assert "its numbers depend on what goes in" in page.locator(".details").inner_text()
    notes = page.locator("#m0 .note").inner_text()
    assert "register_meta" not in notes
    assert "torch.nonzero() has no size" in notes
    assert "depend" not in opened(made("resnet18")).page.locator(".details").inner_text()
