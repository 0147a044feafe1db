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
from archprof.sources.target import Target
from archprof.torchside.autocast import PassAutocast, prepare_rules
from archprof.torchside.meta_kernels import forget_kernels
from archprof.torchside.module_walk import walk_modules
from archprof.torchside.stand_in import make_stand_in
from archprof.torchside.tensors import dtype_name, tensors_in
from archprof.tracing.strategy import TraceStrategy


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


def make_traced_model(target: Target, way: TraceStrategy, request: PassRequest, notes: list[str]) -> nn.Module:
    """What is run, with the blocks checkpointed that are to be."""
    model = _make_plain_model(target, way, getattr(torch, request.dtype) if request.dtype else None, notes)
    if request.checkpoint:
        from archprof.tracing.checkpoints import checkpoint_blocks

        checkpoint_blocks(model, request.checkpoint, target.name)
    return model


def _make_plain_model(target: Target, way: TraceStrategy, dtype: torch.dtype | None, notes: list[str]) -> nn.Module:
    """The target's model itself where it is ours, and a twin of it where it is not, or needs values."""
    if way.device == "cpu":
        source = target.rebuild() if target.rebuild else target.model
        return make_stand_in(source, device="cpu", dtype=dtype, notes=notes)
    if not target.owned:
        return make_stand_in(target.model, dtype=dtype, hooks=way.hooks, notes=notes)
    return target.model if dtype is None else target.model.to(dtype)
