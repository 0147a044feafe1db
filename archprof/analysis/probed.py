"""What was probed, read off by rows: activations of calls, gradients of what each call owns, both along depth."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from archprof.analysis.metric import divide
from archprof.facts.probed import Activation, Gradient
from archprof.facts.records import Profile

MIN_WEIGHT_DIMENSIONS = 2
"""A weight of fewer dimensions is a bias or the scale of a norm."""


class RowGradient(NamedTuple):
    """Of all parameters that a row owns and that got a gradient: Euclidean norms."""

    norm: float
    weight_norm: float
    update_norm: float | None

    @property
    def of_weight(self) -> float | None:
        return divide(self.norm, self.weight_norm)

    @property
    def update_of_weight(self) -> float | None:
        return divide(self.update_norm, self.weight_norm)


def find_row_activations(profile: Profile) -> list[Activation | None]:
    """Of each row of a profile; `None` where nothing was probed, or no floating tensor came out."""
    found = {one.key: one for one in profile.probe.activations} if profile.probe else {}
    return [None if row.call_index is None else found.get(row.call_index) for row in profile.layers]


def find_row_gradients(profile: Profile) -> list[RowGradient | None]:
    """Of each row; a module's parameters are in the row of its first call."""
    owned: dict[str, list[Gradient]] = {}
    for one in profile.probe.gradients if profile.probe else ():
        if one.norm is not None:
            owned.setdefault(profile.modules[profile.parameters[one.parameter].module].path, []).append(one)
    return [_sum_up(owned[row.path]) if row.path in owned and not row.call else None for row in profile.layers]


def _sum_up(gradients: Sequence[Gradient]) -> RowGradient:
    updates = [one.update_norm for one in gradients]
    return RowGradient(
        math.hypot(*(one.norm or 0.0 for one in gradients)),
        math.hypot(*(one.weight_norm or 0.0 for one in gradients)),
        None if None in updates else math.hypot(*(update or 0.0 for update in updates)),
    )


class DepthPoint(NamedTuple):
    """One weight along the depth of a model.

    Attributes:
        name: of the parameter.
        row: index into `Profile.layers` of the call that owns it.
        norm: of its gradient.
        of_weight: that by the norm of the weight; `None` for a weight of zeros.
    """

    name: str
    row: int
    norm: float
    of_weight: float | None


def list_gradient_flow(profile: Profile) -> list[DepthPoint]:
    """The gradients of all weights of two dimensions or more, in the order of the first calls of their owners."""
    if profile.probe is None:
        return []
    first = {layer.path: row for row, layer in reversed([*enumerate(profile.layers)]) if layer.call is not None}
    containers = {layer.parent for layer in profile.layers}
    points = []
    for one in profile.probe.gradients:
        parameter = profile.parameters[one.parameter]
        row = first.get(profile.modules[parameter.module].path)
        shape = parameter.spec.shape
        if one.norm is None or row is None or len(shape) < MIN_WEIGHT_DIMENSIONS:
            continue
        if shape[0] > 1 or row not in containers:  # else a token or an embedding of positions, which multiply nothing
            of_weight = one.norm / one.weight_norm if one.weight_norm else None
            points.append(DepthPoint(parameter.name, row, one.norm, of_weight))
    return sorted(points, key=lambda point: point.row)


class SpreadPoint(NamedTuple):
    """The standard deviation of what one call returned: a row, by its index, and the value."""

    row: int
    std: float


def list_activation_spread(profile: Profile) -> list[SpreadPoint]:
    """The spread behind each call that has no parts, in order."""
    parents = {layer.parent for layer in profile.layers}
    found = enumerate(find_row_activations(profile))
    return [SpreadPoint(row, one.std) for row, one in found if one and one.std is not None and row not in parents]


def measure_vanishing(profile: Profile) -> float | None:
    """The gradient of the first weight by that of the last, both by the norm of the weight."""
    flow = [point.of_weight for point in list_gradient_flow(profile)]
    return divide(flow[0], flow[-1]) if len(flow) > 1 else None


def list_relu_rows(profile: Profile) -> list[int]:
    """The calls of modules that are rectifiers, by what they are called."""
    return [
        row for row, layer in enumerate(profile.layers) if layer.kind in ("ReLU", "ReLU6") and layer.call is not None
    ]


def measure_shrinking(profile: Profile) -> float | None:
    """The spread behind the first rectifier by that behind the last; `None` without two of them."""
    found = find_row_activations(profile)
    spreads = [one.std for row in list_relu_rows(profile) if (one := found[row])]
    return divide(spreads[0], spreads[-1]) if len(spreads) > 1 else None


RowValue = Callable[[Any], Any]


def _read_activations(read: Callable[[Activation], Any]) -> RowValue:
    return lambda view: [None if one is None else read(one) for one in find_row_activations(view.profile)]


def _read_gradients(read: Callable[[RowGradient], Any]) -> RowValue:
    return lambda view: [None if one is None else read(one) for one in find_row_gradients(view.profile)]


PROBED_COLUMNS: tuple[tuple[tuple[str, str, Any, int, str], str, RowValue], ...] = (
    (("act_mean", "Mean", "number", 9, "mean of what the call returned, over all samples (probe)"),
     "maximum", _read_activations(lambda one: one.mean)),
    (("act_std", "Std", "number", 3, "standard deviation of what the call returned (probe)"),
     "maximum", _read_activations(lambda one: one.std)),
    (("act_least", "Least", "number", 9, "least finite element of what the call returned (probe)"),
     "maximum", _read_activations(lambda one: one.least)),
    (("act_largest", "Largest", "number", 9, "largest finite element of what the call returned (probe)"),
     "maximum", _read_activations(lambda one: one.largest)),
    (("zeros", "Zeros", "share", 4, "share of the elements that are 0 (probe)"),
     "maximum", _read_activations(lambda one: divide(one.zeros, one.elements))),
    (("dead", "Dead", "share", 5, "share of the units that are 0 for every sample, everywhere (probe)"),
     "maximum", _read_activations(lambda one: divide(one.dead, one.units))),
    (("saturated", "Saturated", "share", 9, "share within 1% of a bound of a bounded activation (probe)"),
     "maximum", _read_activations(lambda one: divide(one.saturated, one.elements))),
    (("nonfinite", "Not finite", "count", 9, "elements that are infinite or not a number (probe)"),
     "maximum", _read_activations(lambda one: one.nonfinite)),
    (("rank", "Rank", "count", 6, "singular values of at least 1% of the largest, of up to 64 samples (probe)"),
     "maximum", _read_activations(lambda one: one.rank)),
    (("grad_norm", "Grad", "number", 2, "norm of the gradient of its own parameters (probe)"),
     "fact", _read_gradients(lambda one: one.norm)),
    (("grad_weight", "Grad/weight", "number", 3, "that by the norm of the parameters (probe)"),
     "fact", _read_gradients(lambda one: one.of_weight)),
    (("update", "Update", "number", 9, "norm of the first step of the optimizer (probe)"),
     "fact", _read_gradients(lambda one: one.update_norm)),
    (("update_weight", "Upd/weight", "number", 7, "that by the norm of the parameters (probe)"),
     "fact", _read_gradients(lambda one: one.update_of_weight)),
)  # fmt: skip
"""The columns of a probed profile: what `Metric` says of each, how it adds up, and its values by row."""

PROBED_KEYS = tuple(said[0] for said, _, _ in PROBED_COLUMNS)
