"""Weights that are no `nn.Parameter`. Oracle: sizes by hand, and the net before it was packed, frozen or wrapped."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import nn

import archprof
from archprof.torchside.held_weights import count_tensor_bytes


def layer_of(model: nn.Module, inputs: Any, **options: Any) -> dict[str, tuple[int, int]]:
    profile = archprof.profile(model, inputs, **options)
    profile.check()
    return {layer.path: (layer.params, layer.param_bytes) for layer in profile.layers if layer.params}


@pytest.fixture(autouse=True)
def _quiet() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit and torch.ao are on their way out
        yield


def quantised(net: nn.Module, image: torch.Tensor) -> nn.Module:
    quantisation = torch.ao.quantization
    wrapped: Any = nn.Sequential(quantisation.QuantStub(), net, quantisation.DeQuantStub()).eval()
    wrapped.qconfig = quantisation.get_default_qconfig("x86")
    prepared = quantisation.prepare(wrapped)
    prepared(image)
    converted: nn.Module = quantisation.convert(prepared)
    return converted


needs_quantised_kernels = pytest.mark.skipif(
    "x86" not in torch.backends.quantized.supported_engines, reason="this torch has no quantised kernels of x86"
)


@needs_quantised_kernels
def test_packed_weights_count_with_their_scales() -> None:
    image = torch.rand(1, 3, 8, 8)
    found = layer_of(quantised(nn.Conv2d(3, 4, 3), image), image)
    scales = 4 * (8 + 8)  # a float64 and an int64 zero point for each channel
    assert found == {"1": (4 * 3 * 9 + 4, 4 * 3 * 9 + 4 * 4 + scales)}


@needs_quantised_kernels
def test_packed_weights_of_dynamic_layers() -> None:
    net = torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(6, 5)), dtype=torch.qint8)
    assert sum(params for params, _ in layer_of(net, (2, 6)).values()) == 6 * 5 + 5
    lstm = torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.LSTM(3, 4)), dtype=torch.qint8)
    assert sum(params for params, _ in layer_of(lstm, (5, 1, 3)).values()) == 16 * (3 + 4) + 2 * 16


@needs_quantised_kernels
def test_packed_rows_of_an_embedding() -> None:
    layer = torch.ao.nn.quantized.Embedding(10, 4)
    found = layer_of(layer, "int64[3]<10")
    assert sum(params for params, _ in found.values()) == 40


def test_constants_of_frozen_torchscript() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3)).eval()
    frozen = torch.jit.freeze(torch.jit.script(net))
    assert layer_of(frozen, (1, 3, 8, 8)) == {"": (112 + 148, 4 * (112 + 148))}
    assert layer_of(torch.jit.script(net), (1, 3, 8, 8)) == {"0": (112, 448), "2": (148, 592)}


class InLists(nn.Module):
    """A layer in a list, one in a dict in a list, a bare parameter in a tuple, and one that is never used."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.rest = [nn.Linear(4, 5), {"a": nn.Linear(5, 6)}]
        self.scale = (nn.Parameter(torch.ones(6)),)
        self.teacher = [nn.Linear(100, 100)]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor = self.rest[1]["a"](self.rest[0](self.first(x))) * self.scale[0]
        return made


@pytest.mark.parametrize("train", [False, True])
def test_layers_in_plain_lists_count_where_they_are_used(train: bool) -> None:
    expected = 4 * 4 + 4 + (4 * 5 + 5) + (5 * 6 + 6) + 6
    found = layer_of(InLists(), (2, 4), train=train)
    assert sum(params for params, _ in found.values()) == expected
    assert found["first"] == (20, 80)
    assert archprof.profile(InLists(), (2, 4)).totals.trainable_params == expected


class MadeInForward(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3), None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made = self.conv(x).flatten(1)
        if self.head is None:
            self.head = nn.Sequential(nn.Linear(made.shape[1], 10), nn.BatchNorm1d(10))
        done: torch.Tensor = self.head(made)
        return done


def test_layers_made_in_the_first_forward_count() -> None:
    model = MadeInForward().eval()
    profile = archprof.profile(model, (2, 3, 8, 8))
    assert profile.totals.params == 112 + (4 * 36 * 10 + 10) + 20
    assert profile.totals.buffers == 21
    assert model.head is None  # the user's own was not run
    model(torch.zeros(2, 3, 8, 8))
    assert archprof.profile(model, (2, 3, 8, 8)).totals.params == profile.totals.params


class CallsForward(nn.Module):
    """Its parts own nothing before the pass, are run without a call, and stand in two places."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = nn.ModuleList([MadeInForward()])
        self.again, self.relu, self.same = self.parts[0].conv, nn.ReLU(), nn.ReLU()
        del self.parts[0].conv
        self.parts[0].conv = nn.Identity()
        self.same = self.relu

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        done: torch.Tensor = self.parts[0].forward(self.relu(self.again(x)))
        return done


def test_layers_made_without_a_call_have_a_row() -> None:
    profile = archprof.profile(CallsForward(), (2, 3, 8, 8))
    profile.check()
    assert sum(row.params for row in profile.layers) == profile.totals.params == 112 + (4 * 36 * 10 + 10) + 20


class TwoBits(torch.Tensor):
    """Values in few bits with a scale a row, as wrappers for low precision hold them; computed with as floats."""

    @staticmethod
    def __new__(cls, packed: torch.Tensor, scales: torch.Tensor) -> TwoBits:
        shape = (packed.shape[0], packed.shape[1] * 4)
        made: TwoBits = torch.Tensor._make_wrapper_subclass(cls, shape, dtype=scales.dtype, device=packed.device)
        return made

    def __init__(self, packed: torch.Tensor, scales: torch.Tensor) -> None:
        self.packed, self.scales = packed, scales

    def __tensor_flatten__(self) -> tuple[list[str], None]:
        return ["packed", "scales"], None

    @staticmethod
    def __tensor_unflatten__(inner: dict[str, torch.Tensor], _meta: Any, _size: Any, _stride: Any) -> TwoBits:
        return TwoBits(inner["packed"], inner["scales"])

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in (torch.ops.aten.detach.default, torch.ops.aten._to_copy.default, torch.ops.aten.clone.default):
            device = {"device": kwargs["device"]} if kwargs.get("device") is not None else {}
            return TwoBits(args[0].packed.to(**device), args[0].scales.to(**device)) if device else TwoBits(
                args[0].packed, args[0].scales
            )  # fmt: skip
        plain = [each.unpack() if isinstance(each, TwoBits) else each for each in args]
        return func(*plain, **kwargs)

    def unpack(self) -> torch.Tensor:
        return self.scales.repeat(1, self.shape[1])


def test_a_wrapper_takes_the_bytes_of_what_it_holds() -> None:
    weight = TwoBits(torch.zeros(5, 2, dtype=torch.uint8), torch.ones(5, 1, dtype=torch.bfloat16))
    assert (weight.numel(), count_tensor_bytes(weight)) == (5 * 8, 5 * 2 + 5 * 2)
    layer = nn.Linear(8, 5, bias=False)
    layer.weight = nn.Parameter(weight, requires_grad=False)
    assert layer_of(layer, "bfloat16[3,8]") == {"": (40, 20)}


def test_a_limit_does_not_pass_for_want_of_a_table() -> None:
    assert not archprof.check(InLists(), inputs=(2, 4), max_params=86)[0].ok
    assert archprof.check(InLists(), inputs=(2, 4), max_params=87)[0].ok
