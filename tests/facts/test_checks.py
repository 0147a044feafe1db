"""Every invariant refuses a profile that breaks it, and the profile says so when calls went unseen."""

from __future__ import annotations

import dataclasses

import builders
import pytest
import torch
from torch import nn

import archprof
from archprof.analysis.tables.notes import describe_certainty
from archprof.facts.records import Storage
from archprof.tracing import calls


def broken(**changes: object) -> object:
    return dataclasses.replace(builders.profile(), **changes)


PROFILE = builders.profile()
BROKEN = {
    "held by itself": (
        {"modules": (PROFILE.modules[0], PROFILE.modules[1]._replace(parent=1), *PROFILE.modules[2:])},
        "is held by",
    ),
    "called by a later one": (
        {"calls": (PROFILE.calls[0], PROFILE.calls[1]._replace(parent=2), *PROFILE.calls[2:])},
        "is not before it",
    ),
    "a call left out": ({"calls": (PROFILE.calls[0], PROFILE.calls[1]._replace(number=1))}, "number 1 of its module"),
    "two of one name": ({"parameters": PROFILE.parameters[:1] * 2}, "two parameters of one name"),
    "an op of no call": ({"ops": (PROFILE.ops[0]._replace(call=99),)}, "call 99, which does not exist"),
    "unknown with a cost": ({"ops": (builders.change_op(PROFILE.ops[0], status="unknown"),)}, "is unknown with macs"),
    "freed before it was made": (
        {"storages": (*PROFILE.storages[:-1], Storage(40, "float32", "activation", 5, 2))},
        "before op 5 made it",
    ),
    "made by no op": (
        {"storages": (*PROFILE.storages[:-1], Storage(40, "float32", "activation", 99, None))},
        "op 99, which does not exist",
    ),
    "measured without a call": (
        {"overlays": (dataclasses.replace(builders.measured().measurement, memory=(), latencies=(
            builders.LATENCY._replace(layers=(builders.timing(99, 1, 1, 1),)),
        )),)},
        r"measured rows of calls that do not exist: \[99\]",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", BROKEN)
def test_what_cannot_be_is_refused(kind: str) -> None:
    changes, words = BROKEN[kind]
    with pytest.raises(ValueError, match=words):
        broken(**changes).check()


def test_several_overlays_lie_side_by_side() -> None:
    first, second = builders.measured().measurement, builders.on_gpu().measurement
    both = builders.profile(overlays=(first, second))
    assert both.measurement is first
    assert archprof.facts.store.from_json(both.to_json()) == both


def test_a_pass_that_saw_no_call_is_not_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if torch read another attribute than the one in which calls are seen."""
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    monkeypatch.setattr(calls, "CALL_ENTRY", "_no_such_attribute")
    blind = archprof.profile(net, (1, 4))
    monkeypatch.undo()
    seen = archprof.profile(net, (1, 4))
    assert blind.totals.macs == seen.totals.macs == 4 * 8 + 8 * 2
    assert (blind.totals.complete, seen.totals.complete) == (False, True)
    assert (describe_certainty(blind), describe_certainty(seen)) == ("lower bound", "complete")
    assert any("No module inside the model was seen to be called" in note for note in blind.table().notes)
    assert not any("seen to be called" in note for note in seen.table().notes)


@pytest.mark.parametrize(
    "made", [nn.Linear(3, 3), nn.MultiheadAttention(4, 2), nn.ReLU()], ids=lambda one: str(one)[:9]
)
def test_a_model_without_parts_to_call_is_complete(made: nn.Module) -> None:
    inputs = torch.zeros(2, 3) if not isinstance(made, nn.MultiheadAttention) else (torch.zeros(2, 4),) * 3
    assert archprof.profile(made, inputs).totals.complete


def test_checks_hold_after_every_kind_of_pass() -> None:
    for train in (False, True):
        archprof.profile("resnet18", train=train).check()
