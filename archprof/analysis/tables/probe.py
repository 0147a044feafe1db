"""Probed models: how each was probed in words, a row for each side by side, and the layers of one."""

from __future__ import annotations

from collections.abc import Sequence

from archprof.analysis.compare.findings import Finding
from archprof.analysis.metrics import METRIC_BY_KEY
from archprof.analysis.phrases import say_once
from archprof.analysis.probe_findings import observe_probe
from archprof.analysis.probed import (
    find_row_activations,
    list_gradient_flow,
    list_relu_rows,
    measure_shrinking,
    measure_vanishing,
)
from archprof.analysis.table import Column, Row, Table, Value
from archprof.analysis.tables.notes import describe_probe
from archprof.analysis.view import ProfileView
from archprof.facts.records import Profile

LAYER_KEYS = (
    "kind", "output", "params", "act_std", "zeros", "dead", "rank", "grad_norm", "grad_weight", "update_weight",
)  # fmt: skip
"""The columns of the layers of a probed model, where none are named."""

MODEL_COLUMNS = (
    Column("model", "Model", "path", "its name", 0),
    Column("loss", "Loss", "number", "mean over the batches", 1),
    Column("first_grad", "First grad", "number", "norm of the gradient of the first weight", 2),
    Column("last_grad", "Last grad", "number", "norm of the gradient of the last weight", 3),
    Column("first_grad_weight", "First g/w", "number", "that of the first by the norm of the weight", 4),
    Column("last_grad_weight", "Last g/w", "number", "that of the last by the norm of the weight", 5),
    METRIC_BY_KEY["vanishing"].column_of_model(6, header="First/last"),
    Column("shrinking", "Shrinks", "number", "spread behind the first ReLU by that behind the last", 7),
    Column("zeros", "Zeros", "share", "share of zeros behind ReLUs", 8),
    Column("dead", "Dead", "share", "share of units behind ReLUs that are 0 for every sample", 9),
)


def tabulate_probes(profiles: Sequence[Profile]) -> Table:
    """A row for each probed model: how gradients reach its first layer, and what activations do on the way."""
    rows = tuple(Row(_cells(profile)) for profile in profiles)
    notes = say_once([[*describe_probe(profile)] for profile in profiles])
    names = dict.fromkeys(profile.model for profile in profiles)
    return Table(f"{', '.join(names)} probed", MODEL_COLUMNS, rows, notes=notes)


def _cells(profile: Profile) -> tuple[Value, ...]:
    flow, probe = list_gradient_flow(profile), profile.probe
    ends = (flow[0], flow[-1]) if flow else ()
    found = [one for row in list_relu_rows(profile) if (one := find_row_activations(profile)[row])]
    elements, units = sum(one.elements for one in found), sum(one.units or 0 for one in found)
    return (
        profile.model,
        probe.loss if probe else None,
        *([end.norm for end in ends] or (None, None)),
        *([end.of_weight for end in ends] or (None, None)),
        measure_vanishing(profile),
        measure_shrinking(profile),
        sum(one.zeros for one in found) / elements if elements else None,
        sum(one.dead or 0 for one in found) / units if units else None,
    )


def list_probe_findings(profiles: Sequence[Profile]) -> tuple[Finding, ...]:
    """What each model shows, in sentences that name it where there are several."""
    said = []
    for at, profile in enumerate(profiles):
        name = f"{profile.model}: " if len(profiles) > 1 else ""
        view = ProfileView(profile)
        for one in sorted(observe_probe(profile, view.row_name), key=lambda one: -one.weight):
            text = f"{name}{one.text}"
            said.append(Finding(text, (at,), one.columns, tuple(map(view.row_name, one.rows))))
    return tuple(said)
