"""Odd models, each with the multiply-accumulates and parameters that a hand count gives it."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations, parametrize, prune, rnn
from torch.utils.checkpoint import checkpoint


class Odd(NamedTuple):
    """A model, what goes in, and what a hand count gives; `None` in `train`: no backward pass is counted by hand."""

    make: Callable[[], nn.Module]
    inputs: Any
    macs: int
    params: int
    train: int | None
    device: str = "meta"
    complete: bool = True


class Runs(nn.Module):
    """A module around a function of itself and its inputs, with parts by name."""

    def __init__(self, run: Callable[..., Any], **parts: Any) -> None:
        super().__init__()
        self.run = run
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.run(self, *args, **kwargs)


ODD: dict[str, Odd] = {}


def odd(name: str, inputs: Any, macs: int, params: int, train: int | None, **more: Any) -> Callable[..., Any]:
    """Enter a factory into `ODD`; `train` are the MACs of the backward pass."""

    def enter(make: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
        ODD[name] = Odd(make, inputs, macs, params, train, **more)
        return make

    return enter


def line(width: int = 4, out: int = 4, bias: bool = False) -> nn.Linear:
    return nn.Linear(width, out, bias=bias)


ROWS = torch.zeros(3, 4)
LINE = 3 * 4 * 4
"""MACs of a linear layer 4 -> 4 over three rows; backwards as many for each of two gradients."""


# Parameters that are made, not held.


@odd(
    "lazy layers",
    torch.zeros(2, 3, 8, 8),
    2 * 36 * 4 * 27 + 2 * 144 * 5,
    27 * 4 + 4 + 144 * 5 + 5,
    2 * 36 * 4 * 27 + 2 * 2 * 144 * 5,
)
def lazy() -> nn.Module:
    return nn.Sequential(nn.LazyConv2d(4, 3), nn.Flatten(), nn.LazyLinear(5))


@odd("old weight_norm", ROWS, LINE, 16 + 4, LINE)
def old_weight_norm() -> nn.Module:
    return nn.utils.weight_norm(line())


@odd("weight_norm as a parametrization", ROWS, LINE, 16 + 4, LINE)
def weight_norm() -> nn.Module:
    return parametrizations.weight_norm(line())


@odd("old spectral_norm", ROWS, LINE + 16 + 4, 16, None)  # sigma = u . (W v): a product with a vector, and a dot
def old_spectral_norm() -> nn.Module:
    return nn.utils.spectral_norm(line())


@odd("orthogonal", ROWS, LINE + 64, 16, None, complete=False)  # base @ exp(A); the exponential has no count
def orthogonal() -> nn.Module:
    return parametrizations.orthogonal(line(), orthogonal_map="matrix_exp")


class Symmetric(nn.Module):
    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return weight @ weight.T


@odd("a parametrization of one's own", ROWS, LINE + 64, 16, LINE + 2 * 64)
def own_parametrization() -> nn.Module:
    model = line()
    parametrize.register_parametrization(model, "weight", Symmetric())
    return model


@odd("a cached parametrization", ROWS, 2 * LINE + 64, 16, 3 * LINE + 2 * 64)
def cached_parametrization() -> nn.Module:
    def run(self: Any, x: torch.Tensor) -> torch.Tensor:
        with parametrize.cached():
            return self.layer(self.layer(x))

    return Runs(run, layer=own_parametrization())


@odd("pruned", ROWS, LINE, 16, LINE)
def pruned() -> nn.Module:
    return prune.l1_unstructured(line(), "weight", 0.5)


# Weights in more than one place.


@odd("tied embedding and head", torch.zeros(2, 5, dtype=torch.int64), 10 * 4 * 7, 28, 2 * 10 * 4 * 7)
def tied_head() -> nn.Module:
    model = nn.Sequential(nn.Embedding(7, 4), line(4, 7))
    model[1].weight = model[0].weight
    return model


@odd("one layer under three parents", ROWS, 3 * LINE, 16, 5 * LINE)
def three_parents() -> nn.Module:
    shared = line()
    return nn.Sequential(nn.Sequential(shared), nn.ModuleList([shared])[0], shared)


@odd("one weight, transposed", ROWS, 2 * LINE, 16, 3 * LINE)
def transposed() -> nn.Module:
    return Runs(lambda self, x: self.layer(x) @ self.layer.weight, layer=line())


@odd("containers of modules and parameters", ROWS, 3 * LINE, 48, 5 * LINE)
def containers() -> nn.Module:
    return Runs(
        lambda self, x: self.by_name["a"](x) @ self.listed[0] @ self.named["w"],
        by_name=nn.ModuleDict({"a": line()}),
        listed=nn.ParameterList([torch.randn(4, 4)]),
        named=nn.ParameterDict({"w": torch.randn(4, 4)}),
    )


@odd("plain tensors that want gradients", ROWS, 2 * LINE, 16, 3 * LINE)
def plain_tensors() -> nn.Module:
    plain, kept = torch.randn(4, 4, requires_grad=True), {"one": [torch.ones(())]}
    return Runs(lambda self, x: self.layer(x) @ self.plain * self.kept["one"][0], layer=line(), plain=plain, kept=kept)


# Recurrent layers: four (LSTM) or three (GRU) gates of (inputs + hidden) x hidden each step.

STEPS, HIDDEN = 5, 6


@odd(
    "LSTM, two layers, both ways",
    torch.zeros(2, STEPS, 4),
    2 * STEPS * 4 * HIDDEN * 2 * ((4 + HIDDEN) + (2 * HIDDEN + HIDDEN)),
    4 * HIDDEN * 2 * ((4 + HIDDEN + 2) + (3 * HIDDEN + 2)),
    2 * 2 * STEPS * 4 * HIDDEN * 2 * ((4 + HIDDEN) + (2 * HIDDEN + HIDDEN)),
)
def lstm() -> nn.Module:
    return nn.LSTM(4, HIDDEN, 2, batch_first=True, bidirectional=True)


@odd(
    "LSTM with a projection",
    torch.zeros(STEPS, 2, 4),
    2 * STEPS * (4 * HIDDEN * (4 + 3) + HIDDEN * 3),
    4 * HIDDEN * (4 + 3 + 2) + HIDDEN * 3,
    2 * 2 * STEPS * (4 * HIDDEN * (4 + 3) + HIDDEN * 3),
)
def projected() -> nn.Module:
    return nn.LSTM(4, HIDDEN, proj_size=3)


@odd(
    "GRU without a batch",
    torch.zeros(STEPS, 4),
    STEPS * 3 * HIDDEN * (4 + HIDDEN),
    3 * HIDDEN * (4 + HIDDEN + 2),
    2 * STEPS * 3 * HIDDEN * (4 + HIDDEN),
)
def gru() -> nn.Module:
    return nn.GRU(4, HIDDEN)


@odd(
    "LSTM on a packed sequence",
    torch.zeros(3, STEPS, 4),
    (5 + 3 + 1) * 4 * HIDDEN * (4 + HIDDEN),
    4 * HIDDEN * (4 + HIDDEN + 2),
    2 * (5 + 3 + 1) * 4 * HIDDEN * (4 + HIDDEN),  # as of one that is not packed: fused kernels compute all gradients
    device="cpu",
)
def packed() -> nn.Module:
    def run(self: Any, x: torch.Tensor) -> torch.Tensor:
        sequence = rnn.pack_padded_sequence(x, torch.tensor([5, 3, 1]), batch_first=True)
        return rnn.pad_packed_sequence(self.lstm(sequence)[0], batch_first=True)[0]

    return Runs(run, lstm=nn.LSTM(4, HIDDEN))


@odd(
    "a loop of cells",
    torch.zeros(STEPS, 2, 4),
    2 * STEPS * 3 * HIDDEN * (4 + HIDDEN),
    3 * HIDDEN * (4 + HIDDEN + 2),
    2 * 3 * HIDDEN * (STEPS * 4 + STEPS * HIDDEN + (STEPS - 1) * HIDDEN),
)
def cells() -> nn.Module:
    def run(self: Any, x: torch.Tensor) -> torch.Tensor:
        state = x.new_zeros(x.shape[1], HIDDEN)
        for step in x:
            state = self.cell(step, state)
        return state

    return Runs(run, cell=nn.GRUCell(4, HIDDEN))


# Complex numbers: one multiply-accumulate of complex numbers is four of real ones.


@odd("complex weights", torch.zeros(3, 4, dtype=torch.complex64), 4 * LINE, 16, 4 * LINE)
def complex_weights() -> nn.Module:
    return nn.Linear(4, 4, bias=False, dtype=torch.complex64)


@odd("a Fourier layer", torch.zeros(3, 4), 4 * 3 * 3 * 3, 9, 4 * 3 * 3 * 3)
def fourier() -> nn.Module:
    def run(self: Any, x: torch.Tensor) -> torch.Tensor:
        return torch.fft.irfft(torch.fft.rfft(x) @ self.weight, n=4)

    return Runs(run, weight=nn.Parameter(torch.randn(3, 3, dtype=torch.complex64)))


# Code that asks for values.


@odd("a branch on data", ROWS, LINE, 32, LINE, device="cpu")
def branch() -> nn.Module:
    return Runs(lambda self, x: self.one(x) if x.sum() > 1e9 else self.two(x), one=line(), two=line())


@odd(".item()", ROWS, LINE, 16, LINE, device="cpu")
def item() -> nn.Module:
    return Runs(lambda self, x: self.layer(x) * x.sum().item(), layer=line())


@odd("a shape that depends on data", torch.ones(3, 4, dtype=torch.bool), LINE, 16, LINE)
def shape_of_data() -> nn.Module:
    return Runs(lambda self, mask: self.layer(torch.ones(int(mask[:, 0].sum()), 4)), layer=line())


@odd("a loop until it is small", ROWS, 2 * LINE, 16, 3 * LINE, device="cpu")
def until_small() -> nn.Module:
    def run(self: Any, x: torch.Tensor) -> torch.Tensor:
        x = self.layer(x) * 0 + 4
        while x.abs().max() > 1:
            x = self.layer(x) * 0
        return x

    return Runs(run, layer=line())


# Code that is not a plain forward.


@odd("hooks of its own", ROWS, 2 * LINE, 16, 2 * LINE)
def hooked() -> nn.Module:
    model, seen = line(), []
    model.register_forward_pre_hook(lambda module, args: (args[0] + 1,))
    model.register_forward_hook(lambda module, args, result: result @ torch.eye(4))
    model.register_full_backward_hook(lambda module, *gradients: seen.append(gradients))
    return nn.Sequential(model)


class Double(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x, weight)
        return x @ weight

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:  # type: ignore[override]
        x, weight = ctx.saved_tensors
        return gradient @ weight.mT @ weight @ weight.mT, x.mT @ gradient  # two products more than are needed


@odd("an autograd function of one's own", ROWS, 2 * LINE, 32, LINE + 4 * LINE)
def own_function() -> nn.Module:
    return Runs(
        lambda self, x: Double.apply(self.layer(x), self.weight), layer=line(), weight=nn.Parameter(torch.randn(4, 4))
    )


@odd("a checkpoint", ROWS, 2 * LINE, 32, LINE + 3 * LINE)  # what the last layer needs is there before it runs again
def checkpointed() -> nn.Module:
    return Runs(lambda self, x: checkpoint(self.inner, x, use_reentrant=False), inner=nn.Sequential(line(), line()))


@odd("traced and scripted parts", ROWS, 2 * LINE, 32, 3 * LINE)
def scripted() -> nn.Module:
    return nn.Sequential(torch.jit.trace(line(), ROWS), torch.jit.script(line()))


@odd("a compiled part", ROWS, 2 * LINE, 32, 3 * LINE)
def compiled() -> nn.Module:
    return nn.Sequential(torch.compile(line()), line())


@odd("a data-parallel wrapper", ROWS, LINE, 16, LINE)
def parallel() -> nn.Module:
    return nn.Sequential(nn.DataParallel(line()))


@odd("vmap over an ensemble", ROWS, 5 * LINE, 80, 5 * LINE)
def ensemble() -> nn.Module:
    return Runs(
        lambda self, x: torch.func.vmap(lambda weight: x @ weight)(self.weights),
        weights=nn.Parameter(torch.randn(5, 4, 4)),
    )


@odd("functional_call", ROWS, 2 * LINE, 16, 3 * LINE)
def called_functionally() -> nn.Module:
    def run(self: Any, x: torch.Tensor) -> torch.Tensor:
        doubled = {name: 2 * tensor for name, tensor in self.layer.named_parameters()}
        return self.layer(torch.func.functional_call(self.layer, doubled, (x,)))

    return Runs(run, layer=line())


@odd("a Jacobian in forward", ROWS, LINE + 4 * 3 * 16, 16, 4 * LINE)
def jacobian() -> nn.Module:
    def run(self: Any, x: torch.Tensor) -> torch.Tensor:
        return torch.func.vmap(torch.func.jacrev(lambda row: row @ self.weight))(x)

    return Runs(run, weight=nn.Parameter(torch.randn(4, 4)))


@odd("copies itself in forward", ROWS, 2 * LINE, 16, 3 * LINE)
def copies() -> nn.Module:
    return Runs(lambda self, x: copy.deepcopy(self.layer)(self.layer(x)), layer=line())


class OwnCall(nn.Linear):
    def __call__(self, x: torch.Tensor, twice: bool = True) -> torch.Tensor:
        return super().__call__(super().__call__(x)) if twice else super().__call__(x)


@odd("a __call__ of its own", ROWS, 2 * LINE + LINE, 32, LINE + 2 * 2 * LINE)
def own_call() -> nn.Module:
    return Runs(
        lambda self, x: self.b(self.a(x), twice=False), a=OwnCall(4, 4, bias=False), b=OwnCall(4, 4, bias=False)
    )


class Slotted(nn.Module):
    __slots__ = ("_scale", "extra")

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.extra, self._scale = line(), torch.ones(4), 2.0

    @property
    def scale(self) -> float:
        return self._scale

    @scale.setter
    def scale(self, value: float) -> None:
        self._scale = value

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.scale = self.scale * 2
        return self.layer(x) * self.extra * self.scale


@odd("slots and properties", ROWS, LINE, 16, LINE)
def slotted() -> nn.Module:
    return Slotted()


@odd("locks and generators", ROWS, LINE, 16, LINE)
def not_copied() -> nn.Module:
    def run(self: Any, x: torch.Tensor) -> torch.Tensor:
        with self.lock:
            return self.layer(x)

    return Runs(
        run,
        layer=line(),
        lock=threading.Lock(),
        numbers=(i for i in range(3)),
        random=torch.Generator(),
        opened=open(__file__),
    )


@odd("in-place ops and views", torch.zeros(2, 3, 4), 2 * LINE, 16, 2 * LINE)
def in_place() -> nn.Module:
    def run(self: Any, x: torch.Tensor) -> torch.Tensor:
        x = self.layer(x)
        x[:, 0].mul_(2)
        x.transpose(1, 2).add_(1)
        return x.view(-1).relu_()

    return Runs(run, layer=line())


# Layouts.


@odd("a sparse mask", torch.zeros(4, 4), 4 * 4 * 4, 16, 4 * 4 * 4, complete=False)
def sparse() -> nn.Module:
    return Runs(lambda self, x: torch.sparse.mm(torch.eye(4).to_sparse(), self.layer(x)), layer=line())


# Results.


@dataclass
class Result:
    loss: torch.Tensor
    extra: dict[str, Any]
    nothing: None = None


@odd("a dataclass", ROWS, LINE, 16, LINE)
def result() -> nn.Module:
    return Runs(lambda self, x: Result(self.layer(x).sum(), {"x": [x, None]}), layer=line())


@odd(
    "tokens, a mask and a mode by name",
    {"ids": "int64[2,3]>=1<9", "mask": "bool[2,3]>=1<2", "mode": "'double'", "none": None},
    6 * 4 * 4,
    36 + 16,
    2 * 6 * 4 * 4,
)
def keywords() -> nn.Module:
    def run(self: Any, ids: torch.Tensor, mask: torch.Tensor, mode: str, none: None) -> torch.Tensor:
        assert bool(mask.all()), "masks are read"
        assert int(ids.min()) >= 1, "so are tokens"
        assert (mode, none) == ("double", None)
        return self.layer(self.table(ids)) * mask[..., None]

    return Runs(run, table=nn.Embedding(9, 4), layer=line())


@odd(
    "a nested batch", {"batch": {"image": "3x4", "parts": [(2, 3, 4), None]}}, 2 * 3 * 16 + LINE, 16, 2 * 3 * 16 + LINE
)
def nested_batch() -> nn.Module:
    def run(self: Any, batch: Any) -> Any:
        return {
            "parts": [self.layer(batch["parts"][0])],
            "image": self.layer(batch["image"]),
            "none": batch["parts"][1],
        }

    return Runs(run, layer=line())


# Quantised.


@odd("dynamically quantised", ROWS, 0, 16, 0, device="cpu", complete=False)
def dynamic() -> nn.Module:
    return torch.ao.quantization.quantize_dynamic(nn.Sequential(line()), {nn.Linear})


@odd("integer products", torch.zeros(3, 4, dtype=torch.int8), LINE, 0, 0)
def integers() -> nn.Module:
    return Runs(lambda self, x: x.int() @ self.weight.int(), weight=torch.ones(4, 4, dtype=torch.int8))


@odd("a softmax that half precision refuses", ROWS, LINE, 16, LINE)
def half() -> nn.Module:
    return Runs(lambda self, x: functional.softmax(self.layer(x), -1, dtype=torch.float64), layer=line())
