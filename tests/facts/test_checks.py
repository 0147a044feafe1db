"""Every invariant refuses a profile that breaks it, and the profile says so when calls went unseen."""

from __future__ import annotations

import dataclasses
import warnings

import builders
import pytest
import torch
from torch import nn

import archprof
from archprof.analysis.tables.notes import describe_certainty
from archprof.facts import store
from archprof.facts.probed import Activation, Gradient, Probe
from archprof.facts.ran import Ran
from archprof.facts.records import Storage
from archprof.tracing import calls, trace


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
    assert store.from_json(both.to_json()) == both


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


class ByHand(nn.Module):
    """Layers whose weights are used, and which are never called; of the last one not all."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(layers))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers[:-1]:
            x = layer.forward(x)
        return nn.functional.linear(x, self.layers[-1].weight)


@pytest.mark.parametrize("parts", [1, 2])
def test_a_pass_that_saw_no_call_of_a_few_parts_is_not_complete(parts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "CALL_ENTRY", "_no_such_attribute")
    blind = archprof.profile(nn.Sequential(*(nn.Linear(4, 4) for _ in range(parts))), (1, 4))
    assert (blind.totals.macs, blind.totals.complete) == (16 * parts, False)
    blind.check()
    again = store.from_json(blind.to_json())
    assert (again, again.totals.complete) == (blind, False)


def test_hooks_that_are_not_called_either(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (calls, trace):
        monkeypatch.setattr(module, "has_call_entry", lambda: False)
    assert archprof.profile(nn.Sequential(nn.Linear(4, 4)), (1, 4)).totals.complete
    monkeypatch.setattr(calls, "CallHooks", lambda module, watcher: archprof)
    assert not calls._sees_calls(by_entry=False)


@pytest.mark.parametrize("layers", [1, 4])
def test_weights_that_are_used_by_hand_are_read(layers: int) -> None:
    profile = archprof.profile(ByHand(layers), (1, 4))
    assert profile.totals.complete
    assert profile.totals.macs == 16 * layers
    assert [one.name for one in profile.unread_parameters] == [f"layers.{layers - 1}.bias"]
    said = f"Weights not read in this pass, parameters counted (4): layers.{layers - 1}.bias."
    assert said in profile.table().notes
    stages = [(row["stage"], row["params"]) for row in profile.table(by="stage").records()]
    assert stages == [("vector", 20 * layers - 4), ("not read", 4)]


class Tied(nn.Module):
    """The embedding is the head, which is not called."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(9, 4), nn.Linear(4, 9, bias=False)
        self.head.weight = self.embedding.weight
        self.spare = nn.Linear(4, 2)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(self.embedding(ids), self.head.weight)


def test_only_what_no_op_reads_is_not_read() -> None:
    assert [one.name for one in archprof.profile(Tied(), "int64[1,3]<9").unread_parameters] == [
        "spare.weight",
        "spare.bias",
    ]
    attention = archprof.profile(nn.MultiheadAttention(4, 2), (torch.zeros(2, 4),) * 3)
    assert attention.unread_parameters == ()
    assert not any("out_proj" in note for note in attention.table().notes)


@pytest.mark.parametrize("name", ["vit_b_16", "swin_t", "swin_v2_t", "mvit_v2_s"])
@pytest.mark.parametrize("train", [False, True])
def test_transformers_read_all_of_their_weights(name: str, train: bool) -> None:
    """All of them get a gradient in a real training step; that a module is not called says nothing."""
    inputs = "3x16x224x224" if name == "mvit_v2_s" else None
    profile = archprof.profile(f"torchvision:{name}", inputs, train=train)
    assert profile.unread_parameters == ()
    assert "read" not in "".join(profile.table().notes)
    assert "not read" not in [row["stage"] for row in profile.table(by="stage").records()]


def test_heads_for_training_are_not_read_in_evaluation() -> None:
    """Two of GoogLeNet: a 1x1 convolution 512 or 528 -> 128 with its norm, 2048 -> 1024 and 1024 -> 1000."""
    profile = archprof.profile("torchvision:googlenet")
    linear = 2048 * 1024 + 1024 + 1024 * 1000 + 1000
    assert sum(one.spec.numel for one in profile.unread_parameters) == (512 + 528) * 128 + 2 * (2 * 128 + linear)
    assert {one.name.split(".")[0] for one in profile.unread_parameters} == {"aux1", "aux2"}
    assert archprof.profile("torchvision:googlenet", train=True, batch=2).unread_parameters == ()


def test_packed_weights_are_not_said_to_be_idle() -> None:
    """Quantised layers hold them in objects that ops read unseen."""
    pytest.importorskip("torch.ao.quantization")
    net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net = torch.ao.quantization.quantize_dynamic(net)
    assert archprof.profile(net, (1, 4)).unread_parameters == ()


def probe_of(activations=(), gradients=()):
    return Probe(Ran("cpu"), "digits", 2, 1, 0, "", "sgd", 1.0, "cross entropy", activations, gradients)


@pytest.mark.parametrize(
    ("overlay", "words"),
    [
        (probe_of((Activation(1, 4, 0.0, 1.0, 0.0, 1.0, 2, 0), Activation(1, 4, 0.0, 1.0, 0.0, 1.0, 2, 0))), "twice"),
        (probe_of(gradients=(Gradient(0, 1.0, 1.0), Gradient(0, 1.0, 1.0))), "parameter was probed twice"),
        (probe_of((Activation(1, 4, 0.0, 1.0, 0.0, 1.0, 3, 2),)), "more zeros than elements"),
        (probe_of((Activation(1, 4, 0.0, 1.0, 0.0, 1.0, 3, 0, 2, 3),)), "more zeros than elements"),
        (probe_of((Activation(1, 4, float("nan"), 1.0, 0.0, 1.0, 0, 0),)), "no number"),
        (probe_of(gradients=(Gradient(0, float("inf"), 1.0),)), "no number"),
        (probe_of((Activation(99, 4, 0.0, 1.0, 0.0, 1.0, 0, 0),)), "calls that do not exist"),
    ],
)
def test_a_probe_that_cannot_be(overlay, words):
    with pytest.raises(ValueError, match=words):
        dataclasses.replace(builders.profile(), overlays=(overlay,)).check()
