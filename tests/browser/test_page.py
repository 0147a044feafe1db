"""The report in a real browser, off the network: Debian's `chromium`, driven by Playwright.

`AXE_CORE` may name an `axe.min.js` (npm: axe-core); without it the check of accessibility is skipped.
"""

from __future__ import annotations

import csv
import io
import os
import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from opened_pages import CHROMIUM, LAYERS, Opened, axe, until

import archprof
from archprof.analysis.report.page import Report, build_report
from archprof.facts.liveness import compute_peak_bytes
from archprof.render.page import html

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium")

HOSTILE = "</script><img src=x onerror=alert(1)>"


@pytest.mark.parametrize(
    ("plotly", "names"), [("gzip", ("alexnet", "vgg11", "vgg16", "resnet18")), ("inline", ("vgg16",))]
)
def test_plotly_draws_every_picture_without_the_network(
    opened: Callable[..., Opened], made: Callable[..., Report], plotly: html.PlotlyEmbedding, names: tuple[str, ...]
) -> None:
    page = opened(made(*names), plotly).page
    figures = page.locator("figure.fig:not([id*=memory])")  # areas of memory are drawn alone
    for figure in figures.all():
        figure.scroll_into_view_if_needed()
        figure.locator(".plot svg.main-svg").first.wait_for()
        assert not figure.locator(".pic").is_visible()
    assert figures.count() >= 2
    page.emulate_media(color_scheme="dark")
    until(page, "document.querySelector('.plot .xtick text').style.fill === 'rgb(232, 234, 237)'")
    page.emulate_media(media="print", color_scheme="dark")
    assert all(figure.locator(".pic").is_visible() for figure in figures.all())
    assert not any(figure.locator(".plot").is_visible() for figure in figures.all())


def test_the_drawings_stay_where_the_browser_cannot_unpack(
    browser: Any, made: Callable[..., Report], tmp_path: Path
) -> None:
    path = tmp_path / "x.html"
    path.write_text(html.render_page(made("vgg16"), plotly="gzip"), "utf-8")
    context = browser.new_context()
    context.add_init_script("delete window.DecompressionStream")
    page, errors = context.new_page(), list[str]()
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(path.as_uri())
    page.locator("figure.fig").first.scroll_into_view_if_needed()
    page.wait_for_timeout(200)
    assert errors == []
    assert page.locator(".net > .pic a").first.get_attribute("href").startswith("#m0-")
    assert page.locator("figure.fig .pic").first.is_visible()
    assert page.locator(LAYERS).first.is_visible()
    context.close()


@pytest.mark.parametrize("names", [("vgg16",), ("vit_b_16",), ("alexnet", "vgg11", "vgg16", "resnet18")])
def test_the_first_screen_needs_no_scrolling(
    opened: Callable[..., Opened], made: Callable[..., Report], names: tuple[str, ...]
) -> None:
    page = opened(made(*names)).page
    picture = (".findings", ".contest .pic") if len(names) > 1 else (".net", ".findings h2")
    for selector in ("h1", ".badge", ".asked", ".tiles", *picture):
        box = page.locator(selector).first.bounding_box()
        assert box["y"] >= 0
        assert box["y"] + box["height"] <= 800, selector
    assert 3 <= page.locator(".tile").count() <= 7
    assert 1 <= page.locator(".findings li").count() <= 7


def test_tiles_and_table_are_those_of_the_profile(opened: Callable[..., Opened], made: Callable[..., Report]) -> None:
    shown = made("resnet18")
    one, profile, table = opened(shown), shown.models[0].profile, shown.models[0].table
    values = one.page.eval_on_selector_all(".tile b", "all => all.map(b => Number(b.dataset.v))")
    totals = profile.totals
    peak = compute_peak_bytes(profile)
    assert values[:4] == [totals.params, totals.macs, peak, totals.activation_bytes["float32"]]
    keys = [column.key for column in table.columns]
    one.page.locator('#m0 [data-do="unfold"]').click()
    for key in ("params", "macs", "flops", "act_fp32"):
        cells = [row.cells[keys.index(key)] for row in table.rows]
        assert one.column(key) == [one.row.cells[keys.index(key)] for one in table.outline]
        assert sorted(one.row.cells[keys.index(key)] for one in table.outline if one.at is not None) == sorted(cells)
    leaves = [row for row in table.rows if not row.subtotal]
    assert sum(row.cells[keys.index("macs")] for row in leaves) == totals.macs


def test_rows_sort_by_mouse_and_keyboard(opened: Callable[..., Opened], made: Callable[..., Report]) -> None:
    one = opened(made("resnet18"))
    page, tree = one.page, one.shown()
    assert len(tree) <= 25
    head = page.locator('#m0 th[data-k="macs"]')
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    falling = one.column("macs")
    assert falling == sorted(falling, reverse=True)
    assert "layer4.1.conv2" in one.shown()
    assert sum(falling) == one_total(page)
    head.locator("button").focus()
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    assert one.column("macs") == falling[::-1]
    page.keyboard.press("Space")
    assert page.locator("#m0 th[aria-sort]").count() == 0
    assert one.shown() == tree
    page.locator('#m0 th[data-k="kind"] button').click()
    kinds = page.eval_on_selector_all(LAYERS, "rows => rows.filter(r => !r.hidden).map(r => r.cells[1].innerText)")
    assert len(kinds) > 50
    assert kinds == sorted(kinds, key=str.lower)
    assert page.locator("#m0 th[aria-sort]").count() == 1


def one_total(page: Any) -> int:
    return int(page.locator("#tile-macs b").get_attribute("data-v"))


def test_a_branch_folds_and_a_link_opens_it_again(opened: Callable[..., Opened], made: Callable[..., Report]) -> None:
    shown = made("resnet18")
    one = opened(shown)
    page, first = one.page, one.shown()
    page.locator('#m0 [data-do="unfold"]').click()
    tree = one.shown()
    turn = page.get_by_role("button", name="Parts of layer1", exact=True)
    assert turn.get_attribute("aria-expanded") == "true"
    turn.focus()
    page.keyboard.press("Enter")
    assert turn.get_attribute("aria-expanded") == "false"
    inside = tree.index("layer2") - tree.index("layer1") - 1
    assert len(one.shown()) == len(tree) - inside
    page.locator('#m0 [data-do="fold"]').click()
    outline = shown.models[0].table.outline
    assert one.shown() == [name for name, row in zip(tree, outline, strict=True) if not row.row.depth]
    number = [row.name for row in shown.models[0].table.rows].index("layer4.1.conv2")
    row = page.locator(f"#m0-{number}")
    assert not row.is_visible()
    page.evaluate(f"location.hash = 'm0-{number}'")
    row.wait_for(state="visible")
    assert row.evaluate(
        "row => { const box = row.getBoundingClientRect(); return box.top >= 0 && box.bottom <= innerHeight }"
    )
    page.locator('#m0 [data-do="unfold"]').click()
    assert one.shown() == tree
    page.locator('#m0 [data-do="reset"]').click()
    assert one.shown() == first


def test_equal_blocks_open_into_their_calls(opened: Callable[..., Opened], made: Callable[..., Report]) -> None:
    one = opened(made("resnet50"))
    assert len(one.shown()) <= 25
    assert "1-5 x 5" in one.shown()
    one.page.get_by_role("button", name="Parts of layer3.1-5 x 5", exact=True).click()
    at = one.shown().index("1-5 x 5")
    assert one.shown()[at + 1 : at + 6] == ["1", "2", "3", "4", "5"]
    widths = one.page.eval_on_selector_all(
        f"{LAYERS}:not([hidden])",
        """rows => rows.map(row => [row.cells[3].className.replace(/\\D/g, ""), row.cells[3].dataset.v ?? "0"])""",
    )
    whole = made("resnet50").models[0].profile.totals.macs
    assert all(abs(int(bar or 0) - 100 * int(value) / whole) <= 0.5 for bar, value in widths)


def test_a_filter_leaves_what_matches(opened: Callable[..., Opened], made: Callable[..., Report]) -> None:
    one = opened(made("resnet18"))
    search = one.page.locator("#m0 input")
    search.fill("downsample")
    assert len(one.shown()) == 9  # three branches, each with its two parts
    assert all("downsample" in name for name in one.shown())
    assert "9 of" in one.page.locator("#m0 output").inner_text()
    assert one.page.locator("#m0 tfoot .left td").first.inner_text() == "Sum of 9 rows"
    total = sum(op.macs or 0 for op, path in ops_of(made("resnet18")) if "downsample" in path)
    assert one.page.locator("#m0 tfoot .left td").nth(3).inner_text() == f"{total / 1e6:,.1f}"
    search.fill("conv2")
    assert all(name.endswith("conv2") for name in one.shown())
    search.fill("kind:batchnorm2d")
    assert len(one.shown()) == 20
    search.fill("layer3 kind:conv2d")
    assert len(one.shown()) == 5
    assert one.page.locator("#m0 .scroll").evaluate("box => box.scrollTop") == 0
    search.fill(">5%")
    macs = [record["macs"] for record in made("resnet18").models[0].table.records()]
    assert len(one.shown()) == sum(20 * one_of >= sum(macs) for one_of in macs)
    assert one.page.locator("#m0 tfoot tr").count() == 2
    search.fill("nothing has this name")
    assert one.shown() == []
    assert one.page.locator("#m0 tfoot tr").count() == 1
    one.page.locator('#m0 [data-do="unfold"]').click()
    search.fill("")
    assert len(one.shown()) > 80


def ops_of(shown: Report) -> list[tuple[Any, str]]:
    profile = shown.models[0].profile
    return [(op, profile.layers[profile.row_of(op)].path) for op in profile.ops]


def test_what_is_copied_can_be_read_again(opened: Callable[..., Opened], made: Callable[..., Report]) -> None:
    shown = made("resnet18")
    page = opened(shown, permissions=["clipboard-read", "clipboard-write"]).page
    page.locator('#m0 [data-do="csv"]').click()
    until(page, "document.querySelector('#m0 output').textContent === 'Copied.'")
    rows = list(csv.DictReader(io.StringIO(page.evaluate("navigator.clipboard.readText()"))))
    wanted = shown.models[0].table.records()
    names = [row.name for row in shown.models[0].table.rows if not row.subtotal]
    assert [row["layer"] for row in rows] == names
    for key in ("params", "macs", "act_fp32"):
        assert [int(row[key]) for row in rows] == [record[key] for record in wanted]
    page.locator('#m0 [data-do="md"]').click()
    until(page, "navigator.clipboard.readText().then(text => text.startsWith('|'))")
    lines = page.evaluate("navigator.clipboard.readText()").splitlines()
    assert len(lines) == 2 + sum(not row.hidden for row in shown.models[0].table.outline)
    assert "Params [M]" in lines[0]


@pytest.mark.parametrize("script", [True, False])
def test_the_switch_changes_the_picture(
    opened: Callable[..., Opened], made: Callable[..., Report], script: bool
) -> None:
    page = opened(made("vgg16"), java_script_enabled=script).page
    assert page.locator(".by-macs").is_visible()
    page.get_by_text("Params", exact=True).first.click()
    assert page.locator(".by-params").is_visible()
    assert not page.locator(".by-macs").is_visible()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert page.locator(".by-act_fp32").is_visible()
    assert page.locator(".by:visible").count() == 1


def test_a_box_leads_to_its_row(opened: Callable[..., Opened], made: Callable[..., Report]) -> None:
    page = opened(made("vgg16")).page
    page.locator(".by-macs [data-r]").filter(has=page.get_by_text("12 Conv2d", exact=True)).click()
    row = page.locator("tr:target")
    row.wait_for()
    assert row.locator("th").inner_text().strip() == "12"


def test_everything_is_there_without_a_script(opened: Callable[..., Opened], made: Callable[..., Report]) -> None:
    page = opened(made("alexnet", "resnet18"), "gzip", java_script_enabled=False).page
    for selector in (".tiles", ".findings", ".contest svg", "#summary table", "#stages table", "#m1 table", "#method"):
        assert page.locator(selector).first.is_visible(), selector
    assert page.locator(".tools:visible").count() == 0
    assert page.locator("figure .pic svg:visible").count() == page.locator("figure").count() > 3


def test_dark_is_dark_and_print_is_light(opened: Callable[..., Opened], made: Callable[..., Report]) -> None:
    page = opened(made("vgg16")).page
    paper = "getComputedStyle(document.documentElement).backgroundColor"
    assert page.evaluate(paper) == "rgb(255, 255, 255)"
    page.emulate_media(color_scheme="dark")
    assert page.evaluate(paper) == "rgb(20, 23, 27)"
    page.emulate_media(color_scheme="dark", media="print")
    assert page.evaluate(paper) == "rgb(255, 255, 255)"


def test_print_shows_what_is_open(opened: Callable[..., Opened], made: Callable[..., Report]) -> None:
    shown = made("resnet50")
    one = opened(shown)
    one.page.emulate_media(media="print")
    assert len(one.shown()) == sum(not row.hidden for row in shown.models[0].table.outline)
    box = one.page.locator("#m0 .scroll").evaluate("box => [box.scrollHeight, box.clientHeight]")
    assert box[0] <= box[1] + 1
    assert one.page.locator("#m0 thead button").count() > 5
    one.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert one.page.locator("#m0 thead button").count() == 0
    one.page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert one.page.locator("#m0 thead button").count() > 5


@pytest.mark.parametrize("names", [("vgg16",), ("alexnet", "vgg11", "vgg16", "resnet18")])
def test_a_narrow_window_never_scrolls_sideways(
    opened: Callable[..., Opened], made: Callable[..., Report], names: tuple[str, ...]
) -> None:
    page = opened(made(*names), width=360, height=740).page
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.evaluate("document.querySelectorAll('details').forEach(box => { box.open = true })")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_names_that_attack_are_only_shown(opened: Callable[..., Opened]) -> None:
    evil = type(HOSTILE, (torch.nn.Sequential,), {})(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU())
    net = torch.nn.Sequential()
    net.add_module(HOSTILE.replace(".", "_"), evil)
    profile = replace(archprof.profile(net, (1, 3, 8, 8)), model=HOSTILE)
    for profiles in ([profile], [profile, profile]):
        one = opened(build_report(profiles, command=HOSTILE), "inline")
        for figure in one.page.locator("figure.fig:not([id*=memory])").all():
            figure.scroll_into_view_if_needed()
            figure.locator(".plot svg.main-svg").first.wait_for()
        assert one.page.locator("img").count() == 0
        assert HOSTILE in one.page.title()
        assert HOSTILE in one.page.locator("#m0 tbody").inner_text()


def test_two_thousand_layers_open_at_once(opened: Callable[..., Opened]) -> None:
    blocks = [torch.nn.Sequential(*(torch.nn.Linear(16, 16) for _ in range(50))) for _ in range(40)]
    shown = build_report([archprof.profile(torch.nn.Sequential(*blocks), (1, 16))])
    start = time.perf_counter()
    one = opened(shown)
    assert time.perf_counter() - start < 3
    assert one.page.locator(LAYERS).count() == 2040 + 41  # the blocks are equal, and so is all inside each
    assert one.shown() == ["0-39 x 40"]
    one.page.locator('#m0 [data-do="unfold"]').click()
    one.page.locator("#m0").scroll_into_view_if_needed()
    one.page.locator("#m0 .scroll").evaluate("box => { box.scrollTop = box.scrollHeight }")
    last = one.page.locator(LAYERS).last
    last.wait_for(state="visible")
    assert last.evaluate("row => row.getBoundingClientRect().top < innerHeight")
    start = time.perf_counter()
    one.page.locator('#m0 th[data-k="macs"] button').click()
    assert time.perf_counter() - start < 2


@pytest.mark.skipif("AXE_CORE" not in os.environ, reason="AXE_CORE does not name an axe.min.js")
@pytest.mark.parametrize(("look", "width"), [("light", 1280), ("dark", 360)])
@pytest.mark.parametrize("names", [("vgg16",), ("alexnet", "resnet18")])
def test_axe_finds_nothing_serious(
    opened: Callable[..., Opened], made: Callable[..., Report], look: str, width: int, names: tuple[str, ...]
) -> None:
    page = opened(made(*names), "gzip", width=width, color_scheme=look, bypass_csp=True).page
    page.locator("figure.fig").first.scroll_into_view_if_needed()
    page.locator(".plot svg.main-svg").first.wait_for()
    page.evaluate(
        "document.querySelectorAll('details').forEach(box => { box.open = true }); dispatchEvent(new Event('resize'))"
    )
    with axe(page) as found:
        assert found() == []


@pytest.mark.parametrize(
    "names",
    [
        ("vgg16",),
        ("resnet152",),
        ("vit_b_16",),
        ("torchvision:fasterrcnn_resnet50_fpn",),
        ("alexnet", "vgg16", "resnet50"),
        ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"),
    ],
)
def test_a_print_has_at_most_six_pages(
    opened: Callable[..., Opened], made: Callable[..., Report], names: tuple[str, ...]
) -> None:
    page = opened(made(*names)).page
    printed = page.pdf(prefer_css_page_size=True)
    assert 1 <= len(re.findall(rb"/Type\s*/Page\b", printed)) <= 6
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    table = "#summary" if len(names) > 1 else "#m0"
    display = f"part => getComputedStyle(document.querySelector('{table} ' + part)).display"
    assert page.evaluate(display, "thead") == "table-header-group"  # repeated on every page
    assert page.locator(f"{table} thead button").count() == 0
    if len(names) == 1:
        assert page.evaluate(display, "tfoot") == "table-row-group"  # once, at the end
    assert page.locator("footer:visible").count() == 0  # a line that took a page of its own
    for part in (".switch", ".method"):
        inside = page.locator(part).evaluate_all("all => all.map(one => getComputedStyle(one).breakInside)")
        assert set(inside) <= {"avoid"}
    assert page.locator('.rows [href="#summary"]:visible').count() == 0


def test_everything_is_printed_for_who_asks(opened: Callable[..., Opened], made: Callable[..., Report]) -> None:
    one = opened(made("resnet50"))
    rows = "document.querySelectorAll('#m0 tbody tr:not([hidden])').length"
    one.page.evaluate(f"print = () => {{ window.printed = {rows} }}")
    folded = len(one.shown())
    one.page.get_by_role("button", name="Print everything").click()
    assert one.page.evaluate("printed") == len(made("resnet50").models[0].table.outline)
    assert len(one.shown()) == folded <= 25


def test_a_cut_edge_shows_and_the_first_column_stays(
    opened: Callable[..., Opened], made: Callable[..., Report]
) -> None:
    page = opened(made("resnet18"), width=360, height=740).page
    page.locator("#m0 .scroll").scroll_into_view_if_needed()
    box = page.locator("#m0 .scroll")
    assert box.evaluate("box => box.scrollWidth > box.clientWidth")
    assert "scroll" in box.evaluate("box => getComputedStyle(box).backgroundAttachment")
    first = page.locator("#m0 tbody th").first
    before = first.bounding_box()["x"]
    box.evaluate("box => { box.scrollLeft = 200 }")
    assert first.bounding_box()["x"] == before
