"""The drawn pictures: round numbers along the axes, nothing outside the frame, categories where they belong."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archprof.analysis.report.charts import ChartData
from archprof.render.page import axes, figures, svg

values = st.lists(st.floats(0.001, 1e15), min_size=1, max_size=40)


@given(values, st.booleans())
def test_ticks_are_round_and_inside(numbers: list[float], log: bool) -> None:
    axis = axes.fit_axis(numbers, 0, 500, log=log)
    ticks = axis.ticks(5)
    if not log:
        assert 1 <= len(ticks) <= 12
    for tick in ticks:
        assert axis.low - 1e-6 * abs(axis.low) <= tick <= axis.high * (1 + 1e-9)
        if log:
            first = tick / 10 ** math.floor(math.log10(tick) + 1e-9)
            assert round(first, 6) in (1, 2, 5)


@given(values, st.booleans())
def test_every_value_lies_on_its_axis(numbers: list[float], log: bool) -> None:
    axis = axes.fit_axis(numbers, 40, 500, log=log)
    assert all(40 <= axis.pixel_of(number) <= 500 for number in numbers)
    assert axis.pixel_of(max(numbers)) >= axis.pixel_of(min(numbers))


def test_bytes_have_round_numbers_in_their_own_unit() -> None:
    points = tuple((i, i * 2**20, "") for i in range(1, 60))
    drawn = svg.draw_chart(ChartData("live", "Memory", "op", "live", ("all",), (points,), "line", y_unit="bytes"))
    assert re.findall(r">(\d+)</text>", drawn.split("text-anchor=end")[1].split("</g>")[0]) == ["0", "20", "40", "60"]
    assert "[MiB]" in drawn


def test_a_stage_that_one_model_lacks_stands_where_the_others_have_it() -> None:
    sets = (("56", "28", "vector"), ("224", "112", "56", "28", "7", "vector"), ("28", "1"))
    points = tuple(tuple((name, 1, name) for name in names) for names in sets)
    series = ChartData("stage", "", "stage", "MACs", ("a", "b", "c"), points, "stack")
    order = axes.order_categories(series)
    assert [name for name in order if name != "1"] == ["224", "112", "56", "28", "7", "vector"]
    assert order.index("28") < order.index("1")
    assert figures.to_plotly(series)["layout"]["yaxis"]["categoryarray"] == order


@pytest.mark.parametrize("kind", ["bars", "line", "scatter"])
def test_one_point_or_none_can_be_drawn(kind: str) -> None:
    one = ChartData("x", "t", "x", "y", ("m",), (((1, 0, "here"),),), kind)  # type: ignore[arg-type]
    for drawn in (svg.draw_chart(one), figures.render_figure(one, "x")):
        assert "nan" not in drawn
    some = one._replace(names=("m", "n"), points=(one.points[0], ()))
    assert svg.draw_chart(some)
    assert len(figures.to_plotly(some)["data"]) == 2


def test_plotly_gets_no_markup_of_ours() -> None:
    hostile = "<a href='javascript:x'>"
    series = ChartData("x", "t", "x", "y", (hostile, "n"), (((1, 2, hostile),), ((2, 3, "b"),)), "scatter")
    text = str(figures.to_plotly(series))
    assert "<a" not in text


def test_a_stacked_bar_is_as_long_as_its_pieces():
    """Two models of 30 and 10: the second bar ends at a third of the first, and a piece carries its stage's name."""
    points = ((("A one", 10, ""), ("B two", 10, "")), (("A one", 20, ""),))
    series = ChartData("stage_macs", "MACs by stage", "model", "MACs", ("56x56", "28x28"), points, "stack")
    drawing = svg.draw_chart(series)
    pieces = [tuple(map(float, found)) for found in re.findall(r'd="M([\d.]+) [\d.]+h([\d.]+)v', drawing)]
    starts, widths = zip(*pieces, strict=True)
    assert len(pieces) == 3
    assert starts[0] == starts[2] < starts[1]
    assert (widths[0] + 1) * 2 == pytest.approx(widths[1] + 1, abs=0.2)  # a gap of one pixel ends each piece
    assert widths[2] == pytest.approx(widths[0], abs=0.2)
    assert ">28x28<" in drawing
    assert figures.to_plotly(series)["layout"]["barmode"] == "stack"


def test_bars_stand_in_the_order_of_the_models():
    """The first stage lacks the second and the third model, and the last the first."""
    names = ("A one", "B two", "C three")
    points = ((("A one", 1, ""),), (("A one", 1, ""), ("C three", 1, "")), (("B two", 1, ""), ("C three", 1, "")))
    series = ChartData("stage_macs", "", "model", "MACs", ("56", "28", "14"), points, "stack", categories=names)
    assert axes.order_categories(series) == list(names)
    drawing = svg.draw_chart(series)
    assert drawing.index("A one") < drawing.index("B two") < drawing.index("C three")


@given(st.integers(1, 60))
def test_no_two_stages_have_one_colour(count: int) -> None:
    assert len({svg.mix_ramp(i, count) for i in range(count)}) == count
