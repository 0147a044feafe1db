"""The report page as a text: well formed, escaped, small enough, equal twice, and with the numbers of the profile."""

from __future__ import annotations

import base64
import dataclasses
import gzip
import hashlib
import re
from html.parser import HTMLParser

import builders
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import archprof
from archprof.analysis.report.page import build_report
from archprof.facts.records import Layer, Profile
from archprof.render.page import html
from archprof.render.page.markup import embed_json, escape_text
from archprof.render.page.squarify import Rect, squarify_values

HOSTILE = "</script><img src=x onerror=alert(1)>\"'&<!--"
VOID = {"meta", "input"}
IMPLIED = {"td": {"td", "th"}, "th": {"td", "th"}, "tr": {"tr", "td", "th"}}
"""What a start tag ends by itself, and what an end tag of anything around may leave open."""


class Page(HTMLParser):
    """Every element in order, as the HTML standard nests them; an end tag without its start is an error."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        while self.open and self.open[-1] in IMPLIED.get(tag, ()):
            self.open.pop()
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        while self.open[-1] in IMPLIED and self.open[-1] != tag:
            self.open.pop()
        assert self.open.pop() == tag

    def handle_data(self, text: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", text))

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def four() -> list[Profile]:
    return [archprof.profile(name) for name in ("alexnet", "vgg11", "vgg16", "resnet18")]


def hostile() -> Profile:
    """Every name that a user gives is an attack."""
    layers = tuple(
        layer._replace(path=layer.path.replace("conv1", HOSTILE), kind=f"{layer.kind}{HOSTILE}")
        for layer in builders.LAYERS
    )
    return builders.profile(model=HOSTILE, inputs=(HOSTILE,), layers=layers, notes=(HOSTILE,))


@pytest.mark.parametrize("plotly", ["none", "gzip", "inline"])
def test_the_page_is_well_formed(plotly: html.PlotlyEmbedding, four: list[Profile]) -> None:
    page = Page(html.render_page(build_report(four), plotly=plotly))
    assert page.open == []
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_links_lead_somewhere(four: list[Profile]) -> None:
    for profiles in (four, four[2:3]):
        page = Page(html.render_page(build_report(profiles), plotly="none"))
        ids = {attributes.get("id") for _, attributes in page.elements}
        targets = {(link["href"] or "")[1:] for link in page.of("a")}
        assert targets
        assert targets <= ids
        assert {g["data-r"] for g in page.of("g") if "data-r" in g} <= ids


@pytest.mark.parametrize("plotly", ["none", "gzip", "inline"])
def test_names_are_text(plotly: html.PlotlyEmbedding) -> None:
    profiles = [hostile(), dataclasses.replace(hostile(), model="net")]
    for text in (
        html.render_page(build_report(profiles), plotly=plotly),
        html.render_page(build_report(profiles[:1]), plotly=plotly),
    ):
        page = Page(text)
        assert not page.of("img")
        assert {key for _, attributes in page.elements for key in attributes if key.startswith("on")} == set()
        assert HOSTILE in "".join(content for tag, content in page.texts if tag == "title")


def test_the_figures_cannot_end_their_element() -> None:
    text = html.render_page(build_report([hostile(), builders.profile()]), plotly="inline")
    held = re.search(r'<script type="application/json" id="figures">(.*?)</script>', text, re.DOTALL)
    assert held
    assert "<" not in held[1]


@given(st.text(alphabet=st.sampled_from("<>&\"'=/ x!-\\`") | st.characters()))
@settings(max_examples=200)
def test_no_text_leaves_its_quotes_or_element(text: str) -> None:
    assert not set("<>\"'") & set(escape_text(text))
    assert not set("<>") & set(embed_json({text: text}))


def test_equal_reports_give_equal_bytes(four: list[Profile]) -> None:
    html._plotly.cache_clear()
    html._packed.cache_clear()
    first = html.render_page(build_report(four))
    html._plotly.cache_clear()
    html._packed.cache_clear()
    again = [archprof.profile(name) for name in ("alexnet", "vgg11", "vgg16", "resnet18")]
    assert html.render_page(build_report(again)) == first


def test_sizes(four: list[Profile]) -> None:
    pages = {plotly: len(html.render_page(build_report(four), plotly=plotly).encode()) for plotly in ("none", "gzip")}
    assert pages["none"] <= 200_000
    assert pages["gzip"] <= 2_200_000


@pytest.mark.parametrize("plotly", ["none", "gzip", "inline"])
def test_the_policy_knows_what_runs_and_nothing_else(plotly: html.PlotlyEmbedding) -> None:
    page = html.render_page(build_report([builders.profile()]), plotly=plotly)
    policy = Page(page).of("meta")[1]["content"] or ""
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    hashes = set(rules["script-src"].split())
    assert all(value.startswith("'sha256-") for value in hashes)
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    if plotly == "gzip":
        held = re.search(r'id="plotly">([^<]+)<', page)
        assert held
        scripts.append(gzip.decompress(base64.b64decode(held[1])).decode())
    assert {f"'sha256-{_digest(script)}'" for script in scripts} == hashes
    styles = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    if plotly == "none":
        assert rules["style-src"] == f"'sha256-{_digest(styles[0])}'"
    assert not [attributes for _, attributes in Page(page).elements if "style" in attributes]


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def test_addresses_are_none_but_of_the_namespace(four: list[Profile]) -> None:
    page = Page(html.render_page(build_report(four)))
    assert not [attributes for _, attributes in page.elements if {"src", "srcset", "data", "action"} & set(attributes)]
    assert all((link["href"] or "").startswith("#") for link in page.of("a"))


def test_tiles_hold_the_totals(four: list[Profile]) -> None:
    vgg = four[2]
    text = html.render_page(build_report([vgg]), plotly="none")
    found = dict(re.findall(r"id=tile-(\w+)>.*?data-v=(\d+)>", text))
    totals = vgg.totals
    assert (int(found["params"]), int(found["macs"]), int(found["activation"])) == (
        totals.params, totals.macs, totals.activation_bytes["float32"],
    )  # fmt: skip
    assert "138.36" in text
    assert "30.97\xa0G FLOPs" in text  # a number and its unit stay in one line
    assert "not measured" not in text


def test_the_table_holds_every_row(four: list[Profile]) -> None:
    for profile in four:
        made = build_report([profile])
        text = html.render_page(made, plotly="none")
        rows = re.findall(r"<tr id=m0-(\d+).*?(?=<tr|</tbody>)", text, re.DOTALL)
        assert [int(n) for n in rows] == list(range(len(made.models[0].table.rows)))
        body = text[text.index("<tr id=m0-0") : text.index("</tbody>", text.index("<tr id=m0-0"))]
        macs = [int(value) for value in re.findall(r"data-v=(\d+)>", body)]
        assert set(macs) >= {cost.macs for cost in profile.costs} - {0}


def test_a_lower_bound_is_marked() -> None:
    ops = builders.profile().ops
    unknown = tuple(
        builders.change_op(op, macs=None, flops=None, status="unknown") if op.name == "aten.add" else op for op in ops
    )
    text = html.render_page(build_report([builders.profile(ops=unknown)]), plotly="none")
    assert re.search(r"id=tile-macs>.*?≥ ", text)


def test_a_model_that_does_nothing_has_a_page() -> None:
    empty = builders.make_profile("empty", (), 1, "forward", "float32", (Layer("", "Net", 0, 0),), (), (), ())
    page = Page(html.render_page(build_report([empty]), plotly="gzip"))
    assert page.open == []
    assert not page.of("fieldset")


def test_a_notebook_shows_a_small_table(four: list[Profile]) -> None:
    resnet50 = archprof.profile("resnet50")
    for shown in (four[0], four[3], resnet50, archprof.compare(*four)):
        text = shown._repr_html_()
        assert Page(text.replace("<br>", "")).open == []
        assert "<script" not in text
        assert len(text) < 40_000
    assert "layer1" in resnet50._repr_html_()


sizes = st.lists(st.integers(1, 10**9), min_size=1, max_size=60)


@given(sizes, st.floats(1, 2000), st.floats(1, 2000))
def test_boxes_fill_their_place_by_their_values(values: list[int], width: float, height: float) -> None:
    place = Rect(3, 5, width, height)
    boxes = squarify_values(values, place)
    for value, box in zip(values, boxes, strict=True):
        assert box.area == pytest.approx(place.area * value / sum(values), rel=1e-6, abs=1e-6)
        assert box.x >= 3 - 1e-6
        assert box.y >= 5 - 1e-6
        assert box.x + box.width <= 3 + width + 1e-6 * width
        assert box.y + box.height <= 5 + height + 1e-6 * height


def test_a_layout_worked_by_hand() -> None:
    """Areas 6, 6, 4, 3, 2, 2, 1 in 6 x 4, worked by hand: 6 and 6 upright, 4 and 3 lying, then one upright each."""
    boxes = squarify_values([6, 6, 4, 3, 2, 2, 1], Rect(0, 0, 6, 4))
    assert [tuple(round(side, 2) for side in (box.width, box.height)) for box in boxes] == [
        (3, 2), (3, 2), (1.71, 2.33), (1.29, 2.33), (1.2, 1.67), (1.2, 1.67), (0.6, 1.67),
    ]  # fmt: skip
