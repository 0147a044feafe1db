"""What a model holds of a pass, and constants that a forward makes: the live bytes of three real steps, op by op."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import nn
from tracing.held_nets import CONSTANTS, HELD, MODULES, ROWS, Biased, Net, used_later
from tracing.real_storages import StorageCounter, live_bytes, train_for_real

import archprof
from archprof.facts.liveness import compute_peak_bytes
from archprof.predicting.memory_events import Workspaces, list_changes

pytestmark = pytest.mark.filterwarnings("ignore")

NETS: dict[str, Callable[[], nn.Module]] = {
    **{name: partial(Net, body) for name, body in (HELD | CONSTANTS).items()},
    **MODULES,
}


def infer_for_real(model: nn.Module, steps: int = 3) -> list[list[int]]:
    """Live bytes after each op of each forward."""
    counter, x = StorageCounter(), torch.randn(ROWS)
    for tensor in (*model.parameters(), *model.buffers(), x):
        counter.add(tensor)
    with torch.no_grad(), counter:
        for _ in range(steps):
            counter.steps.append([])
            output = model(x)
            del output
    return counter.steps


@pytest.mark.parametrize("name", NETS)
def test_live_bytes_are_those_of_real_training(name: str) -> None:
    steps = train_for_real(NETS[name](), (torch.randn(ROWS),), partial(torch.optim.AdamW, foreach=True))
    profile = archprof.profile(NETS[name](), ROWS, train=True, optimizer="adamw")
    profile.check()
    assert [live_bytes(profile, "first"), *[live_bytes(profile, "steady")] * 2] == steps
    assert compute_peak_bytes(profile) == max(steps[-1])


@pytest.mark.parametrize("name", NETS)
def test_live_bytes_are_those_of_real_inference(name: str) -> None:
    steps = infer_for_real(NETS[name]().eval())
    profile = archprof.profile(NETS[name](), ROWS)
    assert [live_bytes(profile, "first"), *[live_bytes(profile, "steady")] * 2] == steps
    assert compute_peak_bytes(profile) == max(steps[0])  # of one pass


def count_left(profile: archprof.Profile, steps: int = 4) -> list[int]:
    """Bytes that are there behind each step of a replay."""
    blocks, left = dict[int, int](), dict[int, int]()
    for change in list_changes(profile, Workspaces(), steps):
        if change.nbytes is None:
            blocks.pop(change.block, None)
        else:
            blocks[change.block] = change.nbytes
        left[change.step] = sum(blocks.values())
    return list(left.values())


@pytest.mark.parametrize("name", [*HELD, *MODULES])
def test_a_replay_holds_as_much_behind_every_step(name: str) -> None:
    """Weights, buffers, and in training two states of each weight and a number beside them, and what is held."""
    profile = archprof.profile(NETS[name](), ROWS)
    behind = count_left(profile)
    assert behind == [infer_left(NETS[name]().eval())] * 4
    assert len(set(count_left(archprof.profile(NETS[name](), ROWS, train=True, optimizer="adamw")))) == 1


def infer_left(model: nn.Module) -> int:
    """Bytes that a real forward leaves; its input and its output are gone."""
    counter, x = StorageCounter(), torch.randn(ROWS)
    list(map(counter.add, (*model.parameters(), *model.buffers())))  # no name holds one of them
    with torch.no_grad(), counter:
        counter.steps.append([])
        for _ in range(2):
            output = model(x)
            del output
    del x
    return counter.live


def test_what_is_made_once_is_there_from_then_on() -> None:
    def body(net: Any, x: Any) -> Any:
        if "table" not in net.cache:
            net.cache["table"] = torch.arange(8.0) * 2
        return x + net.cache["table"]

    first, later = train_for_real(Net(body), (torch.randn(ROWS),), partial(torch.optim.SGD, foreach=True), steps=2)
    profile = archprof.profile(Net(body), ROWS, train=True, optimizer="sgd")
    assert live_bytes(profile, "first") == first
    steady = live_bytes(profile, "steady")
    names = [op.name for op in profile.ops if op.phase != "optimizer" and op.name != "aten.detach"]
    made = names.index("aten.arange")
    assert steady[made + 2 : len(later) + 2] == later[made:]  # two ops less: the range, and twice of it


def test_what_goes_as_flags_are_set_is_held() -> None:
    """8 weights, 4 x 8 rows in, as many out, and 8 of the table that the first forward made."""
    profile = archprof.profile(Biased(), ROWS)
    assert live_bytes(profile, "steady")[-1] == 4 * (8 + 32 + 32 + 8)


def test_what_is_never_let_go_is_said_to_grow() -> None:
    def body(net: Any, x: Any) -> Any:
        net.items.append(x.detach() * 2)
        return x

    first, later, third = train_for_real(Net(body), (torch.randn(ROWS),), partial(torch.optim.SGD, foreach=True))
    profile = archprof.profile(Net(body), ROWS, train=True, optimizer="sgd")
    assert [live_bytes(profile, "first"), live_bytes(profile, "steady")] == [first, later]
    assert [b - a for a, b in zip(later, third, strict=True)] == [4 * 4 * 8] * len(later)
    assert any("holds 128 B more after each pass" in note for note in profile.notes)
    behind = count_left(profile)
    assert [b - a for a, b in pairwise(behind)] == [128] * 3


def test_a_second_pass_that_differs_or_fails() -> None:
    """What is held is then taken to go as the next one is made; the counts are those of the first pass."""

    def once(net: Any, x: Any) -> Any:
        if net.last is not None:
            raise RuntimeError
        net.last = x.detach() * 2
        return x

    for body, adds in ((once, 0), (used_later, 1)):
        profile = archprof.profile(Net(body), ROWS)
        profile.check()
        (made,) = [one for one in profile.storages if one.lasts]
        (before,) = [one for one in profile.storages if one.role == "carried"]
        assert profile.failure is None
        assert before == (128, "float32", "carried", None, made.born, False, False)
        assert [op.name for op in profile.ops].count("aten.add") == adds


def test_what_others_hold_is_not_written_to_again() -> None:
    net = nn.Sequential(nn.Linear(8, 8), nn.ReLU())

    class Watcher:
        def __call__(self, module: Any, inputs: Any, output: Any) -> None:
            LISTED.append(output)

    net[0].register_forward_hook(Watcher())
    LISTED.clear()
    archprof.profile(net, ROWS)
    assert len(LISTED) == 1


LISTED: list[Any] = []


def test_held_storages_are_saved_and_read_again(tmp_path: Any) -> None:
    for name, body in HELD.items():
        profile = archprof.profile(Net(body), ROWS, train=True, optimizer="sgd")
        profile.save(tmp_path / f"{name}.json")
        assert archprof.load(tmp_path / f"{name}.json").storages == profile.storages
    plain = archprof.profile("lenet5")
    assert '"saved"]' in plain.to_json()  # the column is written where something lasts


def test_adagrad_has_a_state_of_frozen_weights() -> None:
    def make() -> nn.Module:
        net = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8))
        net[0].weight.requires_grad_(False)
        return net

    steps = train_for_real(make(), (torch.randn(ROWS),), partial(torch.optim.Adagrad, foreach=True))
    profile = archprof.profile(make(), ROWS, train=True, optimizer="adagrad")
    assert [live_bytes(profile, "first"), *[live_bytes(profile, "steady")] * 2] == steps
