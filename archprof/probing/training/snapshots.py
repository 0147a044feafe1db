"""What is looked at between epochs: the gradients of one batch, and the filters of the first convolution."""

from __future__ import annotations

import copy
from typing import Any

from torch import nn

from archprof.facts.trained import Flow, FlowPoint
from archprof.probing.data.batches import Batch
from archprof.probing.gradients import measure_norm
from archprof.probing.loss import LossFunction
from archprof.probing.run import ProbedStep

MAX_FILTERS = 64
"""An 8x8 grid of them."""

KEPT_DIGITS = 6
"""Significant digits of a filter's weight: a picture shows fewer."""


def measure_flow(model: nn.Module, batch: Batch, epoch: int, loss: LossFunction | None) -> Flow:
    """The gradients of a copy on one batch, by weights in the order of the first calls of their owners."""
    twin = copy.deepcopy(model).train()
    step = ProbedStep(twin, [batch], loss)
    step.run()
    order: dict[str, int] = {}
    for path, _ in step.watch.by_call:
        order.setdefault(path, len(order))
    named = [(name, one) for name, one in twin.named_parameters() if one.dim() > 1 and one.requires_grad]
    named.sort(key=lambda item: order.get(item[0].rpartition(".")[0], -1))
    points = tuple(
        FlowPoint(name, None if one.grad is None else measure_norm(one.grad), measure_norm(one.detach()))
        for name, one in named
    )
    rows = [(path, found.record(0).std) for (path, number), found in step.watch.by_call.items() if not number]
    leaves = {path for path, module in twin.named_modules() if not any(module.children())}
    return Flow(epoch, points, tuple((path, std) for path, std in rows if std is not None and path in leaves))


def find_first_convolution(model: nn.Module) -> tuple[str, nn.Conv2d] | None:
    """The first convolution of images by its place in the model; `None` without one."""
    return next(((path, one) for path, one in model.named_modules() if isinstance(one, nn.Conv2d)), None)


def copy_filters(layer: nn.Conv2d) -> tuple[Any, ...]:
    """The first filters as nested tuples."""
    return _round(layer.weight.detach()[:MAX_FILTERS].double().cpu().tolist())  # type: ignore[no-any-return]


def _round(value: Any) -> Any:
    return tuple(map(_round, value)) if isinstance(value, list) else float(f"{value:.{KEPT_DIGITS}g}")
