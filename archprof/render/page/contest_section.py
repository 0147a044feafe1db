"""The scatters of a contest as one picture with a switch for each axis, each other than the first packed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from archprof.analysis.report.backdrop import BACKDROP_NOTE
from archprof.analysis.report.charts import ChartData
from archprof.render.page import figures
from archprof.render.page.markup import escape_text, tag, void_tag

AXIS_NAMES = {
    "macs": "MACs",
    "params": "Params",
    "activation_bytes": "Activations",
    "peak": "Peak memory",
    "latency": "Latency",
    "predicted": "Predicted time",
    "error": "Error",
}
"""What can be chosen for an axis, by what a picture's key says of it."""


FRONT_NOTE = "Dotted: the Pareto front, the models that no other beats in one measure without losing in the other."

BOTH_WAYS = "{} both ways. Choose another measure for one of them."


class RenderedContest(NamedTuple):
    """What the page shows at first, and the rest for the script."""

    shown: str
    packed: str


def render_contest(scatters: Sequence[ChartData]) -> RenderedContest:
    """The first picture with the switches, which wait for the script that unpacks the others."""
    if not scatters:
        return RenderedContest("", "")
    pairs = [_split(series.key) for series in scatters]
    ys, xs = (list(dict.fromkeys(keys)) for keys in zip(*pairs, strict=True))
    first, *others = (
        tag("div", figures.render_figure(series, f"fig-{series.key}", alone=pair == pairs[0]), **_classes(*pair))
        for series, pair in zip(scatters, pairs, strict=True)
    )
    others += [tag("p", BOTH_WAYS.format(AXIS_NAMES[key]), **_classes(key, key)) for key in xs if key in ys]
    switches = _switch("Upwards", "y", ys, pairs[0][0]) + _switch("Across", "x", xs, pairs[0][1])
    said = [FRONT_NOTE] if any(len(series.points[-1]) > 1 for series in scatters) else []
    said += [BACKDROP_NOTE] if any(series.backdrop for series in scatters) else []
    note = tag("p", escape_text(" ".join(said)), class_="note") if said else ""
    inner = (switches if len(pairs) > 1 else "") + tag("div", first, id="pairs") + note
    return RenderedContest(tag("div", inner, class_="contest"), "".join(others) + _name_dots(scatters))


def _name_dots(scatters: Sequence[ChartData]) -> str:
    """The names of the grey dots, a line each in the order of their paths, once for all pictures that have the same."""
    pictures: dict[str, list[str]] = {}
    for series in scatters:
        names = "\n".join(escape_text(name) for _, _, name in series.backdrop)
        pictures.setdefault(names, []).append(f"fig-{series.key}")
    return "".join(
        tag("p", names, hidden=True, data_of="pairs", data_dots=" ".join(ids))
        for names, ids in pictures.items()
        if names
    )


def _split(key: str) -> tuple[str, str]:
    """What is upwards and what is across."""
    return next(
        (y, key[len(y) + 1 :]) for y in AXIS_NAMES if key.startswith(f"{y}_") and key[len(y) + 1 :] in AXIS_NAMES
    )


def _classes(y: str, x: str) -> dict[str, object]:
    return {"class_": f"pair y-{y} x-{x}", "data_of": "pairs"}


def _switch(legend: str, axis: str, keys: Sequence[str], chosen: str) -> str:
    buttons = [
        void_tag("input", type="radio", name=f"axis-{axis}", id=f"{axis}-{key}", checked=key == chosen)
        + tag("label", AXIS_NAMES[key], for_=f"{axis}-{key}")
        for key in keys
    ]
    return tag("fieldset", tag("legend", legend) + "".join(buttons), class_="switch", hidden=True)


def write_switch_style() -> str:
    """What hides every picture but the chosen one."""
    shown = {"x": [key for key in AXIS_NAMES if key != "error"], "y": ["error", "params"]}
    return "".join(
        f".contest:has(#{axis}-{key}:checked) .pair:not(.{axis}-{key}){{display:none}}"
        for axis, keys in shown.items()
        for key in keys
    )
