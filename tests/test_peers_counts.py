"""What other tools count wrongly: every truth is a formula of the shapes, and torch's counter on meta agrees."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

import archprof
from archprof.tracing.oracles import torch_macs


class Forward(nn.Module):
    """A module whose forward is the given function of it and its inputs."""

    def __init__(self, forward: Callable[..., Any], **members: Any) -> None:
        super().__init__()
        self.body = forward
        for name, member in members.items():
            setattr(self, name, member)

    def forward(self, *args: Any) -> Any:
        return self.body(self, *args)


class Case(NamedTuple):
    """A model, its inputs, and the truth: MACs and, where the number was got wrong elsewhere, params."""

    model: nn.Module
    inputs: tuple[torch.Tensor, ...]
    macs: int
    params: int | None = None


def zeros(*shape: int) -> torch.Tensor:
    return torch.zeros(shape)


def tokens(*shape: int) -> torch.Tensor:
    return torch.zeros(shape, dtype=torch.int64)


class ThreeParents(nn.Module):
    """One Linear, a child of three modules."""

    def __init__(self) -> None:
        super().__init__()
        shared = nn.Linear(10, 10)
        self.first, self.second, self.third = (nn.Sequential(shared) for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.third(self.second(self.first(x)))


class Tied(nn.Module):
    """A language model whose head is its embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(100, 16)
        self.head = nn.Linear(16, 100, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.embedding(x))


def attention_block(self: Any, x: torch.Tensor) -> torch.Tensor:
    query, key, value = (part.unflatten(-1, (4, 16)).transpose(1, 2) for part in self.qkv(x).chunk(3, -1))
    return F.scaled_dot_product_attention(query, key, value)


E, L, N = 64, 10, 2
SMALL_NET = nn.Sequential(
    nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8),
    nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4),
)  # fmt: skip

TABLE = {
    "conv 11x11 s4": Case(
        nn.Conv2d(3, 64, 11, 4, 2), (zeros(1, 3, 224, 224),), 55 * 55 * 64 * 3 * 11 * 11, 3 * 121 * 64 + 64
    ),
    "batch norm eval": Case(nn.BatchNorm2d(64), (zeros(1, 64, 8, 8),), 0, 128),
    "transposed conv s2": Case(nn.ConvTranspose2d(2, 3, 3, stride=2), (zeros(1, 2, 10, 10),), 100 * 2 * 3 * 9),
    "transposed conv groups 2": Case(
        nn.ConvTranspose2d(4, 4, 3, groups=2), (zeros(1, 4, 10, 10),), 100 * 4 * (4 // 2) * 9
    ),
    "conv same k4": Case(nn.Conv2d(3, 8, 4, padding="same"), (zeros(1, 3, 10, 10),), 100 * 3 * 8 * 16),
    "linear on three dimensions": Case(nn.Linear(3, 2), (zeros(2, 5, 3),), 2 * 5 * 3 * 2),
    "conv2d on a parameter": Case(
        Forward(lambda m, x: F.conv2d(x, m.weight, padding=1), weight=nn.Parameter(zeros(8, 3, 3, 3))),
        (zeros(1, 3, 10, 10),), 100 * 3 * 8 * 9, 216,
    ),
    "multi-head attention": Case(
        nn.MultiheadAttention(E, 4, batch_first=True), (zeros(N, L, E),) * 3,
        4 * N * L * E * E + 2 * N * L * L * E, 4 * E * E + 4 * E,
    ),
    "scaled dot product attention": Case(
        Forward(attention_block, qkv=nn.Linear(E, 3 * E)), (zeros(N, L, E),), 3 * N * L * E * E + 2 * N * L * L * E
    ),
    "x @ x.T": Case(Forward(lambda m, x: x @ x.T), (zeros(20, 32),), 20 * 20 * 32),
    "bmm": Case(Forward(lambda m, a, b: torch.bmm(a, b)), (zeros(4, 10, 8), zeros(4, 8, 40)), 4 * 10 * 8 * 40),
    "matmul that broadcasts": Case(Forward(lambda m, a, b: a @ b), (zeros(7, 6), zeros(4, 6, 5)), 4 * 7 * 6 * 5),
    "einsum": Case(
        Forward(lambda m, a, b: torch.einsum("ij,bjk->bik", a, b)), (zeros(7, 6), zeros(4, 6, 5)), 4 * 7 * 6 * 5
    ),
    "linear of three parents": Case(ThreeParents(), (zeros(1, 10),), 3 * 10 * 10, 10 * 10 + 10),
    "tied embedding and head": Case(Tied(), (tokens(2, 5),), 2 * 5 * 16 * 100, 1600),
    "embedding": Case(nn.Embedding(1000, 32), (tokens(1, 10),), 0, 32000),
    "own parameter and linear": Case(
        Forward(lambda m, x: m.linear(x) + m.bias, linear=nn.Linear(8, 8), bias=nn.Parameter(zeros(8))),
        (zeros(2, 5, 8),), 2 * 5 * 8 * 8, 80,
    ),
    "LSTM": Case(nn.LSTM(8, 16), (zeros(5, 2, 8),), 5 * 2 * 4 * 16 * (8 + 16), 4 * 16 * (8 + 16 + 2)),
    "a net of 876 parameters": Case(SMALL_NET, (zeros(1, 3, 8, 8),), 64 * 27 * 8 + 64 * 72 * 8 + 8 * 4, 876),
}  # fmt: skip

PUBLISHED = {
    "conv 11x11 s4": 70_276_800, "batch norm eval": 0, "transposed conv s2": 5_400, "transposed conv groups 2": 7_200,
    "conv same k4": 38_400, "linear on three dimensions": 60, "conv2d on a parameter": 21_600,
    "multi-head attention": 353_280, "scaled dot product attention": 271_360, "x @ x.T": 12_800, "bmm": 12_800,
    "matmul that broadcasts": 840, "einsum": 840, "linear of three parents": 300, "tied embedding and head": 16_000,
    "embedding": 0, "own parameter and linear": 640, "LSTM": 15_360, "a net of 876 parameters": 50_720,
}  # fmt: skip
"""The same, as numbers that were measured by hand and by torch's counter on meta before this tool was written."""


@pytest.mark.parametrize("name", TABLE)
def test_a_row_that_others_get_wrong(name: str) -> None:
    model, inputs, macs, params = TABLE[name]
    profile = archprof.profile(model, inputs)
    profile.check()
    assert macs == PUBLISHED[name]
    assert profile.totals.macs == macs == torch_macs(model.eval(), inputs)
    assert profile.totals.complete
    assert profile.totals.params == sum(p.numel() for p in model.parameters())
    assert params in (None, profile.totals.params)


def recurrent(gates: int, hidden: int, inputs: list[int], rows: int, state: int | None = None) -> int:
    """MACs: in each layer and direction, gates * hidden rows of weights for its input and for the state."""
    return rows * sum(gates * hidden * (width + (state or hidden)) for width in inputs)


RECURRENT = {
    "gru": Case(nn.GRU(8, 16), (zeros(5, 2, 8),), recurrent(3, 16, [8], 10)),
    "rnn": Case(nn.RNN(8, 16, nonlinearity="relu"), (zeros(5, 2, 8),), recurrent(1, 16, [8], 10)),
    "lstm batch first": Case(nn.LSTM(8, 16, batch_first=True), (zeros(2, 5, 8),), recurrent(4, 16, [8], 10)),
    "lstm without a batch": Case(nn.LSTM(8, 16), (zeros(5, 8),), recurrent(4, 16, [8], 5)),
    "lstm of two layers, both ways": Case(
        nn.LSTM(8, 16, 2, bidirectional=True), (zeros(5, 2, 8),), recurrent(4, 16, [8, 8, 32, 32], 10)
    ),
    "lstm with projections": Case(
        nn.LSTM(8, 16, 2, proj_size=4), (zeros(5, 2, 8),), recurrent(4, 16, [8, 4], 10, state=4) + 10 * 2 * 4 * 16
    ),
    "lstm cell": Case(nn.LSTMCell(8, 16), (zeros(2, 8),), recurrent(4, 16, [8], 2)),
    "gru cell": Case(nn.GRUCell(8, 16), (zeros(2, 8),), recurrent(3, 16, [8], 2)),
}


@pytest.mark.parametrize("name", RECURRENT)
def test_recurrent_layers(name: str) -> None:
    model, inputs, macs, _ = RECURRENT[name]
    profile = archprof.profile(model, inputs)
    assert profile.totals.macs == macs == torch_macs(model.eval(), inputs)
    assert profile.totals.complete


@pytest.mark.parametrize("ordered", [True, False])
def test_packed_sequences_count_their_own_steps_only(ordered: bool) -> None:
    lengths = [5, 3] if ordered else [3, 5]

    def forward(self: Any, x: torch.Tensor) -> torch.Tensor:
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=ordered)
        return nn.utils.rnn.pad_packed_sequence(self.lstm(packed)[0], batch_first=True)[0]

    profile = archprof.profile(Forward(forward, lstm=nn.LSTM(8, 16, batch_first=True)), zeros(2, 5, 8))
    assert profile.totals.macs == recurrent(4, 16, [8], 5 + 3)
    assert profile.totals.complete


FFN = 128
ENCODER = 2 * (4 * N * L * E * E + 2 * N * L * L * E + 2 * N * L * E * FFN)
"""Two layers: projections, scores and their values, feed-forward."""


def encoder() -> nn.TransformerEncoder:
    return nn.TransformerEncoder(nn.TransformerEncoderLayer(E, 4, FFN, batch_first=True), 2)


@pytest.mark.parametrize("train", [False, True])
def test_a_transformer_encoder_is_not_hidden_by_its_fast_path(train: bool) -> None:
    profile = archprof.profile(encoder(), zeros(N, L, E), train=train)
    assert profile.totals.macs == ENCODER == torch_macs(encoder().eval(), (zeros(N, L, E),))
    assert profile.totals.complete
    attention = next(layer for layer in profile.layers if layer.path == "layers.0.self_attn")
    assert attention.kind == "MultiheadAttention"


def test_a_padding_mask_leaves_the_count_as_it_is_and_needs_no_values() -> None:
    padding = torch.zeros(N, L, dtype=torch.bool)
    profile = archprof.profile(encoder(), {"src": zeros(N, L, E), "src_key_padding_mask": padding})
    assert profile.totals.macs == ENCODER
    assert (profile.totals.complete, profile.ran.device) == (True, "meta")


def test_grouped_queries() -> None:
    model = Forward(lambda m, q, k, v: F.scaled_dot_product_attention(q, k, v, enable_gqa=True))
    profile = archprof.profile(model, (zeros(2, 8, 10, 16), zeros(2, 2, 12, 16), zeros(2, 2, 12, 16)))
    assert profile.totals.macs == 2 * 8 * (10 * 12 * 16 + 10 * 12 * 16)


@pytest.mark.parametrize(("causal", "scores"), [("full", 100), ("half", 55)])
def test_causal_attention_by_choice(causal: str, scores: int) -> None:
    model = Forward(lambda m, q: F.scaled_dot_product_attention(q, q, q, is_causal=True))
    assert archprof.profile(model, (zeros(2, 8, 10, 16),), causal=causal).totals.macs == 2 * 8 * scores * (16 + 16)


def test_outputs_of_layers_without_parameters_are_memory_too() -> None:
    model = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
    totals = archprof.profile(model, zeros(1, 3, 64, 64)).totals
    assert totals.activation_bytes["float32"] == 4 * (16 * 64 * 64 * 2 + 16 * 32 * 32) == 589_824
    assert totals.activation_bytes["float16"] == 589_824 // 2


def test_every_tensor_of_a_list_and_every_buffer_counts() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("table", zeros(1_000_000))

        def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
            return [x + 1, x + 2]

    profile = archprof.profile(Two(), zeros(20))
    assert profile.totals.activation_bytes["float32"] == 160
    assert profile.totals.buffers == 1_000_000
    assert profile.layers[0].buffer_bytes == 4_000_000
    assert len(profile.layers[0].outputs) == 2


@pytest.mark.parametrize("name", ["vgg16", "torchvision:vgg16"])
def test_feature_memory_of_vgg16(name: str) -> None:
    """CS231n's 15,237,608 elements count the input, in-place ReLUs as nothing, and no pool that changes nothing."""
    profile = archprof.profile(name)
    made = {
        profile.layers[profile.ops[s.born].call].path: s.nbytes // 4 for s in profile.storages if s.born is not None
    }
    assert made["avgpool"] == 512 * 7 * 7 == 25_088
    assert profile.totals.activation_elements == 15_112_168 == 15_237_608 - 3 * 224 * 224 + 25_088


def test_residual_adds_are_memory_of_their_blocks() -> None:
    """ResNet-18: two blocks each of 64*56*56, 128*28*28, 256*14*14 and 512*7*7, all in place or not at all in hooks."""
    profile = archprof.profile("torchvision:resnet18")
    adds = [op for op in profile.ops if profile.layers[op.call].kind == "BasicBlock"]
    assert {op.name for op in adds} == {"aten.add_"}
    assert sum(profile.tensors[op.outputs[0]].spec.numel for op in adds) == 752_640
    assert sum(op.flops for op in adds) == 752_640
