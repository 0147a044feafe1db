"""The drawn strip: well-formed, to scale, every name only text, and no text wider than its place."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from random import Random
from xml.etree import ElementTree

import builders
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import archprof
from archprof.analysis.network.flows import Edge
from archprof.analysis.network.network import CallTimes, build_network
from archprof.render.page import strip_lanes, strip_layout, strip_section, strip_svg, text_width
from archprof.render.page.markup import to_xml

SVG = "{http://www.w3.org/2000/svg}"


def parsed(text: str) -> ElementTree.Element:
    return ElementTree.fromstring(text)


@pytest.mark.parametrize(
    "made", [builders.profile, builders.with_unknown, builders.stopped, builders.trained, builders.measured,
             builders.hostile],
)  # fmt: skip
def test_a_drawing_that_stands_alone_is_xml(made: Callable[[], archprof.Profile]) -> None:
    profile = made()
    root = parsed(build_network(profile).to_svg())
    assert root.tag == f"{SVG}svg"
    said = "".join(root.itertext())
    assert "Live memory" in said
    assert not list(root.iter(f"{SVG}script"))
    assert {element.tag.removeprefix(SVG) for element in root.iter()} <= {
        "svg", "title", "style", "rect", "g", "text", "tspan", "path", "pattern",
    }  # fmt: skip


def test_the_network_draws_itself_in_a_notebook() -> None:
    network = archprof.profile("lenet5").graph()
    assert network._repr_html_() == network.to_svg()


def test_equal_networks_give_equal_bytes() -> None:
    assert archprof.graph("lenet5").to_svg() == archprof.profile("lenet5").graph().to_svg()


def bars(drawing: str, kind: str) -> list[float]:
    """Heights of the bars of a lane."""
    return [float(high) for high in re.findall(rf'<path d="M0 [\d.]+v-([\d.]+)[^"]*" class="?{kind}[ />"]', drawing)]


def test_bars_are_as_high_as_their_values() -> None:
    """1, 2 and 4 output channels on as many inputs: MACs 1 : 2 : 8 of a map of one size."""
    layers = (nn.Conv2d(1, 1, 1, bias=False), nn.Conv2d(1, 2, 1, bias=False), nn.Conv2d(2, 4, 1, bias=False))
    network = build_network(archprof.profile(nn.Sequential(*layers), (1, 1, 8, 8)))
    drawing = strip_svg.draw_strip(network)
    heights = bars(drawing, "macs")
    assert heights == [strip_lanes.LANE_BARS / 8, strip_lanes.LANE_BARS / 4, strip_lanes.LANE_BARS]
    assert re.findall(r">(\d+%)<", drawing) == ["9%", "9%", "18%", "18%", "73%", "73%"]


def test_strips_of_several_models_have_one_scale() -> None:
    """Half the MACs: half as high."""
    nets = [nn.Sequential(nn.Linear(4, 4 * k, bias=False), nn.ReLU(), nn.Linear(4 * k, 1)) for k in (1, 2)]
    networks = [build_network(archprof.profile(net, (1, 4))) for net in nets]
    most = strip_svg.find_largest(networks)
    assert most["macs"] == 32
    drawn = [strip_svg.draw_strip(network, most=most) for network in networks]
    first, second = (bars(one, "macs")[0] for one in drawn)
    assert (first, second) == (strip_lanes.LANE_BARS / 2, strip_lanes.LANE_BARS)


def test_only_what_no_clock_told_is_hatched() -> None:
    profile = builders.measured()
    assert "hatch" not in build_network(profile).to_svg()
    times = CallTimes(dict.fromkeys(range(len(profile.calls)), 0.001), "predicted", is_predicted=True)
    assert "url(#strip-hatch)" in build_network(profile, times=times).to_svg()


def test_repeats_are_seen_in_a_bar() -> None:
    blocks = (nn.Sequential(nn.Linear(4, 4), nn.ReLU()) for _ in range(5))
    drawing = strip_svg.draw_strip(build_network(archprof.profile(nn.Sequential(*blocks), (1, 4))))
    rules = re.findall(r'<path d="([^"]+)" class=rule', drawing)
    assert [len(re.findall("M", rule)) for rule in rules] == [4, 4]
    assert drawing.count("class=box") == 3  # the block and two sheets behind it


# Routes


def edges(*pairs: tuple[int, int]) -> list[Edge]:
    return [Edge(*pair, 1) for pair in pairs]


def test_nested_joins_do_not_cross() -> None:
    """As of a U-net: the inner one lies lower."""
    buses = strip_layout.route_branches(edges((0, 1), (0, 9), (1, 7), (2, 5)))
    assert [(bus.sources, bus.targets, bus.track) for bus in buses] == [
        ((2,), (5,), 0),
        ((1,), (7,), 1),
        ((0,), (9,), 2),
    ]


def test_a_fork_and_a_join_are_a_line_each() -> None:
    buses = strip_layout.route_branches(edges((-1, 1), (-1, 2), (-1, 3), (0, 4), (1, 4), (2, 4), (3, 4)))
    assert {(bus.sources, bus.targets) for bus in buses} == {((-1,), (1, 2, 3)), ((0, 1, 2), (4,))}


@given(st.lists(st.tuples(st.integers(-1, 11), st.integers(0, 12)).filter(lambda ends: ends[0] < ends[1]), unique=True))
def test_every_branch_has_a_line_and_no_two_share_a_place(pairs: list[tuple[int, int]]) -> None:
    buses = strip_layout.route_branches(edges(*pairs))
    drawn = [(source, target) for bus in buses for source in bus.sources for target in bus.targets]
    assert sorted(drawn) == sorted(pair for pair in pairs if pair[1] != pair[0] + 1)
    for i, one in enumerate(buses):
        for other in buses[:i]:
            apart = one.ends[1] < other.ends[0] or other.ends[1] < one.ends[0]
            assert apart or one.track != other.track


# Texts


@given(st.text(), st.floats(0, 300), st.booleans())
def test_a_text_that_is_cut_says_so_and_fits(text: str, room: float, bold: bool) -> None:
    for fit in (text_width.fit_text, text_width.fit_path):
        kept = fit(text, room, 11, bold=bold)
        assert kept == text or kept == "" or text_width.ELLIPSIS in kept
        assert not kept or text_width.measure_text(kept, 11, bold=bold) <= room


def test_a_path_keeps_its_end() -> None:
    assert text_width.fit_path("model.layers.0–31", 80, 12, bold=True) == "…0–31"
    assert text_width.fit_path("model.layers.0–31", 200, 12, bold=True) == "model.layers.0–31"


# In a page


def test_hostile_names_are_text() -> None:
    network = build_network(builders.hostile())
    rendered = strip_section.render_strips([network], [""], lambda model, name: f"m{model}-0")
    for markup in (rendered.shown, rendered.packed, network.to_svg()):
        assert "<img" not in markup
        assert "<script" not in markup
    assert "&lt;" in rendered.shown


def test_columns_lead_to_their_rows_and_to_what_is_inside() -> None:
    """What is inside a block of few is there from the start; the others come packed."""
    network = build_network(archprof.profile("resnet18"))
    rendered = strip_section.render_strips([network], [""], lambda model, name: f"row-{name}")
    assert "href=#row-layer2.0 data-in data-q=layer2.0" in rendered.shown
    assert "class=inside" not in rendered.shown
    assert re.findall(r"<div class=inside id=(\S+) data-of=net0>", rendered.packed)[:2] == ["net0-0", "net0-1"]
    gpt = strip_section.render_strips([build_network(archprof.profile("hf:gpt2"))], [""], lambda model, name: None)
    assert gpt.shown.count('class="inside first"') == 1


def test_xml_wants_quotes() -> None:
    assert to_xml('<a b=c d="e f=g" /><t>x y=z</t>') == '<a b="c" d="e f=g" /><t>x y=z</t>'


@pytest.mark.parametrize("seed", range(10))
def test_a_text_that_is_fitted_is_the_longest_that_has_room(seed: int) -> None:
    """Held against a search that tries every length."""
    rng = Random(seed)
    for _ in range(50):
        text, room = "".join(rng.choices("iil.W ×", k=rng.randint(0, 40))), rng.uniform(0, 200)
        starts = [text, *(text[:n] + text_width.ELLIPSIS for n in range(len(text) - 1, 0, -1))]
        assert text_width.fit_text(text, room, 11) == next(
            (one for one in starts if text_width.measure_text(one, 11) <= room), ""
        )


def test_a_name_of_very_many_letters_is_fitted_at_once() -> None:
    start = time.perf_counter()
    for fit in (text_width.fit_text, text_width.fit_path):
        assert 0 < len(fit("i" * 50_000, 300, 11)) < 120
    assert time.perf_counter() - start < 2
