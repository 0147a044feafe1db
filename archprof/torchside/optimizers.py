"""Optimizers of torch.optim on tensors without values: they take the kernels that they would take on CUDA."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch.optim import Optimizer

from archprof.errors import UnknownName
from archprof.torchside.private import COMPILER_ENTRY, OPTIMIZER_DEVICES, MissingName

TRACED_DEVICES = ("meta", "cpu")


def find_optimizer_class(name: str) -> type[Optimizer]:
    """The class of torch.optim of that name, in capitals or not.

    Raises:
        UnknownName: there is none.
    """
    kinds = [each for each in vars(torch.optim).values() if isinstance(each, type) and issubclass(each, Optimizer)]
    found = {kind.__name__.lower(): kind for kind in kinds if kind is not Optimizer}
    if name.lower() not in found:
        raise UnknownName("optimizer in torch.optim", name, [kind.__name__ for kind in found.values()])
    return found[name.lower()]


def make_optimizer(kind: type[Optimizer], parameters: Iterable[torch.Tensor], options: Mapping[str, Any]) -> Optimizer:
    """An optimizer of these parameters, made without an import of torch's compiler."""
    own = getattr(Optimizer.add_param_group, "__wrapped__", None)
    if own is None or "torch._dynamo" in sys.modules or hasattr(own, COMPILER_ENTRY):
        return kind(list(parameters), **options)
    setattr(own, COMPILER_ENTRY, own)
    try:
        return kind(list(parameters), **options)
    finally:
        delattr(own, COMPILER_ENTRY)


def run_optimizer_step(optimizer: Optimizer) -> None:
    """One step as torch runs it on CUDA, without the hooks and the compiler's marks around it."""
    with torch.set_grad_enabled(optimizer.defaults.get("differentiable") is True), _kernels_of_cuda(type(optimizer)):
        inspect.unwrap(type(optimizer).step)(optimizer)


@contextmanager
def _kernels_of_cuda(kind: type[Optimizer]) -> Iterator[None]:
    """Where torch asks whether a device can do what CUDA can, those that are traced can."""
    shared = vars(sys.modules[Optimizer.__module__])
    for name in OPTIMIZER_DEVICES:
        if name not in shared:
            raise MissingName(f"optim.optimizer.{name}", "trace an optimizer")
    places = {module: vars(sys.modules[module]) for module in {base.__module__ for base in kind.__mro__}}
    asked = [(place, name, place[name]) for place in places.values() for name in OPTIMIZER_DEVICES if name in place]
    for place, name, ask in asked:
        place[name] = partial(_add_traced_devices, ask)
    try:
        yield
    finally:
        for place, name, ask in asked:
            place[name] = ask


def _add_traced_devices(ask: Callable[..., list[str]], *args: Any, **kwargs: Any) -> list[str]:
    return [*ask(*args, **kwargs), *TRACED_DEVICES]
