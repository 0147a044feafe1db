"""Pictures of what happens along the depth of nets, or along the epochs of their training: lines, several in one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from archprof.analysis.probed import list_activation_spread, list_gradient_flow
from archprof.analysis.view import ProfileView
from archprof.facts.trained import Epoch, Flow, TrainedModel, TrainingRun

WEIGHT_LABEL = "weight, from the input on"
GRADIENT_LABEL, SPREAD_LABEL = "|gradient| / |weight|", "standard deviation"


class LinePoint(NamedTuple):
    """A place along a line, its value, and what stands there."""

    x: float
    y: float
    label: str


class LineChart(NamedTuple):
    """One picture.

    Attributes:
        key: fixed, and fit for an id.
        names: one for each line.
        lines: their points; in a logarithmic picture those that have a place there, above 0.
        log: the axis of the values is logarithmic.
        percent: the values are shares.
    """

    key: str
    title: str
    x_label: str
    y_label: str
    names: tuple[str, ...]
    lines: tuple[tuple[LinePoint, ...], ...]
    log: bool = True
    percent: bool = False


def build_probe_charts(views: Sequence[ProfileView], names: Sequence[str]) -> tuple[LineChart, ...]:
    """Gradients and activations along the depth of those models that were probed; none where none was."""
    probed = [(view, name) for view, name in zip(views, names, strict=True) if view.profile.probe]
    if not probed:
        return ()
    said = tuple(name for _, name in probed)
    gradients = tuple(_keep_placeable(_follow_gradients(view)) for view, _ in probed)
    spreads = tuple(_keep_placeable(_follow_spread(view)) for view, _ in probed)
    return (
        LineChart("gradients", "Gradient flow along the depth", WEIGHT_LABEL, GRADIENT_LABEL, said, gradients),
        LineChart("spread", "Spread of the activations along the depth", "call, in order", SPREAD_LABEL, said, spreads),
    )


def _follow_gradients(view: ProfileView) -> Iterator[LinePoint]:
    for at, point in enumerate(list_gradient_flow(view.profile), 1):
        if point.of_weight is not None:
            yield LinePoint(at, point.of_weight, point.name)


def _follow_spread(view: ProfileView) -> Iterator[LinePoint]:
    for at, point in enumerate(list_activation_spread(view.profile), 1):
        if point.std is not None:
            yield LinePoint(at, point.std, view.row_name(point.row))


def _keep_placeable(points: Iterable[LinePoint]) -> tuple[LinePoint, ...]:
    """Those that have a place along a logarithmic axis."""
    return tuple(point for point in points if 0 < point.y < math.inf)


CURVES = (
    ("held_accuracy", "Accuracy on what was not learned", "held_out_accuracy"),
    ("accuracy", "Accuracy while learning", "accuracy"),
    ("loss", "Loss while learning", "loss"),
    ("held_loss", "Loss on what was not learned", "held_out_loss"),
)


def build_run_charts(run: TrainingRun) -> tuple[LineChart, ...]:
    """The curves of all nets, and the gradients of each before, after one epoch and at the end."""
    names = tuple(model.name for model in run.models)
    curves = []
    for key, title, field in CURVES:
        lines = tuple(tuple(_follow_epochs(model.epochs, field)) for model in run.models)
        percent = "accuracy" in field
        label = "share right" if percent else "cross entropy"
        curves.append(LineChart(key, title, "epoch", label, names, lines, log=False, percent=percent))
    flows = [_chart_flows(at, model) for at, model in enumerate(run.models) if model.flows]
    return tuple(chart for chart in (*curves, *flows) if any(chart.lines))


def _follow_epochs(epochs: Sequence[Epoch], field: str) -> Iterator[LinePoint]:
    for epoch in epochs:
        if (value := getattr(epoch, field)) is not None:
            yield LinePoint(epoch.number, value, f"epoch {epoch.number}")


def _chart_flows(at: int, model: TrainedModel) -> LineChart:
    names = tuple(f"epoch {flow.epoch}" for flow in model.flows)
    lines = tuple(_keep_placeable(_follow_flow(flow)) for flow in model.flows)
    return LineChart(f"flow{at}", f"Gradient flow of {model.name}", WEIGHT_LABEL, GRADIENT_LABEL, names, lines)


def _follow_flow(flow: Flow) -> Iterator[LinePoint]:
    for at, point in enumerate(flow.gradients, 1):
        if point.gradient is not None and point.weight:
            yield LinePoint(at, point.gradient / point.weight, point.name)
