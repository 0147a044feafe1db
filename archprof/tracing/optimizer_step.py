"""The step of the optimizer, traced twice behind the backward pass: as the first of a run, and as every later one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from archprof.errors import UsageError
from archprof.facts.records import Training
from archprof.facts.request import PassRequest
from archprof.sources.optimizer_grammar import parse_optimizer
from archprof.torchside.dispatch import DispatchMode
from archprof.torchside.optimizers import make_optimizer, run_optimizer_step
from archprof.torchside.tensors import tensors_in

if TYPE_CHECKING:
    from archprof.tracing.op_mode import OpMode
    from archprof.tracing.recorder import Recorder

LIST_OPS = ("_foreach_", "_fused_")
"""How the ops begin that do to each tensor of a list what others do to one."""

OTHER_RESULTS = ("_foreach_norm", "_foreach_max.", "_foreach_powsum", "_foreach_mm")
"""Those of them whose results are not as large as their operands."""

ANY_VALUE = 1.0
"""What an optimizer is told that asks a tensor without values: sizes do not depend on it."""


class OptimizerFailed(UsageError):
    """An optimizer cannot train this model, or cannot be traced."""


class OptimizerMode(DispatchMode):
    """Stands above the mode of the pass while an optimizer works."""

    def __init__(self, ops: OpMode) -> None:
        super().__init__()
        self.op_mode = ops

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, name, recorder = kwargs or {}, func.__name__, self.op_mode.recorder
        if name == "_local_scalar_dense.default" and args[0].is_meta:
            self.op_mode.record_answer(func, ANY_VALUE, args, kwargs)
            return ANY_VALUE
        for tensor in tensors_in(args):  # what a step makes of a number is its own, and no constant of the model
            if recorder.find_place(tensor)[1] is None:
                recorder.add_tensor(tensor, "temporary", born=len(recorder.recorded_ops))
        of = args[isinstance(args[0], float | int)] if name.startswith(LIST_OPS) else None  # behind a number
        if name.startswith(OTHER_RESULTS) or not _is_list_on_meta(of):
            return func(*args, **kwargs)
        with recorder.paused():
            result = None if name.partition(".")[0].endswith("_") else _make_results(args)
        self.op_mode.record_answer(func, result, args, kwargs)
        return result


def _is_list_on_meta(tensors: Any) -> bool:
    """Numbers, and lists of them, are none."""
    kinds = isinstance(tensors, list | tuple) and bool(tensors)
    return kinds and all(isinstance(tensor, torch.Tensor) and tensor.is_meta for tensor in tensors)


def _make_results(args: Any) -> list[torch.Tensor]:
    """Of each place in the lists one like the largest tensor there: the others are as large, or single numbers."""
    lists = [arg for arg in args if _is_list_on_meta(arg)]
    return [_make_like(max(tensors, key=torch.numel)) for tensors in zip(*lists, strict=True)]


def _make_like(tensor: torch.Tensor) -> torch.Tensor:
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=tensor.device)


class OptimizerSteps:
    """The optimizer of one pass.

    Raises:
        UsageError: there is no such optimizer, or it cannot be made for this model.
    """

    def __init__(self, model: nn.Module, request: PassRequest, name: str) -> None:
        self.request = request
        self.trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
        kind, options = parse_optimizer(str(request.optimizer))
        if not self.trainable:
            raise OptimizerFailed(f"{name} has no trainable parameter: there is nothing to train.")
        try:
            self.optimizer = make_optimizer(kind, model.parameters(), options)  # some make state of frozen ones, too
        except (TypeError, ValueError, RuntimeError) as error:
            raise OptimizerFailed(f"{request.optimizer} cannot train {name}: {str(error).rstrip('.')}.") from error

    def make_earlier_gradients(self, recorder: Recorder) -> None:
        """What passes before this one left: where several are accumulated, or gradients are set to zero and kept."""
        if self.request.accumulate > 1 or not self.request.set_to_none:
            with recorder.paused():
                for parameter in self.trainable:
                    parameter.grad = _make_like(parameter.detach())

    def run(self, ops: OpMode) -> Training:
        """Both steps, one after the other, on the same gradients."""
        recorder = ops.recorder
        for parameter in self.trainable:
            if parameter.grad is not None and recorder.find_place(parameter.grad)[1] is None:
                parameter.grad = None  # the backward did not come to it
        if all(parameter.grad is None for parameter in self.trainable):
            raise OptimizerFailed("The backward pass reaches no parameter: there is nothing to train.")
        for tensor in self._list_state():  # some classes make it when they are made
            recorder.add_tensor(tensor, "optimizer state")
        recorder.phase = "optimizer"
        first = len(recorder.recorded_ops)
        self._run_step(ops)
        steady = len(recorder.recorded_ops)
        self._run_step(ops)
        request = self.request
        return Training(str(request.optimizer), request.accumulate, request.set_to_none, first, steady)

    def _list_state(self) -> Iterable[torch.Tensor]:
        return tensors_in(list(self.optimizer.state.values()))

    def _run_step(self, ops: OpMode) -> None:
        try:
            with OptimizerMode(ops):
                run_optimizer_step(self.optimizer)
        except NotImplementedError:  # of a kernel on meta, perhaps: it may be tried with values
            raise
        except (TypeError, ValueError, RuntimeError, AssertionError) as error:
            raise OptimizerFailed(f"{self.request.optimizer} cannot make a step here: {error}") from error
        for tensor in self._list_state():
            ops.recorder.set_role(tensor, "optimizer state")
