"""Births and deaths of storages, against numbers worked by hand and torch's own memory tracker."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import archprof
from archprof.facts.records import Profile

MIB = 2**20


class Forward(nn.Module):
    """A module whose forward is the given function of it and its inputs."""

    def __init__(self, forward: Callable[..., Any], **members: Any) -> None:
        super().__init__()
        self.body = forward
        for name, member in members.items():
            setattr(self, name, member)

    def forward(self, *args: Any) -> Any:
        return self.body(self, *args)


def profiled(model: Any, inputs: Any = None, **options: Any) -> Profile:
    profile = archprof.profile(model, inputs, **options)
    profile.check()
    return profile


def lives(profile: Profile, role: str = "activation") -> list[tuple[str, int, str | None]]:
    """The op that made each storage, its elements, and the op after which it was gone."""
    names = [op.name.removeprefix("aten.") for op in profile.ops]
    return [
        ("" if s.born is None else names[s.born], s.nbytes // 4, None if s.died is None else names[s.died])
        for s in profile.storages
        if s.role == role
    ]


def peak(profile: Profile, block: int = 1, until: str = "backward") -> int:
    """Most bytes live at once, each storage rounded up to whole blocks; up to the first op of phase `until`.

    An op's results are there before its inputs are let go.
    """
    count = next((i for i, op in enumerate(profile.ops) if op.phase == until), len(profile.ops))
    change = [0] * (count + 1)
    live = 0
    for storage in profile.storages:
        size = -(-storage.nbytes // block) * block
        if storage.born is None:
            live += size
        elif storage.born < count:
            change[storage.born] += size
        else:
            continue
        if storage.died is not None and storage.died < count:
            change[storage.died + 1] -= size
    most = live
    for difference in change[:count]:
        live += difference
        most = max(most, live)
    return most


X = torch.zeros(2, 4)


def test_an_activation_dies_after_its_last_use() -> None:
    def forward(m: Any, x: torch.Tensor) -> torch.Tensor:
        a = x.exp()
        b = a.sin()
        del a
        c = b.cos()
        return b + c

    assert lives(profiled(Forward(forward), X)) == [
        ("exp", 8, "sin"),
        ("sin", 8, "add"),
        ("cos", 8, "add"),
        ("add", 8, None),
    ]


def test_a_chain_holds_two_at_a_time() -> None:
    """Sequential lets each result go when the next is there: 4 x 8 elements of input, then two maps."""
    profile = profiled(nn.Sequential(*[nn.Sigmoid() for _ in range(5)]), X)
    assert lives(profile) == [("sigmoid", 8, "sigmoid")] * 4 + [("sigmoid", 8, None)]
    assert peak(profile) == 4 * (8 + 2 * 8)


def test_views_and_in_place_ops_make_nothing() -> None:
    model = Forward(lambda m, x: x.clone().view(8)[2:].unsqueeze(0).add_(1).relu_().expand(3, 6).t())
    profile = profiled(model, X)
    assert lives(profile) == [("clone", 8, None)]
    assert profile.totals.activation_elements == 8
    views = [op for op in profile.ops if op.name.removeprefix("aten.") in ("view", "slice", "unsqueeze", "expand", "t")]
    assert {(op.signature.bytes_read, op.signature.bytes_written) for op in views} == {(0, 0)}


def test_what_was_there_before_stays() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    profile = profiled(model, X)
    before = {s.role: 0 for s in profile.storages if s.born is None}
    for storage in profile.storages:
        if storage.born is None:
            assert storage.died is None
            before[storage.role] += storage.nbytes
    assert before == {"input": 32, "parameter": 4 * (16 + 4 + 8), "buffer": 4 * 8 + 8}


def test_tied_parameters_are_one_storage() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = model[0].weight
    assert sum(s.nbytes for s in profiled(model, X).storages if s.role == "parameter") == 4 * (16 + 4 + 4)


def test_constants_that_a_module_holds() -> None:
    model = Forward(lambda m, x: x + m.table[0] + m.table[1], table=[torch.zeros(4), torch.zeros(1, device="meta")])
    assert lives(profiled(model, X), "constant") == [("", 4, None), ("", 1, None)]


def test_tensors_made_in_forward_are_activations() -> None:
    assert lives(profiled(Forward(lambda m, x: x + torch.ones(4)), X)) == [("ones", 4, "add"), ("add", 8, None)]


def test_further_results_are_auxiliary_unless_somebody_uses_them() -> None:
    image = torch.zeros(1, 2, 8, 8)
    unused = profiled(nn.MaxPool2d(2), image)
    assert lives(unused) == [("max_pool2d_with_indices", 32, None)]
    assert [s.dtype for s in unused.storages if s.role == "auxiliary"] == ["int64"]
    returned = profiled(nn.MaxPool2d(2, return_indices=True), image)
    assert len(lives(returned)) == 2
    read = profiled(Forward(lambda m, x: sum(torch.topk(x, 2))), X)
    assert [name for name, *_ in lives(read)] == ["topk", "topk", "add", "add"]


def saved(profile: Profile) -> list[tuple[str, str, int]]:
    """Role, maker and bytes of what autograd kept, parameters left out."""
    return [
        (s.role, "" if s.born is None else profile.ops[s.born].name.removeprefix("aten."), s.nbytes)
        for s in profile.storages
        if s.saved and s.role != "parameter"
    ]


IMAGE = torch.zeros(2, 3, 8, 8)
MAP = 4 * 2 * 4 * 8 * 8

SAVED: dict[str, tuple[list[nn.Module], list[tuple[str, str, int]]]] = {
    "a convolution its input": ([], [("input", "", 4 * 2 * 3 * 64)]),
    "a relu its output": ([nn.ReLU()], [("input", "", 1536), ("activation", "relu", MAP)]),
    "a relu in place its output": ([nn.ReLU(inplace=True)], [("input", "", 1536), ("activation", "convolution", MAP)]),
    "a sigmoid its output": ([nn.Sigmoid()], [("input", "", 1536), ("activation", "sigmoid", MAP)]),
    "a gelu its input": ([nn.GELU()], [("input", "", 1536), ("activation", "convolution", MAP)]),
    "a pool its input and indices": (
        [nn.MaxPool2d(2)],
        [
            ("input", "", 1536),
            ("activation", "convolution", MAP),
            ("auxiliary", "max_pool2d_with_indices", MAP // 4 * 2),
        ],
    ),
    "a batch norm its input and statistics": (
        [nn.BatchNorm2d(4)],
        [
            ("input", "", 1536),
            ("buffer", "", 16),
            ("buffer", "", 16),
            ("activation", "convolution", MAP),
            ("auxiliary", "native_batch_norm", 16),
            ("auxiliary", "native_batch_norm", 16),
        ],
    ),
    "an addition nothing": ([Forward(lambda m, x: x + 1)], [("input", "", 1536)]),
}


@pytest.mark.parametrize("kind", SAVED)
def test_what_autograd_keeps(kind: str) -> None:
    layers, expected = SAVED[kind]
    found = saved(profiled(nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), *layers), IMAGE, train=True))
    assert sorted(drop_kernel(found)) == sorted(expected)


def drop_kernel(found: list[tuple[str, str, int]]) -> list[tuple[str, str, int]]:
    """A batch norm is dispatched under a name of its backend."""
    return [(role, "native_batch_norm" if "batch_norm" in name else name, size) for role, name, size in found]


def test_without_training_nothing_is_kept() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    assert not any(s.saved for s in profiled(model, IMAGE).storages)


def test_roles_of_a_training_pass() -> None:
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.ReLU(), nn.Linear(4, 3))
    profile = profiled(model, X, train=True)
    assert sum(s.nbytes for s in profile.storages if s.role == "gradient") == profile.totals.param_bytes
    assert all(s.died is None for s in profile.storages if s.role == "gradient")
    after = {s.role for s in profile.storages if s.born is not None and profile.ops[s.born].phase == "backward"}
    assert after == {"gradient", "temporary"}
    assert profile.totals.activation_elements == 8 + 8 + 6


def test_kept_activations_die_in_the_backward_and_others_in_the_forward() -> None:
    profile = profiled(nn.Sequential(nn.Linear(4, 4), nn.Sigmoid(), Forward(lambda m, x: x.neg().neg())), X, train=True)
    phases = {
        profile.ops[s.born].name.removeprefix("aten."): None if s.died is None else profile.ops[s.died].phase
        for s in profile.storages
        if s.role == "activation"
    }
    assert phases["addmm"] == "forward"
    assert phases["sigmoid"] == "backward"


def test_the_peak_by_hand() -> None:
    """A block of width w on 8 x 8: the input, its branch of two maps and the sum; at the add three maps are live."""
    block = Forward(
        lambda m, x: x + m.b(torch.relu(m.a(x))), a=nn.Conv2d(4, 4, 3, padding=1), b=nn.Conv2d(4, 4, 3, padding=1)
    )
    size, params = 4 * 4 * 64, 2 * 4 * (4 * 36 + 4)
    profile = profiled(block, torch.zeros(1, 4, 8, 8))
    assert peak(profile) == params + 3 * size
    assert [died for _, _, died in lives(profile)] == ["relu", "convolution", "add", None]


def test_the_published_peaks_of_resnet50() -> None:
    """Batch 8, float32: 181.9 MiB at inference and 753.4 MiB in a training forward, by torch's `MemTracker`.

    Each storage is rounded up to blocks of 512 bytes, as the CUDA allocator does, and parameters are counted.
    """
    inference = profiled("torchvision:resnet50", (8, 3, 224, 224))
    assert peak(inference, 512) / MIB == pytest.approx(181.9, abs=0.06)
    training = profiled("torchvision:resnet50", (8, 3, 224, 224), train=True)
    assert peak(training, 512) / MIB == pytest.approx(753.4, abs=0.06)


def test_the_peak_agrees_with_torchs_tracker() -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.distributed._tools.mem_tracker import MemTracker

    def net() -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(True), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3), nn.ReLU(),
            nn.Flatten(), nn.Linear(16 * 13 * 13, 10),
        )  # fmt: skip

    with FakeTensorMode(), torch.no_grad():
        model, tracker = net().eval(), MemTracker()
        tracker.track_external(model)
        x = torch.empty(4, 3, 32, 32)
        tracker.track_external(x)
        with tracker:
            model(x)
        expected = tracker.get_tracker_snapshot("peak")[torch.device("cpu")]["Total"]
    statistics = 2 * 8 * 4  # of the batch norm: torch gives them on meta, and empty ones on a CPU or GPU
    assert peak(profiled(net(), (4, 3, 32, 32))) == expected + statistics
