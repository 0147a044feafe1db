"""The time of compiled kernels, split over layers: on paper, on hand-made graphs, and once by torch's real compiler."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import builders
import pytest
import torch
from builders import name_rows
from fake_time import Time
from hypothesis import given
from hypothesis import strategies as st
from torch import fx, nn

import archprof
from archprof.facts.overlays import Outside
from archprof.facts.records import Layer, Profile
from archprof.facts.request import PassRequest
from archprof.measuring.compiled import inductor, kernel_border
from archprof.measuring.compiled.kernel_shares import (
    ATTRIBUTED_NOTE,
    KernelMarking,
    KernelWork,
    compute_shares,
    count_bytes_by_row,
    measure_border_cost,
)
from archprof.measuring.compiled.lowered_graph import KernelResult, LoweredKernel, OpOwners, find_ops_run
from archprof.measuring.live_model import LiveModel
from archprof.measuring.passes import EagerSource, RowSampler
from archprof.measuring.protocols import MeasuredWay, RowKey
from archprof.measuring.schedule import SamplingPlan
from archprof.measuring.to_latency import build_latency
from archprof.sources.resolve import resolve

CONV, NORM, RELU, FC = rows = [("conv", 0), ("norm", 0), ("relu", 0), ("fc", 0)]
MOVED = {CONV: 900, NORM: 40, RELU: 40, FC: 300}
"""Bytes that each layer moves in the counted pass: half of them read."""


def counted_pass() -> Profile:
    layers = [Layer("", "Net", 0, 0), *(Layer(path, path.title(), 1, call) for path, call in rows)]
    ops = [
        builders.make_op(path, 1 + index, "forward", (), (), 0, 0, nbytes // 2, nbytes // 2, "counted")
        for index, ((path, _), nbytes) in enumerate(MOVED.items())
    ]
    return builders.make_profile("net", (), 1, "forward", "float32", tuple(layers), tuple(ops), (), ())


PIECES = [
    KernelWork("convolution", "forward", {CONV: 500}),
    KernelWork("fused_norm_relu", "forward", {NORM: 160, RELU: 30, Outside.UNATTRIBUTED: 10}),
    KernelWork("fused_relu_fc", "forward", {RELU: 30, FC: 300}),
    KernelWork("copy", "forward", {Outside.UNATTRIBUTED: 0}),
]


class Ran:
    """A subject whose pass takes the time of its kernels, and some outside of them."""

    def __init__(self, time: Time, kernels: Mapping[int, float], *, train: bool = False) -> None:
        self.time, self.kernels, self.train = time, kernels, train

    def run_pass(self, begins: Callable[[Any, Any], None]) -> None:
        begins("forward", None)
        self.time.spend(0.25)  # guards
        for number, seconds in self.kernels.items():
            kernel_border.kernel_begins(number)
            self.time.spend(seconds)
        kernel_border.kernel_begins(kernel_border.GRAPH_END)
        self.time.spend(0.5)
        for stage in ("outside", "backward", "optimizer") if self.train else ():
            begins(stage, None)
            self.time.spend(1.0)
        begins("end", None)


def fused(kernels: Mapping[int, float], **options: bool) -> tuple[KernelMarking, Time]:
    time = Time()
    return KernelMarking(counted_pass(), PIECES, Ran(time, kernels, **options)), time  # type: ignore[arg-type]


def near(expected: Mapping[Any, float]) -> Any:
    return pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_a_kernel_is_split_by_the_bytes_of_its_layers() -> None:
    """The norm's 160 bytes of small ops are all in one kernel, so that its 40 counted bytes are; half of relu's are.

    40 and 20, and 10 of nobody, of 70. In the third kernel 20 of relu and all 300 of fc.
    """
    assert compute_shares(PIECES, count_bytes_by_row(counted_pass())) == [
        {CONV: 1.0},
        near({NORM: 40 / 70, RELU: 20 / 70, Outside.UNATTRIBUTED: 10 / 70}),
        near({RELU: 20 / 320, FC: 300 / 320}),
        {Outside.UNATTRIBUTED: 1.0},
    ]


def test_what_moves_nothing_has_no_part() -> None:
    views = [KernelWork("views", "forward", {NORM: 0, RELU: 0}), KernelWork("one", "forward", {NORM: 0})]
    assert compute_shares(views, {}) == [{Outside.UNATTRIBUTED: 1.0}, {NORM: 1.0}]
    assert compute_shares([KernelWork("both", "forward", {NORM: 0, RELU: 4})], {}) == [{RELU: 1.0}]


def test_the_bytes_are_those_of_the_phase() -> None:
    backward = KernelWork("backward", "backward", {NORM: 10, RELU: 10})
    nbytes = {(NORM, "forward"): 1, (RELU, "forward"): 7, (NORM, "backward"): 3, (RELU, "backward"): 1}
    assert compute_shares([backward._replace(phase="forward"), backward], nbytes) == [  # type: ignore[arg-type]
        near({NORM: 1 / 8, RELU: 7 / 8}),
        near({NORM: 3 / 4, RELU: 1 / 4}),
    ]


def test_kernels_with_known_times_become_rows() -> None:
    """8, 7, 3.2 and 1 s of kernels; 0.75 s are outside of them."""
    marking, time = fused({0: 8.0, 1: 7.0, 2: 3.2, 3: 1.0})
    sample = RowSampler(EagerSource(marking.subject, marking, time)).sample()
    assert sample == near({("", 0): 0.0, CONV: 8.0, NORM: 4.0, RELU: 2.2, FC: 3.0})
    assert marking.notes == [ATTRIBUTED_NOTE]
    assert time.now == near(0.75 + 19.2)  # type: ignore[arg-type]


def test_a_step_has_its_stages_beside_the_kernels() -> None:
    marking, time = fused({0: 8.0}, train=True)
    sample = RowSampler(EagerSource(marking.subject, marking, time)).sample()
    assert {
        row: sample[row]
        for row in (CONV, Outside.OUTSIDE_MODULES, Outside.GRADIENT_ACCUMULATION, Outside.OPTIMIZER_STEP)
    } == near(
        {CONV: 8.0, Outside.OUTSIDE_MODULES: 1.0, Outside.GRADIENT_ACCUMULATION: 1.0, Outside.OPTIMIZER_STEP: 1.0}
    )
    assert Outside.UNATTRIBUTED not in sample


def test_a_layer_without_a_kernel_is_named() -> None:
    marking = KernelMarking(counted_pass(), PIECES[:2], Ran(Time(), {}))  # type: ignore[arg-type]
    assert marking.notes[1].startswith("1 rows have ops that were found in no kernel, the first is fc")
    assert marking.knows_rows
    assert not KernelMarking(counted_pass(), PIECES[3:], Ran(Time(), {})).knows_rows  # type: ignore[arg-type]


def test_the_cost_of_a_border_is_that_of_a_mark() -> None:
    assert set(measure_border_cost(Time(cost=0.125)).values()) == {0.125}


def test_nobody_hears_a_border_outside() -> None:
    heard: list[int] = []
    with kernel_border.listening(heard.append):
        kernel_border.kernel_begins(3)
    kernel_border.kernel_begins(4)
    assert heard == [3]


MOVES = st.dictionaries(st.sampled_from([*rows, Outside.UNATTRIBUTED]), st.integers(0, 10**12), min_size=1)
SECONDS = st.integers(0, 2**40).map(lambda n: n / 2**20)


@given(st.lists(st.tuples(MOVES, SECONDS), max_size=8))
def test_no_second_is_lost_or_counted_twice(drawn: list[tuple[dict[RowKey, int], float]]) -> None:
    """The rows and the rest sum to the whole, and what has a row is no more than the kernels took."""
    time, pieces = Time(), [KernelWork("any", "forward", moved) for moved, _ in drawn]
    subject: Any = Ran(time, dict(enumerate(seconds for _, seconds in drawn)))
    marking = KernelMarking(counted_pass(), pieces, subject)
    sample = RowSampler(EagerSource(subject, marking, time)).sample()
    kernels = sum(seconds for _, seconds in drawn)
    assert min(sample.values()) >= 0
    assert sum(sample.values()) <= kernels * (1 + 1e-9)
    if not any(Outside.UNATTRIBUTED in share for share in marking.shares_by_kernel):
        assert sum(sample.values()) == pytest.approx(kernels)
    way = MeasuredWay("cpu", None, None, attributed=True, notes=marking.notes)  # type: ignore[arg-type]
    found = build_latency(way, [[{Outside.WHOLE: time.now}]], [[sample]], counted_pass(), SamplingPlan())
    assert found is not None
    assert found.attributed
    rest = sum(row.p50 for row in (*found.layers, *found.rest))
    assert rest == pytest.approx(found.whole.p50)


# The graph below is lowered to four calls: a copy of x, a library's convolution, a fused kernel, a library's product.


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.relu = nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU()
        self.fc = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.relu(self.norm(self.conv(x)))
        return self.fc(self.relu(x.mean((2, 3))))  # type: ignore[no-any-return]


def node(graph: fx.Graph, name: str, size: int, *args: fx.Node, target: Any = torch.add) -> fx.Node:
    made = graph.create_node("call_function", target, args, name=name)
    made.meta["val"] = torch.empty(size, device="meta", dtype=torch.uint8)
    return made


@pytest.fixture
def lowered() -> SimpleNamespace:
    """x (10 bytes) and w (5) -> conv (100) -> sub, mul (100 each) -> relu (100) -> view -> product (7)."""
    graph = fx.Graph()
    x, w = (graph.placeholder(name) for name in "xw")
    for one, size in ((x, 10), (w, 5)):
        one.meta["val"] = torch.empty(size, device="meta", dtype=torch.uint8)
    conv = node(graph, "conv", 100, x, w)
    sub = node(graph, "sub", 100, conv)
    mul = node(graph, "mul", 100, sub)
    relu = node(graph, "relu", 100, mul)
    view = node(graph, "view", 100, relu, target=torch.ops.aten.view.default)
    return SimpleNamespace(x=x, w=w, conv=conv, sub=sub, mul=mul, relu=relu, fc=node(graph, "fc", 7, view), view=view)


def test_a_kernel_runs_what_is_between_the_results_of_others(lowered: SimpleNamespace) -> None:
    """Inductor names conv for all of them: a union of everything that came before would charge it four times."""
    n = lowered
    copy = LoweredKernel("copy", False, [KernelResult(None, [n.conv], 5)])
    conv = LoweredKernel("conv", True, [KernelResult(n.conv, [n.conv], 100)])
    fused = LoweredKernel("fused", False, [KernelResult(n.relu, [n.relu, n.mul, n.sub, n.conv], 100)])
    fc = LoweredKernel("fc", True, [KernelResult(n.fc, [n.fc, n.view, n.relu, n.mul, n.sub], 7)])
    exact = {n.conv, n.relu, n.fc}
    assert find_ops_run(copy, exact) == {n.conv: 10}  # 5 bytes read, 5 written
    assert find_ops_run(conv, exact) == {n.conv: 115}
    assert find_ops_run(fused, exact) == {n.relu: 200, n.mul: 200, n.sub: 200}
    assert find_ops_run(fc, exact) == {n.fc: 107}


def test_a_result_of_no_op_is_of_the_last_named(lowered: SimpleNamespace) -> None:
    """The weights of conv are copied in the kernel that makes its input: that is work of conv."""
    n = lowered
    both = LoweredKernel("both", False, [KernelResult(None, [n.sub, n.conv], 6), KernelResult(n.conv, [n.conv], 100)])
    assert find_ops_run(both, {n.conv}) == {n.conv: 115, n.sub: 12}
    several = LoweredKernel("library", True, [KernelResult(None, [n.fc, n.view, n.relu], 0)])
    assert find_ops_run(several, set()) == {n.fc: 107}


def test_a_view_that_is_computed_in_moves_nothing(lowered: SimpleNamespace) -> None:
    n = lowered
    kernel = LoweredKernel("fused", False, [KernelResult(n.fc, [n.fc, n.view, n.relu], 7)])
    assert find_ops_run(kernel, {n.fc}) == {n.fc: 107, n.view: 0, n.relu: 200}


def owners(model: nn.Module) -> OpOwners:
    return OpOwners(model, archprof.profile(model, (1, 3, 8, 8)))


def noted(**meta: Any) -> fx.Node:
    made = node(fx.Graph(), "op", 1)
    made.meta |= meta
    return made


def test_an_op_is_of_the_innermost_module_that_torch_noted() -> None:
    model = Net()
    known, key = owners(model), {name: str(id(module)) for name, module in model.named_modules()}
    outer = {key[""]: ("L['self']", Net)}

    def row(**meta: Any) -> RowKey:
        return known.find_row(noted(**meta))

    assert row(nn_module_stack=outer | {key["conv"]: ("any name", nn.Conv2d)}) == ("conv", 0)
    assert row(fwd_nn_module_stack=outer | {key["norm"]: ("", nn.Module)}) == ("norm", 0)
    assert row(nn_module_stack=outer) == ("", 0)
    assert row(nn_module_stack=outer | {"12": ("of no layer", nn.Module)}) == ("", 0)
    assert row(nn_module_stack={"12": ("of no layer", nn.Module)}) == Outside.UNATTRIBUTED
    again = outer | {f"{key['relu']}@1": ("", nn.ReLU)}
    assert row(nn_module_stack=outer | {key["relu"]: ("", nn.ReLU)}) == ("relu", 0)
    assert row(nn_module_stack=again) == ("relu", 1)
    assert row(nn_module_stack=outer | {f"{key['relu']}@2": ("", nn.ReLU)}) == Outside.UNATTRIBUTED
    assert row(stack_trace="File net.py") == ("", 0)
    assert row(stack_trace="File net.py", is_gradient_acc=True) == Outside.GRADIENT_ACCUMULATION
    assert row() == Outside.UNATTRIBUTED


def test_calls_under_two_names_cannot_be_told_apart() -> None:
    model = Net()
    model.other = model.relu
    stack = {str(id(model.relu)): ("", nn.ReLU)}
    assert owners(model).find_row(noted(nn_module_stack=stack)) == Outside.UNATTRIBUTED


def test_a_kernel_that_runs_twice_is_nobodys(monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = inductor._Compiler(Net(), counted_pass())
    compiler._pieces = list(PIECES)
    assert compiler.list_pieces({0: 1, 1: 2, 2: 1})[1].moved_by_row == {Outside.UNATTRIBUTED: 0}
    assert [piece.moved_by_row for piece in compiler.list_pieces({0: 1})] == [piece.moved_by_row for piece in PIECES]


class Breaks(nn.Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        torch._dynamo.graph_break()
        return super().forward(x)


def marked(model: nn.Module) -> tuple[Any, list[str]]:
    subject = LiveModel(resolve(model, (2, 3)), PassRequest(dtype="float32"))
    subject.compiled = True
    return inductor.choose_marking(subject, archprof.profile(model, (2, 3)))


def test_of_parts_nobody_knows_which_modules_they_are_of() -> None:
    marking, (note,) = marked(nn.Sequential(nn.Linear(3, 3), Breaks(3, 3)))
    assert marking is None
    assert "no layer has a latency" in note
    assert "Unsupported" in note


def test_where_torch_is_not_as_expected_the_whole_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inductor, "PROVENANCE_HOOK", "a_name_that_is_gone")
    marking, (note,) = marked(nn.Sequential(nn.Linear(3, 3), nn.ReLU()))
    assert marking is None
    assert "a_name_that_is_gone" in note


def test_code_without_borders_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda model, **options: model)
    marking, (note,) = marked(nn.Sequential(nn.Linear(3, 3), nn.ReLU()))
    assert marking is None
    assert inductor.NO_KERNELS_WRITTEN in note


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch's compiler needs a C++ compiler")
def test_torch_compiles_and_every_layer_gets_its_part(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    from torch._inductor import config

    model, before = Net().eval(), config.get_config_copy()
    users, compiles = torch.compile(model, backend=lambda graph, _: compiles.append(graph) or graph.forward), []
    with torch.no_grad():
        users(torch.zeros(1, 3, 32, 32))
    profile = archprof.measure(model, (1, 3, 32, 32), compile=True, seconds=0.5, rounds=3)
    profile.check()
    assert profile.measurement is not None
    found = profile.measurement.latency
    assert found is not None, profile.measurement
    assert found.attributed, found.notes
    assert found.notes[0] == ATTRIBUTED_NOTE
    names = name_rows(profile)
    taken = {names[row.key]: row.p50 for row in found.layers}
    assert set(taken) == {("", 0), CONV, NORM, RELU, ("relu", 1), FC}
    assert all(seconds > 0 for seconds in taken.values()), taken
    # The convolution and the product are calls of a library; the norm and both relus are in what inductor wrote.
    assert taken[CONV] > taken["relu", 1]
    for whole, *parts in zip(*(row.medians for row in (found.whole, *found.layers, *found.rest)), strict=True):
        assert sum(parts) == pytest.approx(whole)
    # Nothing of the user's is other than before, and nobody else gets code with borders from a cache.
    assert config.get_config_copy() == before
    with torch.no_grad():
        users(torch.zeros(1, 3, 32, 32))
    assert len(compiles) == 1
    kept = [path for name in ("fxgraph", "aotautograd") for path in (tmp_path / name).rglob("*") if path.is_file()]
    assert kept
    assert not any(b"archprof_border" in path.read_bytes() for path in kept)
    assert replace(profile, overlays=()) == archprof.profile(model, (1, 3, 32, 32))
