"""The lanes under the boxes of a strip: bars as shares of the whole, and the bytes that are live."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

from archprof.analysis.network.strip import Lane, Network
from archprof.render.page.markup import coord, escape_text, tag
from archprof.render.page.strip_layout import ColumnPlace
from archprof.render.page.text_width import fit_text, measure_text

LANE_TITLE, LANE_LABEL, LANE_BARS, LANE_GAP = 22.0, 14.0, 40.0, 6.0
"""Heights of a lane: its title, the numbers on its bars, the bars, and the room below."""

MAX_RULES = 48
"""Repeats up to which a bar is divided into as many."""

MAX_FLOOR, CUT_FLOOR = 0.55, 0.3
"""Weights that are more of the peak than the first are drawn as the second, with a sign that they are cut."""


class DrawnLanes(NamedTuple):
    """What lies under all columns, what is in each, and what lies over them."""

    ground: str
    columns: tuple[str, ...]
    over: str


def draw_lanes(
    network: Network, places: Sequence[ColumnPlace], width: float, top: float, id: str, most: Mapping[str, float] | None
) -> tuple[DrawnLanes, float]:
    """All lanes from `top` on, and where they end. `most`: what the highest bars stand for, where that is given."""
    columns = [""] * len(places)
    ground, y = "", top
    for lane in network.lanes:
        highest = (most or {}).get(lane.key) or max(lane.values, default=0)
        if not any(lane.values):  # its title says 0
            ground += _title(lane.title, lane.words, y, width)
            y += LANE_TITLE
            continue
        if lane.is_predicted:
            ground += _hatching(f"{id}-hatch")
        ground += _title(lane.title, lane.words, y, width) + _baseline(y, width)
        for at, place in enumerate(places):
            columns[at] += _bar(lane, at, network.blocks[at].count, place.width, y, highest, f"{id}-hatch")
        y = _end(y)
    live = network.live
    ground += _title("Live memory", live.words, y, width) + _floor(network, y, width) + _baseline(y, width)
    for at, place in enumerate(places):
        columns[at] += _live_column(network, at, place.width, y)
    over = _flag(network, places, y)
    return DrawnLanes(ground, tuple(columns), over), _end(y) - LANE_GAP + 2


def _end(y: float) -> float:
    return y + LANE_TITLE + LANE_LABEL + LANE_BARS + LANE_GAP


def _base(y: float) -> float:
    """The ground of the bars of a lane that starts at y."""
    return y + LANE_TITLE + LANE_LABEL + LANE_BARS


def _title(title: str, said: str, y: float, width: float) -> str:
    start = round(measure_text(title, 12, bold=True)) + 8.0
    words = fit_text(said, width - start, 11)
    return tag("text", escape_text(title), y=y + 16, class_="t") + tag("text", escape_text(words), x=start, y=y + 16)


def _baseline(y: float, width: float) -> str:
    return tag("path", d=f"M0 {coord(_base(y))}H{coord(width)}", class_="base")


def _bar(lane: Lane, at: int, count: int, width: float, y: float, highest: float, hatch: str) -> str:
    """A bar with its share on top, divided into its repeats; hatched where no clock told it."""
    value, base = lane.values[at], _base(y)
    high = max(LANE_BARS * value / highest, 0.75) if value and highest else 0.0
    largest = bool(value) and value == max(lane.values)
    text = tag(
        "text", escape_text(lane.show_share(at)), y=float(round(base - high - 4)), class_="b" if largest else None
    )
    if not high:
        return text
    shape = f"M0 {coord(base)}v-{coord(high)}h{coord(width)}v{coord(high)}z"
    drawn = tag("path", d=shape, class_=f"{lane.key} most" if largest else lane.key)
    if lane.is_predicted:
        drawn += tag("path", d=shape, fill=f"url(#{hatch})")
    if 1 < count <= MAX_RULES and high > 2:
        step = width / count
        rules = "".join(f"M{coord(i * step)} {coord(base)}v-{coord(high)}" for i in range(1, count))
        drawn += tag("path", d=rules, class_="rule")
    return drawn + text


def _hatching(id: str) -> str:
    line = tag("path", d="M0 0V6", class_="rule", stroke_width="3")
    return tag(
        "pattern", line, id=id, width="6", height="6", patternUnits="userSpaceOnUse", patternTransform="rotate(45)"
    )


class LiveScale(NamedTuple):
    """How bytes become heights: the weights up to `floor`, what is above them up to `LANE_BARS`."""

    weights: int
    peak: int
    floor: float

    def height(self, size: int) -> float:
        above = self.peak - self.weights
        if size <= self.weights or above <= 0:
            return self.floor * size / self.weights if self.weights else 0.0
        return self.floor + (LANE_BARS - self.floor) * (size - self.weights) / above

    @property
    def is_cut(self) -> bool:
        return bool(self.peak) and self.floor < LANE_BARS * self.weights / self.peak - 0.01


def choose_live_scale(network: Network) -> LiveScale:
    live = network.live
    share = live.weights / live.peak if live.peak else 0.0
    return LiveScale(live.weights, live.peak, LANE_BARS * (CUT_FLOOR if share > MAX_FLOOR else share))


def _floor(network: Network, y: float, width: float) -> str:
    """The weights, all along; a sign where they are drawn lower than they are."""
    scale, base = choose_live_scale(network), _base(y)
    if not scale.floor:
        return ""
    low = coord(scale.floor)
    band = tag("path", d=f"M0 {coord(base)}v-{low}h{coord(width)}v{low}z", class_="weights")
    cut = tag("path", d=f"M0 {coord(base - 3)}l3-3 3 3 3-3 3 3", class_="cut")
    return band + (cut if scale.is_cut else "")


def _live_column(network: Network, at: int, width: float, y: float) -> str:
    """What is live above the weights as steps, and the most in words."""
    live, scale, base = network.live, choose_live_scale(network), _base(y)
    curve, back, is_peak = live.curves[at], live.backward[at], at == live.peak_column
    heights = [scale.height(size) for size in curve]
    drawn, ground = "", base - scale.floor
    if heights:
        step = width / len(heights)
        steps = [(high, len(list(same))) for high, same in groupby(heights)]
        path = "".join(f"V{coord(base - high)}h{coord(step * count)}" for high, count in steps)
        d = f"M0 {coord(ground)}{path}V{coord(ground)}z"
        drawn += tag("path", d=d, class_="live most" if is_peak else "live")
    top = max([*heights, scale.floor, 0.0])
    if back is not None:
        top = max(top, scale.height(back))
        drawn += tag("path", d=f"M0 {coord(base - scale.height(back))}h{coord(width)}", class_="back")
    said = fit_text(live.show_above(at), width, 11, bold=is_peak)
    label = tag("text", escape_text(said), y=float(round(base - top - 4)), class_="b" if is_peak else None)
    return drawn + (label if said else "")


def _flag(network: Network, places: Sequence[ColumnPlace], y: float) -> str:
    """A small flag where the peak is."""
    at = network.live.peak_column
    if at is None:
        return ""
    place = places[at]
    x, top = place.right - 6, _base(y) - LANE_BARS
    return tag("path", d=f"M{coord(x)} {coord(top)}v-12l6 3-6 3", class_="live most") + tag(
        "path", d=f"M{coord(x)} {coord(top)}v-12", class_="flow"
    )
