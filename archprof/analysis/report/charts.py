"""The pictures of one model, as points: what works where, what it sees, what it holds and how it uses memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

from archprof.analysis import elapsed, measured_rates
from archprof.analysis.report.view import Subject
from archprof.analysis.tables.columns import rest_lines
from archprof.facts.records import Op, Window
from archprof.predicting import roofline

Point = tuple[float | str, float, str]

MOST = 600
"""Points a picture can show beside one another."""

CHAIN = 12
"""Convolutions up to which a chain is drawn window by window."""

MEASURES = {"params": "Parameters", "macs": "MACs", "flops": "FLOPs", "act_fp32": "Activation memory, float32 [B]"}


class Series(NamedTuple):
    """The data of one picture, raw values in base units.

    Attributes:
        key: which picture it is; fixed, and fit for an id.
        names: one a set of points: a model, or what the set shows.
        points: (x, y, label) of each, a tuple for each of `names`; x is a text where the picture has categories, which
            differ within a set.
        kind: how it wants to be drawn.
    """

    key: str
    title: str
    x_label: str
    y_label: str
    names: tuple[str, ...]
    points: tuple[tuple[Point, ...], ...]
    kind: Literal["bars", "stack", "line", "scatter", "area"]


def of(subject: Subject) -> tuple[Series, ...]:
    """Every picture that has a point. Keys: "stage_params", "stage_macs", "stage_flops", "stage_act_fp32",
    "stage_latency", "field", "live", "activation", "intensity" or, of a measured model, "roofline", "windows".
    """
    made = (
        *by_stage(subject),
        stage_latency(subject),
        field(subject),
        live(subject),
        activation(subject),
        roofs(subject) if elapsed.by(subject.profile) else intensity(subject),
        windows(subject),
    )
    return tuple(series for series in made if any(series.points))


def by_stage(subject: Subject) -> Iterator[Series]:
    """What each run of layers of one spatial size holds or spends, a picture a measure; it adds up to the total."""
    names = distinct(stage.name for stage in subject.side.stages)
    for key, label in MEASURES.items():
        values = [getattr(stage.counts, key) for stage in subject.side.stages]
        points = tuple((name, value, name) for name, value in zip(names, values, strict=True)) if any(values) else ()
        name = label.partition(",")[0]
        yield Series(f"stage_{key}", f"{name} by stage", "stage", label, (subject.facts.name,), (points,), "bars")


def stage_latency(subject: Subject) -> Series:
    """What each run of layers of one spatial size took, and what belongs to no layer; it adds up to the sum of all."""
    timed = [(stage.name, stage.counts.latency) for stage in subject.side.stages]
    timed += [(line.name, line.counts.latency) for line in rest_lines(subject.profile, "stage")]
    names = distinct(name for name, _ in timed)
    times = zip(names, (time for _, time in timed), strict=True)
    points = tuple((name, max(time.seconds, 0.0), name) for name, time in times if time)
    return Series("stage_latency", "Latency by stage", "stage", "Latency [s]", (subject.facts.name,), (points,), "bars")


def distinct(names: Iterable[str]) -> list[str]:
    """The names, with a number behind each that came before: "56x56", "28x28", "56x56 (2)"."""
    seen, made = Counter[str](), list[str]()
    for name in names:
        seen[name] += 1
        made.append(f"{name} ({seen[name]})" if seen[name] > 1 else name)
    return made


def field(subject: Subject) -> Series:
    """The receptive field behind each weight layer that has one, along the longer side."""
    sees = [(i, row, subject.extent(row)) for i, row in enumerate(subject.weighted, 1)]
    points = thinned([(i, extent, subject.name(row)) for i, row, extent in sees if extent is not None])
    title, x_label = "Receptive field against depth", "weight layer, in the order of the calls"
    return Series("field", title, x_label, "input pixels along a side", (subject.facts.name,), (points,), "line")


def live(subject: Subject) -> Series:
    """Bytes live while each op runs, all and of activations alone; thinned so that no peak is lost."""
    where = [_where(subject, op) for op in subject.profile.ops]
    sets = [
        thinned([(i, size, name) for i, (size, name) in enumerate(zip(sizes, where, strict=True))])
        for sizes in (subject.live, subject.live_activations)
    ]
    label = f"live bytes in {subject.profile.dtype}"
    return Series("live", "Memory along the pass", "op", label, ("all", "activations"), tuple(sets), "area")


def _where(subject: Subject, op: Op) -> str:
    back = " (backward)" if op.phase == "backward" else ""
    return f"{subject.name(op.layer)}: {op.name.removeprefix('aten.')}{back}"


def activation(subject: Subject) -> Series:
    """The bytes of new results of each layer that makes any, in the order of the calls."""
    own = subject.side.own
    made = [
        (i, own[row].act_fp32, subject.name(row)) for i, row in enumerate(subject.side.rows, 1) if own[row].act_fp32
    ]
    title, label = "Activation memory by layer", MEASURES["act_fp32"]
    return Series("activation", title, "layer", label, (subject.facts.name,), (thinned(made),), "bars")


def thinned(points: Sequence[Point], most: int = MOST) -> tuple[Point, ...]:
    """At most so many of the points, in their order: the ends, and the lowest and highest of equal parts between."""
    if len(points) <= most:
        return tuple(points)
    inner, parts = range(1, len(points) - 1), (most - 2) // 2
    kept = {0, len(points) - 1}
    for part in range(parts):
        here = inner[part * len(inner) // parts : (part + 1) * len(inner) // parts]
        kept |= {min(here, key=lambda i: points[i][1]), max(here, key=lambda i: points[i][1])}
    return tuple(points[i] for i in sorted(kept))


def intensity(subject: Subject) -> Series:
    """FLOPs of each layer against its FLOPs for each byte moved, unfused; those with most FLOPs where there are many.

    A layer with an op that no rule covers has no point.
    """
    points = []
    for row, counts in enumerate(subject.side.own):
        flops = counts.flops + (counts.backward_flops or 0)
        if flops and counts.bytes_moved and not counts.unknown:
            points.append((flops / counts.bytes_moved, flops, subject.name(row)))
    points = sorted(points, key=lambda point: -point[1])[:MOST]
    names, title = (subject.facts.name,), "Arithmetic intensity by layer"
    return Series("intensity", title, "FLOPs for each byte moved", "FLOPs", names, (tuple(points),), "scatter")


def roofs(subject: Subject) -> Series:
    """How fast each measured layer ran against its FLOPs for each byte moved, under the roof of a device we know."""
    found = sorted(measured_rates.dots(subject.side.own), key=lambda dot: -dot.rate)[:MOST]
    roof, ran = (
        roofline.roof(subject.profile, subject.device),
        tuple((dot.intensity, dot.rate, subject.name(dot.row)) for dot in found),
    )
    sets, title = {subject.facts.name: ran}, "How fast each layer ran"
    if roof is not None and found:
        line = roof.line(min(dot.intensity for dot in found), max(dot.intensity for dot in found))
        sets[f"roof of {roof.device}"] = tuple((*place, "roof") for place in line)
        title = f"Roofline: {roof.words()}"
    labels = "FLOPs for each byte moved", "FLOP/s"
    return Series("roofline", title, *labels, tuple(sets), tuple(sets.values()), "scatter")


def windows(subject: Subject) -> Series:
    """A short chain of nothing but convolutions, window by window: how far each reaches, its step, and what is seen.

    x is the number of the convolution, from 1.
    """
    chain = convolutions(subject)
    extents = tuple((i, reach(window), name) for i, (row, window, name) in enumerate(chain, 1))
    strides = tuple((i, max(window.stride), name) for i, (row, window, name) in enumerate(chain, 1))
    fields = tuple((i, subject.extent(row) or 0, name) for i, (row, window, name) in enumerate(chain, 1))
    names = ("kernel", "stride", "receptive field")
    return Series(
        key="windows",
        title="What the windows see",
        x_label="convolution",
        y_label="positions along a side",
        names=names,
        points=(extents, strides, fields),
        kind="bars",
    )


def convolutions(subject: Subject) -> list[tuple[int, Window, str]]:
    """Row, window and name of each convolution, where the model is a chain of a few and has no other MACs."""
    works = [op for op in subject.profile.ops if op.phase == "forward" and op.macs]
    chain = [
        (op.layer, op.window, subject.name(op.layer))
        for op in works
        if op.window and not op.window.transposed and subject.fields[op.layer].size
    ]
    alone = len(chain) == len(works) == subject.facts.depth <= CHAIN and not subject.facts.bounds
    return chain if alone else []


def reach(window: Window) -> int:
    """Positions from the first to the last that the window touches, along its longer side."""
    return max(dilation * (kernel - 1) + 1 for kernel, dilation in zip(window.kernel, window.dilation, strict=True))
