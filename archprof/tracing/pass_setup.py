"""What a model is set to for a pass."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from archprof.errors import UsageError
from archprof.facts.request import PassRequest
from archprof.torchside.autocast import PassAutocast, prepare_rules
from archprof.torchside.meta_kernels import forget_kernels
from archprof.torchside.module_walk import walk_modules
from archprof.torchside.tensors import dtype_name, tensors_in


def find_pass_dtype(model: nn.Module) -> str:
    """The dtype the pass runs in: that of the first floating parameter or buffer."""
    for tensor in itertools.chain(model.parameters(), model.buffers()):
        if tensor.is_floating_point():
            return dtype_name(tensor.dtype)
    return "float32"


def set_train_flags(model: nn.Module, train: bool) -> None:
    """Evaluation, or training with the flags the user set (a frozen batch norm stays frozen)."""
    if train:
        if not model.training:
            model.train()
        return
    modules = [module for _, module in walk_modules(model)]
    kinds: set[Any] = {type(module) for module in modules}
    if any(kind.train is not nn.Module.train or kind.eval is not nn.Module.eval for kind in kinds):
        model.eval()  # some class does more than set the flag
        return
    for module in modules:
        module.__dict__["training"] = False  # what `eval` does, only faster


def open_autocast(request: PassRequest, device: str) -> PassAutocast:
    """Autocast for a pass over tensors on a device; where it is asked for, the device is that of the rules."""
    return PassAutocast(request.amp_device, on_meta=device == "meta", asked=request.amp is not None)


@contextmanager
def open_surroundings(request: PassRequest) -> Iterator[None]:
    """Around a pass: kernels go with it, and torch's compiler is not woken where blocks are to be checkpointed."""
    with forget_kernels():
        if not request.checkpoint:
            yield
            return
        from archprof.tracing.checkpoints import compiler_asleep

        with compiler_asleep():
            yield


def check_autocast(request: PassRequest, name: str, model: nn.Module, inputs: Any) -> None:
    """Raise `UsageError` where autocast is asked for and has nothing to cast, or what `prepare_rules` raises."""
    if request.amp is None:
        return
    prepare_rules(request.amp_device)
    tensors = itertools.chain(model.parameters(), model.buffers(), tensors_in(inputs))
    if not any(one.is_floating_point() and one.dtype != torch.float64 for one in tensors):
        raise UsageError(
            f"{name} has nothing for autocast to cast.", "It casts float32 and narrower.", "Leave out amp."
        )
