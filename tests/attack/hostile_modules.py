"""Modules that nobody writes and somebody does: state in odd places, rules of Python turned, tensors of odd kinds.

Each is a net around `nn.Linear(4, 4)` of which one call for a batch of 2 is 32 MACs.
"""

from __future__ import annotations

import copy
import functools
import gc
import random
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, spectral_norm, weight_norm

ONE = 2 * 4 * 4
NORM = 4 * 4 + 4
"""Of u W v; two more products with W make a better u and v in training."""

X = torch.randn(2, 4)


class Hostile(NamedTuple):
    """A module that is made anew, the MACs of its forward by hand and, where they are others, in training.

    `None`: it may be refused, or its MACs be a lower bound.
    """

    make: Callable[[], nn.Module]
    macs: int | None = ONE
    trained: int | None = None


class Base(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.l = nn.Linear(4, 4)

    def forward(self, x: Any) -> Any:
        return self.l(x)


def make_closure() -> nn.Module:
    seen: list[int] = []

    class Closure(Base):
        def forward(self, x: Any) -> Any:
            seen.append(len(seen))
            return self.l(x) * (1 if len(seen) < 50 else float("nan"))

    return Closure()


class HoldsWeakly(Base):
    def __init__(self) -> None:
        super().__init__()
        object.__setattr__(self, "weak", weakref.ref(self.l))
        self.by_layer: Any = weakref.WeakKeyDictionary({self.l: [0]})

    def forward(self, x: Any) -> Any:
        layer = self.weak()
        self.by_layer.get(layer, [0])[0] += 1
        return layer(x)


class CountsByProperty(Base):
    count = 0

    @property
    def scale(self) -> float:
        self.count += 1
        return 1.0

    def forward(self, x: Any) -> Any:
        return self.l(x) * self.scale


class AnswersAll(Base):
    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name.startswith("__") or name.endswith("_"):
                raise
            return 1.0

    def forward(self, x: Any) -> Any:
        return self.l(x) * self.anything


class CopiesItself(Base):
    """Its copy is itself, so that what a copy learns the original learns."""

    def __deepcopy__(self, memo: Any) -> Any:
        return self

    def forward(self, x: Any) -> Any:
        self.count = getattr(self, "count", 0) + 1
        return self.l(x)


class CopiesAnother(Base):
    def __deepcopy__(self, memo: Any) -> Any:
        return nn.Linear(9, 9)


class Mourns(Base):
    died: list[int] = []  # noqa: RUF012

    def __del__(self) -> None:
        Mourns.died.append(id(self))


class Meta(type):
    made = 0

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        Meta.made += 1
        return super().__call__(*args, **kwargs)


class OfMeta(Base, metaclass=Meta):
    def forward(self, x: Any) -> Any:
        return type(self).mro()[1].forward(self, x)


def count() -> Iterator[int]:
    number = 0
    while True:
        yield number
        number += 1


class HoldsGenerator(Base):
    def __init__(self) -> None:
        super().__init__()
        self.numbers = count()

    def forward(self, x: Any) -> Any:
        return self.l(x) + next(self.numbers)


class CallsInThreads(Base):
    def forward(self, x: Any) -> Any:
        found: list[Any] = []
        thread = threading.Thread(target=lambda: found.append(self.l(x)))
        thread.start()
        thread.join()
        return found[0]


class Throws(Base):
    def forward(self, x: Any) -> Any:
        torch.manual_seed(random.randrange(99))
        return self.l(x) + torch.rand(4, device=x.device)


class RemovesHooks(Base):
    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []
        self.handle = self.l.register_forward_hook(self.once)
        self.pre = self.register_forward_pre_hook(self.first)

    def once(self, *_: Any) -> None:
        self.calls.append("once")
        self.handle.remove()

    def first(self, *_: Any) -> None:
        self.pre.remove()


class Doubles(nn.Module):
    def forward(self, weight: Any) -> Any:
        return weight * 2


def register_doubling(layer: nn.Module) -> None:
    parametrize.register_parametrization(layer, "weight", Doubles())


def parametrized(how: Callable[[nn.Module], Any]) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        net = Base()
        how(net.l)
        return net

    return make


class MovesItself(Base):
    def forward(self, x: Any) -> Any:
        self.to(torch.float32)
        self.l.to(x.device)
        return self.l(x)


class HalvesItself(Base):
    def forward(self, x: Any) -> Any:
        return self.double().l(x.double())


class WritesInput(Base):
    def forward(self, x: Any) -> Any:
        x.mul_(2)
        x.t_().t_()
        return self.l(x)


class ResizesInput(Base):
    def forward(self, x: Any) -> Any:
        x.data = torch.zeros(2, 4, device=x.device)
        return self.l(x)


class Remembers(torch.autograd.Function):
    seen: list[Any] = []  # noqa: RUF012

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        Remembers.seen.append(x)
        ctx.shape = x.shape
        return x.clone()

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        Remembers.seen.append(grad)
        return grad


class UsesFunction(Base):
    def forward(self, x: Any) -> Any:
        return Remembers.apply(self.l(x))


class HoldsViews(Base):
    """Two weights in one storage, and a buffer that is a view of a weight."""

    def __init__(self) -> None:
        super().__init__()
        store = torch.randn(40)
        self.l.weight = nn.Parameter(store[:16].view(4, 4))
        self.other = nn.Parameter(store[8:24].view(4, 4))
        self.register_buffer("view", self.l.weight.data[0])

    def forward(self, x: Any) -> Any:
        with torch.no_grad():
            self.view.add_(1)
        return self.l(x) @ self.other


class CachesProperty(Base):
    @functools.cached_property
    def scale(self) -> Any:
        return self.l.weight.sum()

    def forward(self, x: Any) -> Any:
        return self.l(x) * self.scale


class MakesLayers(Base):
    """A layer that is made in the first forward."""

    def forward(self, x: Any) -> Any:
        if not hasattr(self, "late"):
            self.late = nn.Linear(4, 4, device=x.device)
        return self.late(self.l(x))


class SwapsLayers(Base):
    def forward(self, x: Any) -> Any:
        y = self.l(x)
        self.l = nn.Linear(4, 4, device=x.device)
        return y


class CollectsGarbage(Base):
    def forward(self, x: Any) -> Any:
        gc.collect()
        gc.disable()
        return self.l(x)


class Copies(Base):
    def forward(self, x: Any) -> Any:
        return copy.deepcopy(self.l)(x)


class SetsDefaults(Base):
    def forward(self, x: Any) -> Any:
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)
        torch.backends.cudnn.benchmark = not torch.backends.cudnn.benchmark
        torch.use_deterministic_algorithms(True)
        return self.l(x)


class Complex(Base):
    def forward(self, x: Any) -> Any:
        return self.l(torch.fft.ifft(torch.fft.fft(x)).real)


class Sparse(Base):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("graph", torch.eye(2).to_sparse())

    def forward(self, x: Any) -> Any:
        return torch.sparse.mm(self.graph, self.l(x))


class Quantized(Base):
    def forward(self, x: Any) -> Any:
        return torch.fake_quantize_per_tensor_affine(self.l(x), 0.1, 0, 0, 255)


class HooksTensors(Base):
    def forward(self, x: Any) -> Any:
        y = self.l(x)
        if y.requires_grad:
            y.register_hook(lambda grad: grad * 2)
            self.l.weight.register_hook(lambda grad: grad)
        return y


class ChangesClass(Base):
    def forward(self, x: Any) -> Any:
        self.__class__ = Base
        return self.l(x)


def make_lazy() -> nn.Module:
    return nn.Sequential(nn.LazyLinear(4), nn.LazyBatchNorm1d())


def make_compiled() -> nn.Module:
    net = Base()
    net.l = torch.compile(net.l, backend="eager")  # type: ignore[assignment]
    return net


def make_scripted() -> nn.Module:
    net = Base()
    net.l = torch.jit.script(net.l)
    return net


class Slots(Base):
    __slots__ = ("extra",)

    def forward(self, x: Any) -> Any:
        self.extra = getattr(self, "extra", 0) + 1
        return self.l(x)


HOSTILE: dict[str, Hostile] = {
    "state in a closure": Hostile(make_closure),
    "weak references": Hostile(HoldsWeakly),
    "a property that counts": Hostile(CountsByProperty),
    "an answer to every name": Hostile(AnswersAll),
    "a copy that is itself": Hostile(CopiesItself),
    "a copy that is another": Hostile(CopiesAnother),
    "an end that is told": Hostile(Mourns),
    "a class of classes": Hostile(OfMeta),
    "a generator": Hostile(HoldsGenerator, None),
    "threads": Hostile(CallsInThreads),
    "global dice": Hostile(Throws),
    "hooks that go": Hostile(RemovesHooks),
    "a parametrization": Hostile(parametrized(register_doubling)),
    "weight_norm of old": Hostile(parametrized(weight_norm)),
    "weight_norm": Hostile(parametrized(parametrizations.weight_norm)),
    "spectral_norm of old": Hostile(parametrized(spectral_norm), ONE + NORM, ONE + NORM + 2 * 4 * 4),
    "spectral_norm": Hostile(parametrized(parametrizations.spectral_norm), ONE + NORM, ONE + NORM + 2 * 4 * 4),
    "orthogonal": Hostile(parametrized(parametrizations.orthogonal), None),
    "lazy layers": Hostile(make_lazy),
    "a compiled layer": Hostile(make_compiled),
    "a scripted layer": Hostile(make_scripted, None),
    "views of weights": Hostile(HoldsViews, 2 * ONE),
    "a move in forward": Hostile(MovesItself),
    "another dtype in forward": Hostile(HalvesItself),
    "an input that is written": Hostile(WritesInput),
    "an input that is replaced": Hostile(ResizesInput),
    "a function with state": Hostile(UsesFunction),
    "a cached property": Hostile(CachesProperty),
    "a layer made in forward": Hostile(MakesLayers, 2 * ONE),
    "a layer swapped in forward": Hostile(SwapsLayers),
    "garbage": Hostile(CollectsGarbage),
    "a copy in forward": Hostile(Copies),
    "defaults of torch": Hostile(SetsDefaults, None),
    "complex numbers": Hostile(Complex),
    "a sparse buffer": Hostile(Sparse, None),
    "quantized": Hostile(Quantized, None),
    "hooks on tensors": Hostile(HooksTensors),
    "a class that changes": Hostile(ChangesClass),
    "slots": Hostile(Slots),
}
