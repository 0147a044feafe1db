"""The stand-in has the model's structure and other tensors."""

from __future__ import annotations

import collections
import dataclasses
import enum
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from archprof.torchside.stand_in import MAX_KEPT_ELEMENTS, make_stand_in


def holding(**members: Any) -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    for name, member in members.items():
        setattr(model, name, member)
    return model


def test_the_same_names_shapes_strides_dtypes_and_flags() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last), nn.BatchNorm2d(4).eval()).half()
    model[0].bias.requires_grad_(False)
    copy = make_stand_in(model)
    assert list(copy.state_dict()) == list(model.state_dict())
    for mine, theirs in zip(copy.parameters(), model.parameters(), strict=True):
        assert (mine.shape, mine.stride(), mine.dtype, mine.requires_grad, type(mine)) == (
            theirs.shape, theirs.stride(), theirs.dtype, theirs.requires_grad, type(theirs)
        )  # fmt: skip
        assert mine.is_meta
    assert [module.training for module in copy.modules()] == [module.training for module in model.modules()]


def test_ties_stay_ties() -> None:
    shared = nn.Linear(4, 4)
    model = nn.ModuleDict({"a": shared, "b": nn.Sequential(shared), "c": nn.Linear(4, 4)})
    model["c"].weight = shared.weight
    model.also = [shared.weight, shared]
    copy = make_stand_in(model)
    assert copy["a"] is copy["b"][0] is copy.also[1]
    assert copy["c"].weight is copy["a"].weight is copy.also[0]
    assert sum(p.numel() for p in copy.parameters()) == sum(p.numel() for p in model.parameters())


def test_small_integers_keep_their_values_on_meta() -> None:
    copy = make_stand_in(
        holding(small=torch.arange(5), large=torch.zeros(MAX_KEPT_ELEMENTS + 1, dtype=torch.bool), float=torch.ones(2))
    )
    assert copy.small.tolist() == [0, 1, 2, 3, 4]
    assert copy.large.is_meta
    assert copy.float.is_meta


@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_dtype_is_of_floating_tensors_only(device: str) -> None:
    model = holding(
        ids=torch.arange(3), plain=torch.ones(3, dtype=torch.float64), wave=torch.ones(2).to(torch.complex64)
    )
    copy = make_stand_in(model, device=device, dtype=torch.bfloat16)
    assert {p.dtype for p in copy.parameters()} == {torch.bfloat16}
    assert (copy.ids.dtype, copy.plain.dtype, copy.wave.dtype) == (torch.int64, torch.bfloat16, torch.complex64)
    assert copy[1].num_batches_tracked.dtype == torch.int64


def test_on_the_cpu_values_are_copied() -> None:
    model = holding(plain=torch.randn(3))
    copy = make_stand_in(model, device="cpu")
    for name, tensor in copy.state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name])
    with torch.no_grad():
        copy[0].weight.zero_()
        copy.plain.zero_()
    assert model[0].weight.any()
    assert model.plain.any()


@dataclasses.dataclass(slots=True)
class Slotted:
    tensor: torch.Tensor


class Colour(enum.Enum):
    RED = 1


class Config(dict):  # type: ignore[type-arg]
    """A dict by attribute, as configurations are."""

    __getattr__ = dict.__getitem__


class Plain:
    def __init__(self, **members: Any) -> None:
        self.__dict__.update(members)


class Closes:
    closed: list[str]

    def __init__(self, log: list[str]) -> None:
        self.log = log

    def __del__(self) -> None:
        self.log.append("closed")


def test_objects_of_unknown_classes() -> None:
    lock = threading.Lock()
    model = holding(
        config=Config(width=3, nested=Config(x=[1])), count=collections.defaultdict(list, a=[1]), colour=Colour.RED,
        queue=collections.deque([1]), slotted=Slotted(torch.ones(2)), lock=lock, range=range(3), size=torch.Size([1]),
    )  # fmt: skip
    model.plain = Plain(lock=lock, weight=model[0].weight, layer=model[0], items=[1])
    model.plain.self, model.again = model.plain, model.plain
    copy = make_stand_in(model)
    assert copy.config.nested.x == [1]
    assert copy.config.nested.x is not model.config.nested.x
    assert (copy.colour, copy.range, copy.size) == (Colour.RED, range(3), torch.Size([1]))
    assert copy.count == {"a": [1]}
    assert copy.count["new"] == []
    assert "new" not in model.count
    assert copy.queue is not model.queue
    assert copy.slotted.tensor is not model.slotted.tensor
    assert copy.lock is copy.plain.lock is lock
    assert copy.plain is copy.again is copy.plain.self is not model.plain
    assert copy.plain.weight is copy[0].weight
    assert copy.plain.layer is copy[0]
    assert copy.plain.items == [1]
    assert copy.plain.items is not model.plain.items


def test_an_object_that_cannot_be_copied_leaves_no_half_made_copies() -> None:
    inner = Slotted(torch.ones(2))
    stubborn = collections.deque([inner, threading.Lock()])
    model = holding(first=stubborn, second=stubborn, inner=inner)
    copy = make_stand_in(model)
    assert copy.first is copy.second is stubborn
    assert copy.inner.tensor.shape == (2,)


def test_the_end_of_the_twin_closes_nothing() -> None:
    log: list[str] = []
    resource = Closes(log)
    make_stand_in(holding(resource=resource))
    assert log == []


def test_functions_close_over_the_twin() -> None:
    model = holding()
    kept: list[Any] = []
    model.plain_function = nn.functional.max_pool2d
    model.by_closure = lambda: (model[0], kept)
    model.by_default = lambda layer=model[0], *, keyword=kept: (layer, keyword)

    def recursive(depth: int) -> Any:
        return recursive(depth - 1) if depth else model[0]

    model.recursive = recursive
    copy = make_stand_in(model)
    assert copy.plain_function is nn.functional.max_pool2d
    assert copy.by_closure()[0] is copy.by_default()[0] is copy.recursive(2) is copy[0]
    assert copy.by_closure()[1] is copy.by_default()[1] is not kept
    assert model.by_closure() == (model[0], kept)


def test_references_and_methods_point_into_the_twin() -> None:
    model = holding()
    model.near, model.call, model.table = weakref.ref(model[0]), model[0].forward, {model[0]: 1}
    model.gone = weakref.ref(Plain())
    copy = make_stand_in(model)
    assert copy.near() is copy.call.__self__ is next(iter(copy.table)) is copy[0]
    assert copy.gone() is None


def wrapped_twice(layer: nn.Module) -> nn.Module:
    return nn.Sequential(nn.DataParallel(torch.compile(layer)))


@pytest.mark.parametrize("wrap", [nn.DataParallel, torch.compile, wrapped_twice])
def test_wrappers_give_way_to_what_they_wrap(wrap: Callable[[nn.Module], nn.Module]) -> None:
    layer = nn.Linear(4, 4)
    copy = make_stand_in(wrap(layer))
    assert [type(module) for module in copy.modules() if type(module) is not nn.Sequential] == [nn.Linear]
    assert copy(torch.zeros(1, 4, device="meta")).shape == (1, 4)


def test_uninitialised_parameters_stay_so() -> None:
    model = nn.Sequential(nn.LazyLinear(3))
    copy = make_stand_in(model)
    assert nn.parameter.is_lazy(copy[0].weight)
    copy(torch.zeros(2, 5, device="meta"))
    assert copy[0].weight.shape == (3, 5)
    assert nn.parameter.is_lazy(model[0].weight)


def test_a_model_on_meta_becomes_zeros_on_the_cpu() -> None:
    with torch.device("meta"):
        model = nn.Linear(3, 3)
    assert not make_stand_in(model, device="cpu").weight.any()


def test_torchscript_keeps_its_code() -> None:
    model = nn.Sequential(torch.jit.script(nn.Sequential(nn.Linear(4, 4), nn.ReLU())), nn.Linear(4, 4))
    copy = make_stand_in(model)
    assert isinstance(copy[0], torch.jit.ScriptModule)
    assert copy(torch.zeros(2, 4, device="meta")).is_meta
    assert [p.requires_grad for p in copy.parameters()] == [True] * 4
    assert not any(p.is_meta for p in model.parameters())
