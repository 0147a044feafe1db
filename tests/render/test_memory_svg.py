"""The picture of live bytes by category: its heights are the live bytes of each op, and the flag stands at the peak."""

from __future__ import annotations

import re

import builders
import pytest

import archprof
from archprof.analysis.report import memory_areas
from archprof.analysis.report.memory_areas import build_memory_areas
from archprof.analysis.report.page import build_report
from archprof.facts.liveness import compute_peak_bytes
from archprof.facts.steps import build_step, sum_step_bytes
from archprof.render.page import svg
from archprof.render.page.html import render_page
from archprof.render.page.memory_svg import draw_memory_areas, render_memory_figure


@pytest.mark.parametrize(
    "options", [{}, {"train": True}, {"train": True, "optimizer": "adamw", "checkpoint": "layer?.*"}]
)
def test_the_areas_are_the_live_bytes(options: dict[str, object]) -> None:
    profile = archprof.profile("resnet18", batch=4, **options)
    areas = build_memory_areas(profile)
    assert areas is not None
    live = sum_step_bytes(profile, build_step(profile))
    assert areas.ops == len(live)
    assert [sum(column) for column in zip(*areas.sizes, strict=True)] == [live[place] for place in areas.places]
    assert areas.peak_bytes == compute_peak_bytes(profile) == max(live)
    assert areas.places[areas.peak] == live.index(max(live))
    assert len(areas.places) <= memory_areas.MAX_STRETCHES
    assert ("optimizer state" in areas.names) == ("optimizer" in options)
    assert ("gradients" in areas.names) == ("train" in options)


def test_few_ops_are_all_shown() -> None:
    areas = build_memory_areas(builders.profile())
    assert areas is not None
    assert areas.places == tuple(range(len(builders.profile().ops)))
    assert build_memory_areas(archprof.profile("relu", "4")) is None


def test_the_drawing_is_as_high_as_the_bytes() -> None:
    """The upper border of the last area, read back from its path, is the total; the flag stands where it is highest."""
    profile = archprof.profile("lenet5", batch=64, train=True)
    areas = build_memory_areas(profile)
    assert areas is not None
    drawn = draw_memory_areas(areas)
    paths = re.findall(r'd="M([^"]*)z" class="c\d bar"', drawn)
    assert len(paths) == len(areas.names)
    numbers = [float(word) for word in paths[-1].split()]
    heights = [svg.CHART_HEIGHT - svg.BOTTOM_MARGIN - y for y in numbers[1::2][: len(areas.places)]]
    total = [sum(column) for column in zip(*areas.sizes, strict=True)]
    ratio = max(heights) / max(total)
    assert heights == pytest.approx([one * ratio for one in total], abs=0.2)
    flag = re.search(r'd="M([\d.]+) [\d.]+V[\d.]+" class=axis', drawn)
    assert flag is not None
    assert float(flag[1]) == pytest.approx(numbers[0::2][areas.peak], abs=0.2)
    assert f"Peak {areas.peak_bytes / 2**20:.2f} MiB: " in drawn


def test_the_page_has_it_and_says_it_in_words() -> None:
    profile = builders.profile()
    page = render_page(build_report([profile]), plotly="none")
    figure = render_memory_figure(profile, "fig-m0-memory")
    assert figure in page
    assert "At the peak: " in figure
    assert render_memory_figure(archprof.profile("relu", "4"), "x") == ""
