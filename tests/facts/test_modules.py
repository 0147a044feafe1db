"""The modules and parameters of a profile against what torch itself says of the model."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import archprof
from archprof.facts.records import Profile


class Tied(nn.Module):
    """An embedding whose weight is the head's, a norm in two places, a list of parts, and one that is never called."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(11, 6), nn.Linear(6, 11, bias=False)
        self.head.weight = self.embed.weight
        self.norm = nn.BatchNorm1d(6)
        self.parts = nn.ModuleList([nn.Sequential(nn.Linear(6, 6), self.norm), nn.Linear(6, 6)])
        self.parts[1].weight.requires_grad_(False)
        self.spare = nn.Linear(3, 3)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.embed(ids))
        for part in self.parts:
            x = part(x)
        return self.head(x)


MODEL = Tied()


@pytest.fixture(scope="module")
def profile() -> Profile:
    traced = archprof.profile(MODEL, torch.zeros(4, dtype=torch.int64))
    traced.check()
    return traced


def test_modules_are_those_of_named_modules(profile: Profile) -> None:
    assert [(one.name, one.kind) for one in profile.modules] == [
        (path, type(module).__name__) for path, module in MODEL.named_modules()
    ]
    every_place = {path for path, _ in MODEL.named_modules(remove_duplicate=False)}
    assert {path for one in profile.modules for path in (one.path, *one.aliases)} == every_place


def test_a_module_knows_who_holds_it(profile: Profile) -> None:
    for module in profile.modules[1:]:
        assert module.parent is not None
        held = dict(MODEL.get_submodule(profile.modules[module.parent].path).named_children())
        assert held[module.path.rpartition(".")[2]] is MODEL.get_submodule(module.path)
    assert [one.path for one in profile.modules if one.is_container] == ["", "parts", "parts.0"]


def test_parameters_are_those_of_state_dict_each_once(profile: Profile) -> None:
    state, names = MODEL.state_dict(), [one.name for one in profile.parameters]
    assert {name for one in profile.parameters for name in (one.name, *one.aliases)} == set(state)
    assert len(names) == len({id(MODEL.get_parameter(n) if n in dict(MODEL.named_parameters()) else n) for n in names})
    for one in profile.parameters:
        tensor = state[one.name]
        assert (one.spec.shape, one.nbytes) == (tuple(tensor.shape), tensor.nbytes)
        assert profile.storages[one.storage].role == one.role
        assert one.name.startswith(profile.modules[one.module].path)
    assert {one.name for one in profile.parameters if one.role == "buffer"} == {n for n, _ in MODEL.named_buffers()}
    assert [one.name for one in profile.parameters if one.role == "parameter" and not one.trainable] == [
        "parts.1.weight"
    ]
    tied = next(one for one in profile.parameters if one.name == "embed.weight")
    assert tied.aliases == ("head.weight",)


def test_rows_follow_from_calls_and_modules(profile: Profile) -> None:
    """norm is called twice, once by the model and once by parts.0; spare never, so it stands at the model's end."""
    assert [(row.path, row.call, row.depth, row.params) for row in profile.layers] == [
        ("", 0, 0, 0), ("embed", 0, 1, 66), ("norm", 0, 1, 12), ("parts.0", 0, 1, 0), ("parts.0.0", 0, 2, 42),
        ("norm", 1, 2, 0), ("parts.1", 0, 1, 42), ("head", 0, 1, 0), ("spare", None, 1, 12),
    ]  # fmt: skip
    assert [row.parent for row in profile.layers] == [None, 0, 0, 0, 3, 3, 0, 0, 0]
    assert [profile.layers[row].call_index for row in profile.call_rows] == list(range(len(profile.calls)))
    assert profile.totals.params == sum(tensor.numel() for tensor in MODEL.parameters())


def test_a_lazy_parameter_has_the_shape_that_it_got() -> None:
    profile = archprof.profile(nn.Sequential(nn.LazyLinear(5), nn.ReLU()), (2, 3))
    profile.check()
    assert [(one.name, one.spec.shape) for one in profile.parameters] == [("0.weight", (5, 3)), ("0.bias", (5,))]
    *_, product, _ = profile.ops
    assert [profile.tensors[i].spec.shape for i in product.inputs] == [(5,), (2, 3), (3, 5)]  # 5 + 6 + 15 floats
    assert (product.name, product.signature.bytes_read) == ("aten.addmm", 4 * 26)
    assert profile.unread_parameters == ()
