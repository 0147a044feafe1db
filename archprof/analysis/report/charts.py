"""The pictures of one model, as points: what it sees, and how much it does with what it moves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from archprof.analysis import elapsed
from archprof.analysis.counts import compute_intensity
from archprof.analysis.metrics import METRIC_BY_KEY
from archprof.analysis.network.families import FAMILIES, OTHER_FAMILY, find_row_families
from archprof.analysis.report.predicted_charts import find_predicted_roof, predict_rates
from archprof.analysis.report.view import PageView
from archprof.facts.records import Window
from archprof.predicting import roofline

Point = tuple[float | str, float, str]

MAX_POINTS = 600
"""Points a picture can show beside one another."""

INTENSITY = METRIC_BY_KEY["intensity"]

MAX_CHAIN = 12
"""Convolutions up to which a chain is drawn window by window."""

CHART_MEASURES = {"params": "", "macs": "", "flops": "", "act_fp32": ", float32"}
"""The metrics that charts show, and what an axis adds to the name of each."""

ChartUnit = Literal["count", "bytes", "seconds", "percent"]


class ChartData(NamedTuple):
    """The data of one picture, raw values in base units.

    Attributes:
        key: which picture it is; fixed, and fit for an id.
        names: one per set of points: a model, or what the set shows.
        points: (x, y, label) of each, a tuple for each of `names`; x is a text where the picture has categories, which
            differ within a set.
        kind: how it wants to be drawn.
        x_unit, y_unit: of the values; the labels do not say it.
        joined: for each set, whether a scatter draws it as a line: a front or a roof. Left out: none.
        categories: the texts along x in their order; left out: that of the sets.
        backdrop: points of a scatter that stand in grey behind the others: nets that others published.
    """

    key: str
    title: str
    x_label: str
    y_label: str
    names: tuple[str, ...]
    points: tuple[tuple[Point, ...], ...]
    kind: Literal["bars", "stack", "line", "scatter"]
    x_unit: ChartUnit = "count"
    y_unit: ChartUnit = "count"
    joined: tuple[bool, ...] = ()
    categories: tuple[str, ...] = ()
    backdrop: tuple[Point, ...] = ()

    def list_places(self) -> set[tuple[float | str, float]]:
        """Where points lie: equal layers are one."""
        return {(x, y) for points in self.points for x, y, _ in points}

    def is_joined(self, index: int) -> bool:
        """Whether the set is a line in a scatter."""
        return index < len(self.joined) and self.joined[index]


def label_axis(key: str) -> str:
    """The name of a metric along an axis: "Activation memory, float32"."""
    return METRIC_BY_KEY[key].title + CHART_MEASURES.get(key, "")


def chart_unit(key: str) -> ChartUnit:
    unit = METRIC_BY_KEY[key].unit
    return unit if unit == "bytes" or unit == "seconds" else "count"


def build_charts(view: PageView) -> tuple[ChartData, ...]:
    """Every picture that has a point. Keys: "field" or, of a short chain, "windows"; "intensity" or, of a measured
    model, "roofline".
    """
    windows = chart_windows(view)
    made = (
        windows if any(windows.points) else chart_fields(view),
        chart_roofline(view) if has_times(view) else chart_intensity(view),
    )
    return tuple(series for series in made if any(series.points))


def has_times(view: PageView) -> bool:
    """Whether its layers were measured, or predicted."""
    return elapsed.find_latency(view.profile) is not None or view.profile.prediction is not None


def number_repeats(names: Iterable[str]) -> list[str]:
    """The names, with a number behind each that came before: "56x56", "28x28", "56x56 (2)"."""
    seen, made = Counter[str](), list[str]()
    for name in names:
        seen[name] += 1
        made.append(f"{name} ({seen[name]})" if seen[name] > 1 else name)
    return made


def chart_fields(view: PageView) -> ChartData:
    """The receptive field behind each weight layer that has one, along the longer side; of convolutional nets alone.

    A layer that sees less than one before it lies on a branch, such as a shortcut, and is no step on the longest way.
    """
    points: list[Point] = []
    for i, row in enumerate(view.weight_rows, 1):
        extent = max(view.fields[row].local or view.fields[row].size or (), default=None)
        if extent is not None and (not points or extent >= points[-1][1]):
            points.append((i, extent, view.table_row_name(row)))
    drawn = thin_points(points) if view.is_convolutional and any(seen > 1 for _, seen, _ in points) else ()
    title, x_label = "Receptive field against depth", "weight layer, in the order of the calls"
    return ChartData("field", title, x_label, "input pixels along a side", (view.name,), (drawn,), "line")


def thin_points(points: Sequence[Point], most: int = MAX_POINTS) -> tuple[Point, ...]:
    """At most so many of the points, in their order: the ends, and the lowest and highest of equal parts between."""
    if len(points) <= most:
        return tuple(points)
    inner, parts = range(1, len(points) - 1), (most - 2) // 2
    kept = {0, len(points) - 1}
    for part in range(parts):
        here = inner[part * len(inner) // parts : (part + 1) * len(inner) // parts]
        kept |= {min(here, key=lambda i: points[i][1]), max(here, key=lambda i: points[i][1])}
    return tuple(points[i] for i in sorted(kept))


class IntensityDot(NamedTuple):
    """A row that computes: its index in `Profile.layers`, its arithmetic intensity and its FLOPs, all phases."""

    row: int
    intensity: float
    flops: int


def find_computing_rows(view: PageView) -> list[IntensityDot]:
    """The rows that compute and have no op without a rule."""
    own = ((row, compute_intensity(counts), counts) for row, counts in enumerate(view.own_counts))
    return [
        IntensityDot(row, intensity, counts.flops + (counts.backward_flops or 0))
        for row, intensity, counts in own
        if intensity
    ]


def chart_intensity(view: PageView) -> ChartData:
    """FLOPs of each layer against its arithmetic intensity; those with most FLOPs where there are many."""
    dots = sorted(find_computing_rows(view), key=lambda dot: -dot.flops)[:MAX_POINTS]
    names, sets = split_by_family(view, [(dot.intensity, dot.flops, view.table_row_name(dot.row)) for dot in dots])
    return ChartData("intensity", f"{INTENSITY.title} by layer", INTENSITY.whole, "FLOPs", names, sets, "scatter")


def split_by_family(view: PageView, points: Sequence[Point]) -> tuple[tuple[str, ...], tuple[tuple[Point, ...], ...]]:
    """The kinds of work of the layers that have these points, and the points of each."""
    kinds = {view.table_row_name(row): kind for row, kind in enumerate(find_row_families(view.profile))}
    names = tuple(name for name in (*FAMILIES, OTHER_FAMILY) if any(kinds[point[2]] == name for point in points))
    return names, tuple(tuple(point for point in points if kinds[point[2]] == name) for name in names)


def chart_roofline(view: PageView) -> ChartData:
    """How fast each layer ran, or should run, against its arithmetic intensity, under the roof of a device we know."""
    measured = elapsed.find_latency(view.profile) is not None
    ran = (measure_rates(view) if measured else predict_rates(view))[:MAX_POINTS]
    names, sets = split_by_family(view, ran)
    title = f"How fast each layer {'ran' if measured else 'should run, predicted'}"
    roof = roofline.find_roof(view.profile, view.device) if measured else find_predicted_roof(view)
    if roof is not None and ran:
        line = roof.outline(min(intensity for intensity, _, _ in ran), max(intensity for intensity, _, _ in ran))
        names, sets = (*names, f"roof of {roof.device}"), (*sets, tuple((*place, "roof") for place in line))
        title = f"{'Roofline' if measured else 'Roofline, predicted'}: {roof.describe()}"
    joined = tuple(name not in (*FAMILIES, OTHER_FAMILY) for name in names)
    return ChartData("roofline", title, INTENSITY.whole, "FLOP/s", names, sets, "scatter", joined=joined)


def measure_rates(view: PageView) -> list[tuple[float, float, str]]:
    """Intensity, FLOP/s and name of the rows that compute and were measured long enough to tell, the fastest first."""
    timed = ((dot, view.own_counts[dot.row].latency) for dot in find_computing_rows(view))
    rates = [
        (dot.intensity, dot.flops / time.seconds, view.table_row_name(dot.row))
        for dot, time in timed
        if time and not time.below_resolution and time.seconds > 0
    ]
    return sorted(rates, key=lambda rate: -rate[1])


def chart_windows(view: PageView) -> ChartData:
    """A short chain of nothing but convolutions, window by window: how far each reaches, its step, and what is seen.

    x is the number of the convolution, from 1.
    """
    chain = find_conv_chain(view)
    extents = tuple((i, window_reach(window), name) for i, (row, window, name) in enumerate(chain, 1))
    strides = tuple((i, max(window.stride), name) for i, (row, window, name) in enumerate(chain, 1))
    fields = tuple((i, view.field_extent(row) or 0, name) for i, (row, window, name) in enumerate(chain, 1))
    names = ("kernel", "stride", "receptive field")
    title, labels = "What the windows see", ("convolution", "positions along a side")
    return ChartData("windows", title, *labels, names, (extents, strides, fields), "bars")


def find_conv_chain(view: PageView) -> list[tuple[int, Window, str]]:
    """Row, window and name of each convolution, where the model is a chain of a few and has no other MACs."""
    works = [op for op in view.profile.forward_ops if op.macs]
    chain = [
        (row, op.window, view.table_row_name(row))
        for op, row in ((op, view.profile.row_of(op)) for op in works)
        if op.window and not op.window.transposed and view.fields[row].size
    ]
    alone = len(chain) == len(works) == view.depth <= MAX_CHAIN and not view.bounds
    return chain if alone else []


def window_reach(window: Window) -> int:
    """Positions from the first to the last that the window touches, along its longer side."""
    return max(dilation * (kernel - 1) + 1 for kernel, dilation in zip(window.kernel, window.dilation, strict=True))
