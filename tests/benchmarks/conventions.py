"""What other tools really print for some models, written to tests/data/conventions.csv.

    PYTHONPATH=<where the tools are> python tests/benchmarks/conventions.py [TOOL …]

Runs torch's FlopCounterMode on meta and fvcore, ptflops, thop, torchinfo and DeepSpeed on real tensors, each in its
default settings, as far as they are installed, and replaces their rows in the table. The fast tests hold
`archprof.analysis.other_tools` against that table and need none of the tools. A value is empty where the tool raised;
`why` then names the exception.
"""

from __future__ import annotations

import contextlib
import copy
import csv
import importlib.metadata
import io
import logging
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torchvision
from torch import nn
from torch.nn import functional as F  # noqa: N812

TABLE = Path(__file__).parents[1] / "data" / "conventions.csv"


class Forward(nn.Module):
    """A module whose forward is the given function of it and its inputs."""

    def __init__(self, body: Callable[..., Any], **members: Any) -> None:
        super().__init__()
        self.body = body
        for name, member in members.items():
            setattr(self, name, member)

    def forward(self, *args: Any) -> Any:
        return self.body(self, *args)


class Case(NamedTuple):
    """How to make a model, and the shapes of its inputs; integers where `vocabulary` is given."""

    make: Callable[[], nn.Module]
    shapes: tuple[tuple[int, ...], ...]
    vocabulary: int = 0

    def inputs(self) -> tuple[torch.Tensor, ...]:
        if self.vocabulary:
            return tuple(torch.zeros(shape, dtype=torch.int64) for shape in self.shapes)
        return tuple(torch.zeros(shape) for shape in self.shapes)


def small_net() -> nn.Module:
    """876 parameters, for which eleven tools print eight totals."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8),
        nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4),
    )  # fmt: skip


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


def functional_net(self: Any, x: torch.Tensor) -> torch.Tensor:
    x = F.max_pool2d(F.relu(self.conv(x)), 2)
    x = F.gelu(F.conv2d(x, self.weight, padding=1)) + x
    x = F.adaptive_avg_pool2d(F.interpolate(x, scale_factor=2, mode="bilinear"), 2)
    x = torch.matmul(x.flatten(2), x.flatten(2).transpose(1, 2))
    return F.softmax(torch.add(x, x * 2), -1)


def rnn_net(kind: type[nn.Module], **options: Any) -> nn.Module:
    return Forward(lambda self, x: self.head(self.rnn(x)[0]), rnn=kind(8, 16, **options), head=nn.Linear(16, 3))


def zoo(name: str) -> Case:
    options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    size = 299 if name == "inception_v3" else 224
    return Case(lambda: torchvision.models.get_model(name, weights=None, **options), ((1, 3, size, size),))


IMAGE = ((2, 3, 16, 16),)
SEQUENCE = ((2, 10, 64),)

MODELS: dict[str, Case] = {
    **{name: zoo(name) for name in (
        "alexnet", "vgg16", "resnet18", "resnet50", "mobilenet_v2", "densenet121", "squeezenet1_0",
        "shufflenet_v2_x1_0", "convnext_tiny", "vit_b_16", "swin_t", "efficientnet_b0", "googlenet", "inception_v3",
    )},
    "small net": Case(small_net, ((1, 3, 8, 8),)),
    "small net, batch 3": Case(small_net, ((3, 3, 8, 8),)),
    "conv 11x11 s4": Case(lambda: nn.Conv2d(3, 64, 11, 4, 2), ((1, 3, 224, 224),)),
    "batch norm": Case(lambda: nn.BatchNorm2d(64), ((1, 64, 8, 8),)),
    "transposed conv s2": Case(lambda: nn.ConvTranspose2d(2, 3, 3, stride=2), ((1, 2, 10, 10),)),
    "transposed conv groups 2": Case(lambda: nn.ConvTranspose2d(4, 4, 3, groups=2), ((1, 4, 10, 10),)),
    "conv same k4": Case(lambda: nn.Conv2d(3, 8, 4, padding="same"), ((1, 3, 10, 10),)),
    "linear on three dimensions": Case(lambda: nn.Linear(3, 2), ((2, 5, 3),)),
    "conv2d on a parameter": Case(
        lambda: Forward(lambda m, x: F.conv2d(x, m.weight, padding=1), weight=nn.Parameter(torch.zeros(8, 3, 3, 3))),
        ((1, 3, 10, 10),),
    ),
    "multi-head attention": Case(lambda: nn.MultiheadAttention(64, 4, batch_first=True), SEQUENCE * 3),
    "multi-head attention, lean": Case(
        lambda: Forward(
            lambda m, x: m.attention(x, x, x, need_weights=False)[0],
            attention=nn.MultiheadAttention(64, 4, batch_first=True),
        ), SEQUENCE,
    ),
    "encoder layer": Case(lambda: nn.TransformerEncoderLayer(64, 4, 128, batch_first=True), SEQUENCE),
    "scaled dot product attention": Case(lambda: Forward(attention_block, qkv=nn.Linear(64, 192)), SEQUENCE),
    "x @ x.T": Case(lambda: Forward(lambda m, x: x @ x.T), ((20, 32),)),
    "bmm": Case(lambda: Forward(lambda m, a, b: torch.bmm(a, b)), ((4, 10, 8), (4, 8, 40))),
    "matmul that broadcasts": Case(lambda: Forward(lambda m, a, b: a @ b), ((7, 6), (4, 6, 5))),
    "einsum": Case(lambda: Forward(lambda m, a, b: torch.einsum("ij,bjk->bik", a, b)), ((7, 6), (4, 6, 5))),
    "outer einsum": Case(lambda: Forward(lambda m, a, b: torch.einsum("i,j->ij", a, b)), ((7,), (5,))),
    "tensordot": Case(lambda: Forward(lambda m, a, b: torch.tensordot(a, b, 2)), ((3, 7, 6), (7, 6, 5))),
    "inner": Case(lambda: Forward(lambda m, a, b: torch.inner(a, b)), ((2, 7, 6), (5, 6))),
    "chain of products": Case(
        lambda: Forward(lambda m, a, b, c: torch.linalg.multi_dot([a, b, c])), ((7, 6), (6, 5), (5,))
    ),
    "power of matrices": Case(lambda: Forward(lambda m, x: torch.linalg.matrix_power(x, 5)), ((4, 6, 6),)),
    "parameter times a batch": Case(
        lambda: Forward(lambda m, x: m.left @ x, left=nn.Parameter(torch.zeros(5, 6))), ((4, 6, 3),)
    ),
    "vector times a batch": Case(
        lambda: Forward(lambda m, x: m.left @ x, left=nn.Parameter(torch.zeros(6))), ((4, 6, 3),)
    ),
    "matrix and vector": Case(lambda: Forward(lambda m, a, b: torch.mv(a, b)), ((7, 6), (6,))),
    "matrix times vector": Case(lambda: Forward(lambda m, a, b: a @ b), ((7, 6), (6,))),
    "large einsum": Case(
        lambda: Forward(lambda m, a, b: torch.einsum("bik,bkj->bij", a, b)), ((64, 57, 33), (64, 33, 41))
    ),
    "matmul of two batches": Case(lambda: Forward(lambda m, a, b: a @ b), ((2, 7, 6), (3, 2, 6, 5))),
    "local response norm": Case(lambda: nn.LocalResponseNorm(5), IMAGE),
    "grouped conv3d": Case(lambda: nn.Conv3d(4, 8, (1, 3, 3), groups=2, padding=(0, 1, 1)), ((2, 4, 4, 8, 8),)),
    "circular conv": Case(lambda: nn.Conv2d(3, 8, 3, padding=1, padding_mode="circular"), IMAGE),
    "attention with a mask": Case(
        lambda: Forward(
            lambda m, x: m.attention(x, x, x, attn_mask=torch.zeros(10, 10, device=x.device))[0],
            attention=nn.MultiheadAttention(64, 4),
        ), ((10, 2, 64),),
    ),
    "transformer": Case(
        lambda: Forward(
            lambda m, x: m.net(x, x), net=nn.Transformer(32, 4, 1, 1, 64, activation="gelu", batch_first=True)
        ), ((2, 6, 32),),
    ),
    "cross attention": Case(
        lambda: Forward(
            lambda m, x: m.attention(x[:, :4], x, x, need_weights=False)[0],
            attention=nn.MultiheadAttention(64, 4, batch_first=True, bias=False),
        ), SEQUENCE,
    ),
    "linear of three parents": Case(ThreeParents, ((1, 10),)),
    "tied embedding and head": Case(Tied, ((2, 5),), vocabulary=100),
    "embedding": Case(lambda: nn.Embedding(1000, 32), ((1, 10),), vocabulary=1000),
    "own parameter and linear": Case(
        lambda: Forward(
            lambda m, x: m.linear(x) + m.shift, linear=nn.Linear(8, 8), shift=nn.Parameter(torch.zeros(8))
        ), ((2, 5, 8),),
    ),
    "own parameter alone": Case(lambda: Forward(lambda m, x: x * m.gain, gain=nn.Parameter(torch.zeros(8))), ((2, 8),)),
    "lstm": Case(lambda: nn.LSTM(8, 16), ((5, 2, 8),)),
    "lstm net": Case(lambda: rnn_net(nn.LSTM, batch_first=True), ((2, 5, 8),)),
    "gru net, two layers": Case(lambda: rnn_net(nn.GRU, num_layers=2), ((5, 2, 8),)),
    "rnn without bias": Case(lambda: rnn_net(nn.RNN, bias=False), ((5, 2, 8),)),
    "lstm both ways": Case(lambda: nn.LSTM(8, 16, 2, bidirectional=True), ((5, 2, 8),)),
    "lstm projected": Case(lambda: nn.LSTM(8, 16, proj_size=4), ((5, 2, 8),)),
    "lstm cell": Case(lambda: nn.LSTMCell(8, 16), ((2, 8),)),
    "gru cell": Case(lambda: nn.GRUCell(8, 16), ((2, 8),)),
    "functional net": Case(
        lambda: Forward(
            functional_net, conv=nn.Conv2d(3, 8, 3, padding=1), weight=nn.Parameter(torch.zeros(8, 8, 3, 3))
        ), IMAGE,
    ),
    "depthwise conv": Case(lambda: nn.Conv2d(8, 16, 3, groups=8, bias=False), ((2, 8, 16, 16),)),
    "conv1d, dilated": Case(lambda: nn.Conv1d(3, 8, 3, dilation=2), ((2, 3, 20),)),
    "conv3d": Case(lambda: nn.Conv3d(3, 8, 3, stride=2), ((2, 3, 8, 16, 16),)),
    "transposed conv1d": Case(lambda: nn.ConvTranspose1d(4, 6, 4, 2, 1, bias=False), ((2, 4, 10),)),
    "transposed conv3d": Case(lambda: nn.ConvTranspose3d(4, 6, 2, 2), ((1, 4, 4, 4, 4),)),
    "activations": Case(
        lambda: nn.Sequential(
            nn.ReLU(), nn.ReLU6(), nn.PReLU(), nn.ELU(), nn.LeakyReLU(), nn.GELU(), nn.SiLU(), nn.Hardswish(),
            nn.Sigmoid(), nn.Tanh(), nn.Softmax(1), nn.Dropout(),
        ), IMAGE,
    ),
    "pools": Case(
        lambda: nn.Sequential(
            nn.MaxPool2d(2), nn.AvgPool2d(2, 1), nn.AdaptiveMaxPool2d(3), nn.AdaptiveAvgPool2d(2), nn.Flatten(2),
            nn.MaxPool1d(2), nn.AvgPool1d(2), nn.AdaptiveAvgPool1d(1),
        ), IMAGE,
    ),
    "norms": Case(
        lambda: nn.Sequential(
            nn.BatchNorm2d(3), nn.BatchNorm2d(3, affine=False), nn.InstanceNorm2d(3), nn.InstanceNorm2d(3, affine=True),
            nn.GroupNorm(3, 3), nn.GroupNorm(3, 3, affine=False), nn.LayerNorm(16),
            nn.LayerNorm(16, elementwise_affine=False), nn.BatchNorm2d(3, track_running_stats=False),
        ), IMAGE,
    ),
    "upsampling": Case(
        lambda: nn.Sequential(
            nn.Upsample(scale_factor=2), nn.Upsample(size=20, mode="bilinear"), nn.UpsamplingBilinear2d(scale_factor=2),
            nn.Upsample(scale_factor=2, mode="bicubic"),
        ), ((2, 3, 4, 4),),
    ),
    "bilinear": Case(lambda: nn.Bilinear(3, 4, 5), ((2, 3), (2, 4))),
}  # fmt: skip
"""The traps of other tools, layer kinds and whole models."""


def flop_counter(model: nn.Module, inputs: tuple[torch.Tensor, ...]) -> float:
    from torch.utils.flop_counter import FlopCounterMode

    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad(), torch.device("meta"), FlopCounterMode(display=False) as counter:
            model.to("meta")(*(tensor.to("meta") for tensor in inputs))
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
    return counter.get_total_flops()


def fvcore(model: nn.Module, inputs: tuple[torch.Tensor, ...]) -> float:
    from fvcore.nn import FlopCountAnalysis

    return float(FlopCountAnalysis(model, inputs).total())


def ptflops(model: nn.Module, inputs: tuple[torch.Tensor, ...]) -> float | None:
    """With one input as its own input constructor makes it; with several through a wrapper that takes keywords."""
    from ptflops import get_model_complexity_info

    if len(inputs) > 1:
        return None
    counted = get_model_complexity_info(
        model,
        tuple(inputs[0].shape),
        as_strings=False,
        print_per_layer_stat=False,
        input_constructor=lambda _: inputs[0],
    )
    if counted[0] is None:
        raise RuntimeError("it printed the error and returned None")
    return float(counted[0])


def thop(model: nn.Module, inputs: tuple[torch.Tensor, ...]) -> float:
    from thop import profile

    return float(profile(model, inputs, verbose=False)[0])


def torchinfo(model: nn.Module, inputs: tuple[torch.Tensor, ...]) -> float:
    from torchinfo import summary

    return float(summary(model, input_data=list(inputs), verbose=0, cache_forward_pass=False).total_mult_adds)


def deepspeed(model: nn.Module, inputs: tuple[torch.Tensor, ...]) -> float:
    from deepspeed.profiling.flops_profiler import get_model_profile

    kept = {name: getattr(torch, name) for name in ("bmm", "matmul", "mm")}
    method = torch.Tensor.__matmul__
    try:
        return float(get_model_profile(model, args=list(inputs), print_profile=False, as_string=False)[1])
    finally:
        for name, function in kept.items():
            setattr(torch, name, function)
        torch.Tensor.__matmul__ = method


TOOLS: dict[str, tuple[str, Callable[..., float | None]]] = {
    "torch": ("torch", flop_counter),
    "fvcore": ("fvcore", fvcore),
    "ptflops": ("ptflops", ptflops),
    "thop": ("thop", thop),
    "torchinfo": ("torchinfo", torchinfo),
    "deepspeed": ("deepspeed", deepspeed),
}


class Printed(NamedTuple):
    """One line of the table."""

    tool: str
    version: str
    model: str
    value: str
    why: str


def run(tool: str, name: str) -> Printed | None:
    """What one tool prints for one model; `None` when it takes no such inputs."""
    distribution, counter = TOOLS[tool]
    version, case = importlib.metadata.version(distribution), MODELS[name]
    torch.manual_seed(0)
    model = copy.deepcopy(case.make()).eval()
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            value = counter(model, case.inputs())
    except Exception as error:  # whatever the tool raises is what is to be written down
        return Printed(tool, version, name, "", type(error).__name__)
    return None if value is None else Printed(tool, version, name, f"{value:.0f}", "")


def read() -> list[Printed]:
    """The table as it stands."""
    if not TABLE.exists():
        return []
    with TABLE.open(newline="") as file:
        return [Printed(**line) for line in csv.DictReader(file)]


def main() -> None:
    wanted = sys.argv[1:] or list(TOOLS)
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    lines = [line for line in read() if line.tool not in wanted]
    for tool in wanted:
        lines += [line for name in MODELS if (line := run(tool, name)) is not None]
        print(f"{tool}: {sum(line.tool == tool for line in lines)} models")
    with TABLE.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(Printed._fields)
        writer.writerows(lines)


if __name__ == "__main__":
    main()
