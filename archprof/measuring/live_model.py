"""The live model that is measured: a copy of its own, with random inputs, on a device."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, Literal

import torch
from torch import nn

from archprof.errors import ArchprofError
from archprof.facts.request import ON_CPU, MeasureRequest, PassRequest
from archprof.sources.inputs import make_input_tensors, map_tensors
from archprof.sources.target import Target
from archprof.torchside.held_weights import fill_lazy_weights
from archprof.torchside.stand_in import make_stand_in
from archprof.torchside.tensors import find_own_loss, tensors_in

PassStage = Literal["outside", "forward", "backward", "optimizer", "end"]
"""The parts of a pass; "outside" is what a training step does beside them: clearing gradients, the loss."""

StageListener = Callable[[PassStage, torch.Tensor | None], None]
"""Told that a stage begins; with "backward" comes the loss."""

TRAINING_NOTE = (
    "A training step is forward, loss, backward and one step of SGD. The loss is {loss}; the step has length zero, "
    "which is the same work and leaves the weights as they are. (outside modules) is the loss and clearing gradients."
)


def _ignore(stage: PassStage, loss: torch.Tensor | None) -> None:
    """Nobody wants to know."""


class LiveModel:
    """A model, its inputs, and how one pass is run.

    Attributes:
        model: a copy that is ours: its weights, flags and hooks may change.
        args, kwargs: the same tensors in every pass, random and on the device.
        train: a pass is a training step and no forward alone.
        compiled: passes run what `torch.compile` made of the model.
        gradients: they are on in a forward, which asks for some.
        autocast: what gives the context that a forward runs in, as a training loop puts it around the model alone.
        notes: what the reader must know of the pass.
    """

    def __init__(
        self, target: Target, request: PassRequest, how: MeasureRequest = ON_CPU, *, gradients: bool = False
    ) -> None:
        """Args: `request` names the dtype of the pass."""
        self.train, self.compiled, self.gradients = request.train, how.compiled, gradients
        self.autocast: Callable[[], AbstractContextManager[Any]] = nullcontext
        if request.amp:
            self.autocast = partial(torch.autocast, how.device, getattr(torch, request.amp))
        dtype = str(request.dtype)
        self.notes: list[str] = []
        self.model = _make_live_copy(target, how.device, getattr(torch, dtype))
        _set_train_flags(self.model, self.train)
        self.args, self.kwargs = (
            _move_inputs(
                make_input_tensors(tree, device="cpu", batch=request.batch, dtype=dtype), how.device, how.channels_last
            )
            for tree in (target.args, target.kwargs)
        )
        fill_lazy_weights(self.model, self.args, self.kwargs)
        if how.channels_last:
            self.model = self.model.to(memory_format=torch.channels_last)
        self.callable_model: Callable[..., Any] = torch.compile(self.model) if self.compiled else self.model
        self.optimizer = _make_optimizer(self.model, target.name) if self.train else None

    def run_pass(self, begins: StageListener = _ignore) -> None:
        """One pass. What it made is gone before "end" begins."""
        if self.optimizer is None:
            self._run_forward(begins)
        else:
            self._run_training_step(self.optimizer, begins)
        begins("end", None)

    def drop_gradients(self) -> None:
        """Drop the gradients that the last pass left."""
        if self.optimizer is not None:
            self.optimizer.zero_grad(set_to_none=True)

    def _run_forward(self, begins: StageListener) -> None:
        with torch.set_grad_enabled(self.gradients):
            begins("forward", None)
            with self.autocast():
                self.callable_model(*self.args, **self.kwargs)

    def _run_training_step(self, optimizer: torch.optim.Optimizer, begins: StageListener) -> None:
        with torch.enable_grad():
            begins("outside", None)
            optimizer.zero_grad(set_to_none=True)
            begins("forward", None)
            with self.autocast():
                output = self.callable_model(*self.args, **self.kwargs)
            begins("outside", None)
            loss = self._find_loss(output)
            begins("backward", loss)
            loss.backward()  # type: ignore[no-untyped-call]
            begins("optimizer", None)
            optimizer.step()

    def _find_loss(self, output: Any) -> torch.Tensor:
        """What the model calls its loss, else the sum of the means of its outputs."""
        own = find_own_loss(output)
        if not self.notes:
            words = "the sum of the means of the outputs" if own is None else "the one that the model returns"
            self.notes.append(TRAINING_NOTE.format(loss=words))
        if own is not None:
            return own  # type: ignore[no-any-return]
        means = [tensor.mean() for tensor in tensors_in(output) if tensor.requires_grad and tensor.is_floating_point()]
        if not means:
            raise ArchprofError("No output depends on a trainable parameter: there is no training step to measure.")
        return torch.stack(means).sum() if len(means) > 1 else means[0]


def _make_live_copy(target: Target, device: str, dtype: torch.dtype) -> nn.Module:
    """A copy of the target's model with real tensors on the device."""
    if target.rebuild is None:
        return make_stand_in(target.model, device=device, dtype=dtype)
    built = target.rebuild()
    if device == "cpu":
        return built.to(dtype)  # already ours: no second copy
    return make_stand_in(built, device=device, dtype=dtype)


def _set_train_flags(model: nn.Module, train: bool) -> None:
    """Evaluation, or training with the flags the user set, as the trace does."""
    if not train:
        model.eval()
    elif not model.training:
        model.train()


def _make_optimizer(model: nn.Module, name: str) -> torch.optim.Optimizer:
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not trainable:
        raise ArchprofError(f"{name} has no trainable parameter: there is no training step to measure.")
    return torch.optim.SGD(trainable, lr=0.0)


def _move_inputs(tree: Any, device: str, channels_last: bool) -> Any:
    """The same tree with its tensors on the device, images as channels last where that is asked for."""

    def move(tensor: torch.Tensor) -> torch.Tensor:
        image = channels_last and tensor.dim() == 4 and tensor.is_floating_point()
        return tensor.to(device, memory_format=torch.channels_last if image else torch.preserve_format)

    return map_tensors(tree, move)
