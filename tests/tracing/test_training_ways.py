"""Odd nets and ways of training against real tensors of the CPU: live bytes after every op of three steps are equal."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint
from tracing.real_storages import live_bytes, train_for_real

import archprof
from archprof.facts.liveness import compute_peak_bytes
from archprof.facts.request import PassRequest
from archprof.tracing.profile import profile_model

IMAGES, ROWS, WORDS = torch.randn(2, 3, 16, 16), torch.randn(2, 5, 8), torch.randint(0, 20, (2, 6))
LABELS = torch.randint(0, 5, (4,))


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words, self.out = nn.Embedding(20, 8), nn.Linear(8, 20, bias=False)
        self.out.weight = self.words.weight

    def forward(self, x: torch.Tensor) -> Any:
        return self.out(torch.relu(self.words(x)))


class Owner(nn.Module):
    """Has its loss, of two inputs."""

    def __init__(self, loss: Any = functional.cross_entropy) -> None:
        super().__init__()
        self.net, self.loss = nn.Linear(8, 5), loss

    def forward(self, x: torch.Tensor, target: torch.Tensor) -> Any:
        return self.loss(self.net(x), target)


class Views(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Linear(8, 24)

    def forward(self, x: torch.Tensor) -> Any:
        query, key, value = self.query(x).chunk(3, -1)
        mixed = (query @ key.transpose(-1, -2)).softmax(-1) @ value
        return mixed.reshape(-1, 8)[::2].expand(2, -1, -1).permute(1, 0, 2).contiguous()


class Averaged(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 8)
        self.register_buffer("mean", torch.zeros(8))

    def forward(self, x: torch.Tensor) -> Any:
        y = self.layer(x)
        with torch.no_grad():
            self.mean.mul_(0.9).add_(y.detach().mean((0, 1)), alpha=0.1)  # type: ignore[operator]
        return {"out": y - self.mean, "hidden": [y]}


class Complex(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(8, 4, dtype=torch.cfloat))

    def forward(self, x: torch.Tensor) -> Any:
        return (x.to(torch.cfloat) @ self.weight).abs()


class Nested(nn.Module):
    """A checkpoint within a checkpoint."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = (
            nn.Sequential(nn.Linear(8, 32), nn.GELU(), nn.Dropout(0.1), nn.Linear(32, 8)) for _ in range(2)
        )

    def forward(self, x: torch.Tensor) -> Any:
        def both(x: torch.Tensor) -> Any:
            x = x + checkpoint(self.first, x, use_reentrant=False)
            return x + checkpoint(self.second, x, use_reentrant=False)

        return checkpoint(both, x, use_reentrant=False)


class Frozen(nn.Module):
    """Of a batch norm behind frozen layers the bias alone is trained."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(8, 16), nn.BatchNorm1d(16), nn.Linear(16, 4)
        for parameter in (*self.first.parameters(), self.norm.weight):
            parameter.requires_grad_(False)

    def forward(self, x: torch.Tensor) -> Any:
        return self.last(self.norm(self.first(x)).relu())


class Cells(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.GRUCell(8, 16), nn.LSTMCell(16, 16)

    def forward(self, x: torch.Tensor) -> Any:
        state = x.new_zeros(x.shape[0], 16)
        pair = (state, state)
        for step in range(x.shape[1]):
            state = self.first(x[:, step], state)
            pair = self.second(state, pair)
        return pair[0]


def make_images(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), *layers)


def make_mixed() -> nn.Module:
    return make_images(
        nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.Conv2d(8, 8, 3), nn.SiLU(inplace=True), nn.Hardswish(inplace=True),
        nn.ConvTranspose2d(8, 4, 4, 2, 1), nn.GroupNorm(2, 4), nn.Mish(), nn.Upsample(scale_factor=2), nn.PReLU(),
        nn.AvgPool2d(2), nn.InstanceNorm2d(4, affine=True), nn.Flatten(), nn.Dropout(0.2),
    )  # fmt: skip


NETS: dict[str, tuple[Any, tuple[torch.Tensor, ...]]] = {
    "tied": (Tied, (WORDS,)),
    "owner": (Owner, (torch.randn(4, 8), LABELS)),
    "views": (Views, (ROWS,)),
    "averaged": (Averaged, (ROWS,)),
    "complex": (Complex, (ROWS,)),
    "nested": (Nested, (ROWS,)),
    "frozen": (Frozen, (torch.randn(4, 8),)),
    "cells": (Cells, (ROWS,)),
    "mixed": (make_mixed, (IMAGES,)),
    "mish": (partial(make_images, nn.Mish(), nn.Mish(inplace=True)), (IMAGES,)),
    "unfold": (partial(make_images, nn.Unfold(2)), (IMAGES,)),
    "fold": (partial(make_images, nn.Unfold(2, stride=2), nn.Fold(16, 2, stride=2)), (IMAGES,)),
    "matrices": (partial(nn.Sequential, nn.Linear(8, 32, bias=False), nn.Tanh()), (ROWS,)),
    "squared error": (partial(Owner, functional.mse_loss), (torch.randn(4, 8), torch.randn(4, 5))),
    "soft margin": (partial(Owner, functional.soft_margin_loss), (torch.randn(4, 8), torch.randn(4, 5))),
}

FOREACH = {"foreach": True}
OPTIMIZERS: dict[str, Any] = {
    "adam": partial(torch.optim.Adam, **FOREACH),
    "adafactor": torch.optim.Adafactor,
    "muon": torch.optim.Muon,
    "adagrad(foreach=False)": partial(torch.optim.Adagrad, foreach=False),
    "adagrad(fused=True)": partial(torch.optim.Adagrad, fused=True),
    "sgd(momentum=0.9, nesterov=True)": partial(torch.optim.SGD, momentum=0.9, nesterov=True, **FOREACH),
    "rmsprop(momentum=0.9, centered=True)": partial(torch.optim.RMSprop, momentum=0.9, centered=True, **FOREACH),
    "adam(maximize=True, amsgrad=True)": partial(torch.optim.Adam, maximize=True, amsgrad=True, **FOREACH),
}

WAYS: list[tuple[str, str, dict[str, Any]]] = [
    ("tied", "sgd(momentum=0.9, nesterov=True)", {"set_to_none": False}),
    ("tied", "adam", {"accumulate": 3}),
    ("owner", "adafactor", {}),
    ("owner", "adam", {"accumulate": 3, "amp": "bfloat16"}),
    ("views", "adam", {"accumulate": 3, "amp": "bfloat16"}),
    ("averaged", "adam", {"accumulate": 3}),
    ("complex", "adam", {}),
    ("complex", "rmsprop(momentum=0.9, centered=True)", {}),
    ("nested", "adam", {"accumulate": 3, "set_to_none": False}),
    ("nested", "adam", {"amp": "bfloat16"}),
    ("averaged", "adagrad(foreach=False)", {}),
    ("frozen", "adam", {"amp": "bfloat16", "set_to_none": False}),
    ("cells", "adam", {"amp": "bfloat16"}),
    ("mixed", "adam(maximize=True, amsgrad=True)", {}),
    ("mixed", "adagrad(fused=True)", {"amp": "bfloat16", "accumulate": 3}),
    ("mish", "adam", {}),
    ("mish", "adam", {"amp": "bfloat16"}),
    ("unfold", "adam", {}),
    ("fold", "adam", {"set_to_none": False}),
    ("matrices", "muon", {}),
    ("squared error", "adam", {}),
    ("soft margin", "adam", {"amp": "bfloat16"}),
]


class Cast(nn.Module):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, *args: Any) -> Any:
        with torch.autocast("cpu", torch.bfloat16):
            return self.net(*args)


@pytest.mark.parametrize(("net", "optimizer", "options"), WAYS, ids=lambda one: str(one).replace(" ", "_"))
def test_live_bytes_of_odd_nets(net: str, optimizer: str, options: dict[str, Any]) -> None:
    make, inputs = NETS[net]
    ways = {key: options[key] for key in options if key != "amp"}
    real = train_for_real(Cast(make()) if "amp" in options else make(), inputs, OPTIMIZERS[optimizer], **ways)
    request = PassRequest(train=True, optimizer=optimizer, amp_device="cpu" if "amp" in options else "cuda", **options)
    profile = profile_model(make(), inputs if len(inputs) > 1 else inputs[0], request)
    profile.check()
    assert profile.totals.complete
    assert live_bytes(profile, "steady") == real[1] == real[2]
    assert live_bytes(profile, "first") == real[0]
    assert compute_peak_bytes(profile) == max(real[2])


def test_an_optimizer_of_many_numbers_has_the_same_peaks() -> None:
    """ASGD makes tensors of numbers, which costs ops on the CPU that there are none of on meta."""
    net = partial(make_images, nn.ReLU())
    real = train_for_real(net(), (IMAGES,), partial(torch.optim.ASGD, **FOREACH))
    profile = archprof.profile(net(), IMAGES, train=True, optimizer="asgd")
    assert [max(live_bytes(profile, kind)) for kind in ("first", "steady")] == [max(real[0]), max(real[2])]
    assert live_bytes(profile, "steady")[0] == real[2][0]


class Sparse(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(5000, 80, sparse=True)

    def forward(self, x: torch.Tensor) -> Any:
        return self.words(x).sum(-1)


@pytest.mark.parametrize(
    ("optimizer", "states"), [("sgd", 0), ("sgd(momentum=0.9)", 0), ("sparseadam", 2), ("adagrad(foreach=False)", 1)]
)
def test_sparse_gradients_are_a_lower_bound(optimizer: str, states: int) -> None:
    """They hold a row for each word and no weight: 1.6 MB and 3,200 bytes; how many rows, only values tell."""
    answer = archprof.predict_memory(Sparse(), "int64[2,5]<5000", train=True, optimizer=optimizer)
    least = (1 + states) * 5000 * 80 * 4
    assert least <= answer.live_peak_bytes.low < least + 100_000
    assert answer.live_peak_bytes.high is None


def test_sparse_gradients_are_refused_by_who_refuses_them() -> None:
    with pytest.raises(archprof.UsageError, match="Adam does not support sparse gradients"):
        archprof.profile(Sparse(), "int64[2,5]<5000", train=True, optimizer="adam")
