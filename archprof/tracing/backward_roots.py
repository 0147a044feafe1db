"""Where a backward pass starts: the loss, or what a forward gave, in whatever it gave it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from archprof.torchside.held_tensors import find_held_tensors
from archprof.torchside.tensors import find_own_loss, tensors_in
from archprof.tracing.ops.shapes.strides import strides_of_copy


def find_backward_roots(output: Any) -> list[torch.Tensor]:
    """The tensors that a backward pass starts from: the loss, or every output with a gradient, in whatever holds it."""
    loss = find_own_loss(output)
    given = loss if tensors_in(loss) else output
    plain = [tensor for tensor in tensors_in(given) if tensor.requires_grad]
    return plain or [tensor for tensor in find_held_tensors(given) if tensor.grad_fn is not None]


def make_seed(root: torch.Tensor) -> torch.Tensor:
    """The gradient that a backward pass starts from: as dense as a loss gives it, and ones where there are values."""
    strides = strides_of_copy(root.shape, root.stride())
    seed = torch.empty_strided(root.shape, strides, dtype=root.dtype, device=root.device)
    return seed if seed.is_meta else seed.fill_(1)


def may_hide_tensors(output: Any) -> bool:
    """Whether an output holds an object in which no tensor is found, so that nobody knows what it came of."""
    if isinstance(output, list | tuple | set):
        return any(map(may_hide_tensors, output))
    if isinstance(output, dict):
        return any(map(may_hide_tensors, output.values()))
    plain = isinstance(output, torch.Tensor | str | bytes | int | float | complex | None)
    return not plain and not find_held_tensors(output)


def hide_gradients(outside: Iterable[tuple[nn.Parameter, int]], model: nn.Module) -> list[tuple[nn.Parameter, Any]]:
    """Real weights that are not of the model, such as a global one, and the gradients that each has again later."""
    own = set(map(id, model.parameters()))
    weights = [
        one for one, _ in outside if one.requires_grad and one.is_leaf and not one.is_meta and id(one) not in own
    ]
    hidden = [(weight, weight.grad) for weight in weights]
    for weight in weights:
        weight.grad = None
    return hidden
