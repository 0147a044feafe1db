"""Rows: one a call, each with its own work; oracles are torch's counter and numbers worked by hand."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torchvision
from torch import nn

import archprof
from archprof.facts import store
from archprof.facts.records import Profile
from archprof.tracing.oracles import torch_macs


class Forward(nn.Module):
    """A module whose forward is the given function of it and its inputs."""

    def __init__(self, forward: Callable[..., Any], **members: Any) -> None:
        super().__init__()
        self.body = forward
        for name, member in members.items():
            setattr(self, name, member)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.body(self, *args, **kwargs)


def profiled(model: Any, inputs: Any = None, **options: Any) -> Profile:
    profile = archprof.profile(model, inputs, **options)
    profile.check()
    return profile


def rows(profile: Profile) -> list[tuple[str, int | None, int]]:
    """Path, call number and own MACs of each row."""
    return [(row.path, row.call, cost.macs) for row, cost in zip(profile.layers, profile.costs, strict=True)]


def linear() -> nn.Linear:
    return nn.Linear(4, 4)


X = torch.ones(2, 4)
ONE = 2 * 4 * 4
"""MACs of one of these Linears on X."""


def test_one_row_a_call_and_the_work_of_each_is_its_own() -> None:
    block = Forward(lambda m, x: x + m.b(torch.relu(m.a(x))), a=linear(), b=linear())
    profile = profiled(nn.Sequential(block, linear()), X)
    assert rows(profile) == [("", 0, 0), ("0", 0, 0), ("0.a", 0, ONE), ("0.b", 0, ONE), ("1", 0, ONE)]
    assert [layer.depth for layer in profile.layers] == [0, 1, 2, 2, 1]
    assert profile.costs[1].flops == 8 + 8  # the relu and the residual add
    assert profile.costs[1].activation_elements == 8 + 8
    assert profile.layers[1].inputs == profile.layers[1].outputs
    assert profile.layers[1].inputs[0].shape == (2, 4)


def test_a_reused_module_has_a_row_for_each_call_and_its_params_once() -> None:
    profile = profiled(Forward(lambda m, x: m.a(m.a(m.a(x))), a=linear()), X)
    assert rows(profile) == [("", 0, 0), ("a", 0, ONE), ("a", 1, ONE), ("a", 2, ONE)]
    assert [layer.params for layer in profile.layers] == [0, 20, 0, 0]


def test_a_module_under_two_names_has_the_first() -> None:
    shared = linear()
    profile = profiled(Forward(lambda m, x: m.second(m.first(x)), first=shared, second=shared), X)
    assert rows(profile) == [("", 0, 0), ("first", 0, ONE), ("first", 1, ONE)]
    assert profile.totals.params == 20


def test_uncalled_modules_are_rows_at_the_end_of_their_parent() -> None:
    class Parts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.heads = linear(), nn.ModuleList([linear(), nn.Sequential(linear())])

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.used(x)

    profile = profiled(nn.Sequential(Parts(), linear()), X)
    assert [row[:2] for row in rows(profile)] == [
        ("", 0), ("0", 0), ("0.used", 0), ("0.heads.0", None), ("0.heads.1.0", None), ("1", 0)
    ]  # fmt: skip
    assert profile.totals.params == 80


def test_the_uncalled_projection_of_vit() -> None:
    profile = profiled("torchvision:vit_b_16")
    projections = [layer for layer in profile.layers if layer.path.endswith("out_proj")]
    assert sum(layer.params for layer in projections) == 12 * (768 * 768 + 768) == 7_087_104
    assert {layer.call for layer in projections} == {None}
    assert profile.totals.params == 86_567_656


def test_containers() -> None:
    class Many(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.by_name = nn.ModuleDict({"a": nn.ModuleList([linear(), nn.ModuleList([linear()])])})

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            first, second = self.by_name["a"]
            return second[0](first(x))

    profile = profiled(Many(), X)
    assert rows(profile) == [("", 0, 0), ("by_name.a.0", 0, ONE), ("by_name.a.1.0", 0, ONE)]


def test_functional_work_belongs_to_the_module_whose_forward_does_it() -> None:
    inner = Forward(lambda m, x: nn.functional.linear(x, m.weight) @ m.weight, weight=nn.Parameter(torch.zeros(4, 4)))
    assert rows(profiled(nn.Sequential(inner), X)) == [("", 0, 0), ("0", 0, 2 * ONE)]


def test_forward_called_directly_is_work_of_the_caller() -> None:
    profile = profiled(Forward(lambda m, x: m.a.forward(x) + m.b(x), a=linear(), b=linear()), X)
    assert rows(profile) == [("", 0, ONE), ("b", 0, ONE), ("a", None, 0)]
    assert profile.totals.params == 40


def test_a_model_with_its_own_call() -> None:
    class Direct(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = linear()

        def __call__(self, x: torch.Tensor) -> torch.Tensor:
            return self.a(x) + 1

    assert rows(profiled(Direct(), X)) == [("", 0, 0), ("a", 0, ONE)]


def test_recursion() -> None:
    class Tree(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = linear()

        def forward(self, x: torch.Tensor, depth: int = 2) -> torch.Tensor:
            x = self.a(x)
            return self(x, depth - 1) + 1 if depth else x

    profile = profiled(nn.Sequential(Tree(), linear()), X)
    assert [(layer.path, layer.depth, layer.call) for layer in profile.layers] == [
        ("", 0, 0), ("0", 1, 0), ("0.a", 2, 0), ("0", 2, 1), ("0.a", 3, 1), ("0", 3, 2), ("0.a", 4, 2), ("1", 1, 0)
    ]  # fmt: skip
    assert all(layer.outputs[0].shape == (2, 4) for layer in profile.layers)
    assert [cost.flops for cost in profile.costs][1::2] == [8, 8, 0, 2 * ONE + 8]


def test_modules_made_or_copied_in_forward_are_work_of_the_caller() -> None:
    made = Forward(lambda m, x: nn.Linear(4, 4)(x))
    copied = Forward(lambda m, x: copy.deepcopy(m.a)(m.a(x)), a=linear())
    assert rows(profiled(nn.Sequential(made, copied), X)) == [("", 0, 0), ("0", 0, ONE), ("1", 0, ONE), ("1.a", 0, ONE)]


def boom(*_: Any) -> None:
    raise ValueError("on purpose")


def test_an_exception_that_the_model_catches_leaves_the_rows_in_order() -> None:
    def forward(m: Any, x: torch.Tensor) -> torch.Tensor:
        try:
            m.fails(x)
        except ValueError:
            x = x + 1
        return m.b(x)

    fails = nn.Sequential(linear(), Forward(boom))
    profile = profiled(Forward(forward, fails=fails, b=linear()), X)
    assert [(layer.path, layer.depth) for layer in profile.layers] == [
        ("", 0), ("fails", 1), ("fails.0", 2), ("fails.1", 2), ("b", 1)
    ]  # fmt: skip
    assert profile.failure is None
    assert profile.costs[0].flops == 8


@pytest.mark.parametrize("train", [False, True])
def test_a_failure_shows_the_rows_up_to_it(train: bool) -> None:
    model = nn.Sequential(linear(), nn.Sequential(nn.ReLU(), nn.Linear(5, 3)), linear())
    with pytest.raises(archprof.TraceError) as caught:
        archprof.profile(model, X, train=train)
    profile = caught.value.profile
    profile.check()
    assert [layer.path for layer in profile.layers] == ["", "0", "1", "1.0", "1.1", "2"]
    assert profile.layers[-1].call is None  # what it did not reach owns its parameters all the same
    assert profile.failure.call == 4
    assert profile.failure.error == "RuntimeError"
    assert profile.totals.macs == ONE
    assert not profile.totals.complete
    assert all(part in str(caught.value) for part in ("1.1", "Linear", "2x4"))
    assert store.from_json(profile.to_json()) == profile


def test_an_error_raised_again_on_its_way_out_keeps_its_place() -> None:
    def forward(m: Any, x: torch.Tensor) -> None:
        try:
            m.inner(x)
        except ValueError:
            raise

    with pytest.raises(archprof.TraceError) as caught:
        archprof.profile(nn.Sequential(Forward(forward, inner=Forward(boom))), X)
    profile = caught.value.profile
    assert profile.layers[profile.stopped_row].path == "0.inner"


def test_a_call_with_the_wrong_arguments_fails_in_the_model_itself() -> None:
    with pytest.raises(archprof.TraceError, match="the model itself") as caught:
        archprof.profile(linear(), (X, X))
    assert [layer.path for layer in caught.value.profile.layers] == [""]


VALUES = {
    "item": lambda m, x: m.a(x) * x.sum().item(),
    "branch": lambda m, x: m.a(x) if x.sum() > -1e9 else m.a(m.a(x)),
    "nonzero": lambda m, x: m.a(x.index_select(0, torch.nonzero(x.abs().sum(1) > 0).flatten())),
    "boolean index": lambda m, x: m.a(x[x.abs().sum(1) > 0]),
    "tolist": lambda m, x: (m.a(x), x.tolist())[0],
    "numpy": lambda m, x: m.a(torch.from_numpy(x.numpy() * 2)),
    "int": lambda m, x: m.a(x)[: int(x.abs().max() > 0)],
    "written into a new tensor": lambda m, x: m.a(torch.zeros(2, 4).copy_(x)),
    "unique": lambda m, x: (m.a(x), torch.unique(x))[0],
}


def test_a_tensor_without_values_may_be_moved() -> None:
    """Code that follows the device of its token ids, say: what it moves is counted, and stays where it is."""

    class Moves(nn.Linear):
        def forward(self, x: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
            return super().forward(x.to(ids.device)) if ids.all() else x

    profile = archprof.profile(Moves(4, 3), (torch.zeros(2, 4), torch.ones(2, dtype=torch.int64)))
    assert profile.ran.device == "meta"
    assert profile.totals.macs == 2 * 3 * 4
    moved = Forward(lambda m, x: m.a(x.cpu()), a=nn.Linear(4, 3))
    assert archprof.profile(moved, (2, 4)).ran.device == "meta"


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("kind", VALUES)
def test_what_needs_values_runs_on_the_cpu_and_says_so(kind: str, train: bool) -> None:
    model = Forward(VALUES[kind], a=linear())
    before = copy.deepcopy(model.state_dict())
    profile = profiled(model, X, train=train)
    assert rows(profile) == [("", 0, 0), ("a", 0, ONE)]
    assert profile.ran.device == "cpu"
    assert any("on the CPU" in note for note in profile.notes)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_the_fallback_uses_the_models_own_weights() -> None:
    def forward(m: Any, x: torch.Tensor) -> torch.Tensor:
        return m.a(x) if m.a.weight.sum().item() == 48 else m.a(m.a(x))

    model = Forward(forward, a=linear())
    nn.init.constant_(model.a.weight, 3.0)
    assert rows(profiled(model, X)) == [("", 0, 0), ("a", 0, ONE)]


def test_rows_of_the_fallback_are_those_of_meta() -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.MaxPool2d(2),
        nn.Flatten(2), nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), nn.LSTM(16, 4, batch_first=True),
    )  # fmt: skip
    meta = profiled(Forward(lambda m, x: m.net(x), net=net), torch.zeros(2, 3, 8, 8))
    real = profiled(Forward(lambda m, x: (m.net(x), x.sum().item())[0], net=net), torch.zeros(2, 3, 8, 8))
    assert (meta.ran.device, real.ran.device) == ("meta", "cpu")
    assert real.layers[1:] == meta.layers[1:]
    assert real.costs[1:] == meta.costs[1:]
    assert [op.name for op in real.ops if op.call] == [op.name for op in meta.ops if op.call]


def test_tokens_and_masks_are_read_on_meta() -> None:
    def forward(m: Any, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        x = m.embed(ids + torch.arange(ids.shape[1]))
        return m.a(x if mask.all() else x.masked_fill(mask[..., None] == 0, 0.0))

    inputs = {"ids": torch.zeros(2, 5, dtype=torch.int64), "mask": torch.ones(2, 5, dtype=torch.int64)}
    profile = profiled(Forward(forward, embed=nn.Embedding(9, 4), a=linear()), inputs)
    assert (profile.ran.device, profile.notes) == ("meta", ())
    assert profile.totals.macs == 10 * 16


@pytest.mark.parametrize("train", [False, True])
def test_two_profiles_are_equal_also_through_json(train: bool) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(), nn.Flatten(), nn.LazyLinear(3))
    first, second = (profiled(model, torch.zeros(2, 3, 8, 8), train=train) for _ in range(2))
    assert first == second == store.from_json(first.to_json())


ZOO = (
    "alexnet", "squeezenet1_1", "vgg11_bn", "resnet18", "resnext50_32x4d", "densenet121", "mobilenet_v3_small",
    "shufflenet_v2_x0_5", "efficientnet_b0", "mnasnet0_5", "mobilenet_v2", "googlenet", "convnext_tiny", "swin_t",
    "vit_b_16", "maxvit_t",
)  # fmt: skip


@pytest.mark.parametrize("name", ZOO)
def test_the_rows_of_a_real_model_sum_to_torchs_count(name: str) -> None:
    with torch.device("meta"):
        model = torchvision.models.get_model(name, weights=None).eval()
    profile = profiled(model, (1, 3, 224, 224))
    assert sum(cost.macs for cost in profile.costs) == torch_macs(model, (torch.zeros(1, 3, 224, 224),))
    assert profile.totals.params == sum(p.numel() for p in model.parameters())
    assert profile.totals.buffers == sum(b.numel() for b in model.buffers())
    assert profile.totals.complete
    named = dict(model.named_modules())
    assert {layer.path for layer in profile.layers if layer.call is not None} <= named.keys()
    assert all(layer.kind == type(named[layer.path]).__name__ for layer in profile.layers)


def test_outputs_of_every_kind() -> None:
    @dataclasses.dataclass
    class Result:
        a: torch.Tensor
        rest: list[Any]

    profile = profiled(Forward(lambda m, x: {"r": Result(x + 1, [None, x[0], "s"]), "t": (x.sum(),)}), X)
    assert [spec.shape for spec in profile.layers[0].outputs] == [(2, 4), (4,), ()]


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
def test_memory_is_of_the_dtype_of_the_pass(dtype: str) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
    size = 8 if dtype == "float64" else 2
    for profile in (
        profiled(model, (1, 3, 8, 8), dtype=dtype),
        profiled(copy.deepcopy(model).to(getattr(torch, dtype)), (1, 3, 8, 8)),
    ):
        assert profile.dtype == dtype
        assert profile.layers[0].outputs[0].dtype == dtype
        assert profile.totals.activation_bytes[dtype] == 3 * 4 * 64 * size
        assert profile.totals.activation_bytes["float32"] == 3 * 4 * 64 * 4
        assert profile.totals.param_bytes == profile.totals.params * size
    assert model[0].weight.dtype == torch.float32


def test_integers_do_not_halve_in_half_precision() -> None:
    profile = profiled(Forward(lambda m, x: (x.argmax(1), x + 1)), X)
    assert profile.totals.activation_bytes == {
        "float32": 2 * 8 + 8 * 4,
        "float16": 2 * 8 + 8 * 2,
        "bfloat16": 2 * 8 + 8 * 2,
    }


def test_what_no_rule_covers_is_listed_and_makes_the_total_a_lower_bound() -> None:
    library = torch.library.Library("archprof_test", "DEF")
    library.define("mystery(Tensor x) -> Tensor")
    library.impl("mystery", lambda x: torch.empty_like(x), "Meta")
    profile = profiled(nn.Sequential(linear(), Forward(lambda m, x: torch.ops.archprof_test.mystery(x))), X)
    assert store.unknown_ops(profile) == [
        {"op": "archprof_test.mystery", "path": "1", "phase": "forward", "output_shapes": [(2, 4)]}
    ]
    assert (profile.totals.complete, profile.totals.macs) == (False, ONE)


def test_markers_of_a_profiler_are_no_work() -> None:
    def forward(m: Any, x: torch.Tensor) -> torch.Tensor:
        with torch.profiler.record_function("here"):
            return m.a(x)

    profile = profiled(Forward(forward, a=linear()), X)
    assert profile.totals.complete
    assert {op.name for op in profile.ops} == {"aten.t", "aten.addmm"}


def test_lazy_layers_get_their_parameters() -> None:
    profile = profiled(nn.Sequential(nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d()), torch.zeros(1, 3, 8, 8))
    assert [layer.params for layer in profile.layers] == [0, 4 * 27 + 4, 8]
    assert [layer.kind for layer in profile.layers[1:]] == ["Conv2d", "BatchNorm2d"]
    assert sum(s.nbytes for s in profile.storages if s.role == "parameter") == profile.totals.param_bytes


def test_scripted_children_are_work_of_their_parent() -> None:
    profile = profiled(nn.Sequential(torch.jit.script(linear()), linear()), X)
    assert profile.totals.macs == 2 * ONE
    assert profile.totals.params == 40
