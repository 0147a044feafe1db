"""Gradients that a forward asks for itself, as force fields do: their work is a part of the forward.

It belongs to the layers as a backward pass of training does: a node of autograd to the row whose forward made it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch

from archprof.torchside.dispatch import open_to_mode
from archprof.torchside.private import find_running_node, grad_switch, node_number
from archprof.torchside.tensors import tensors_in
from archprof.tracing.calls import Calls
from archprof.tracing.real_values import to_meta

Tensor = torch.Tensor

GRADIENT_RUNS: dict[Callable[..., Any], Callable[..., Any]] = {
    function: open_to_mode(function) for function in (torch.autograd.grad, torch.autograd.backward, Tensor.backward)
}
"""The functions that run autograd's nodes, and what to call instead to see the functions that run in these."""

READ_NODE: Callable[..., Any] = cast("Any", Tensor).grad_fn.__get__

GRADIENT_USES = frozenset(
    (Tensor.register_hook, Tensor.register_post_accumulate_grad_hook, Tensor.retain_grad, READ_NODE)
)
"""What else asks of a tensor that it has a gradient."""

SEED_NAMES = frozenset(("grad_outputs", "grad_tensors", "grad_variables", "gradient"))
"""What the gradients are called that `GRADIENT_RUNS` begin with."""

GRADIENT_FUNCTIONS = frozenset((*GRADIENT_RUNS, *GRADIENT_USES, *[grad_switch] * (grad_switch is not None)))


def call_gradient_function(calls: Calls, func: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Any:
    """Call one of `GRADIENT_FUNCTIONS`; what has no gradient to give, since the pass goes without, is noted."""
    if func is grad_switch:
        if args[0]:
            calls.watch_nodes()
        return func(*args, **kwargs)
    try:
        result = _run_nodes(calls, func, args, kwargs) if func in GRADIENT_RUNS else func(*args, **kwargs)
    except Exception:
        calls.refused_gradient = True
        raise
    if func == READ_NODE and result is None:
        calls.missed_node = True
    return result


def _run_nodes(calls: Calls, func: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Any:
    calls.took_gradients |= not calls.in_backward
    if any(tensor.is_meta for tensor in tensors_in(args[:1])):
        with calls.recorder.paused():
            args, kwargs = _put_seeds_on_meta(func, args, kwargs)
    with calls.function_mode, calls.open_backward():
        return GRADIENT_RUNS[func](*args, **kwargs)


def _put_seeds_on_meta(func: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The arguments with gradients that have values, as those have that code makes itself, in the place of none."""
    at = 2 if func is torch.autograd.grad else 1
    args = (*args[:at], *map(to_meta, args[at : at + 1]), *args[at + 1 :])
    return args, {name: to_meta(value) if name in SEED_NAMES else value for name, value in kwargs.items()}


def find_backward_row(calls: Calls) -> int:
    """The row that the running node belongs to; that of the caller where no node runs, or nobody knows whose it is."""
    node = find_running_node()
    if node is None or calls.node_owners is None:
        return calls.caller_row
    variable = getattr(node, "variable", None)
    if variable is not None:  # AccumulateGrad: the gradient belongs to whoever owns the parameter
        return calls.find_param_row(variable)
    row = calls.node_owners.find_row(node_number(node))
    return calls.caller_row if row is None else row
