"""Ops that take functions: the branch that is taken, and the steps that are made, run as the plain code they are.

Torch would compile them, or hide what they hold. Which branch runs, and how many steps, only values tell.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from archprof.torchside.missing_values import NeedsValues
from archprof.tracing.recorder import Recorder

Tensor = torch.Tensor

DECISIONS_NOTE = "In {names} values decide what runs: counted are the branches and the steps of this pass."


def _cond(decide: Callable[[Any], Any], pred: Any, true_fn: Any, false_fn: Any, operands: Sequence[Any]) -> Any:
    return (true_fn if decide(pred) else false_fn)(*operands)


def _switch(decide: Callable[[Any], Any], index: Any, branches: Sequence[Any], operands: Sequence[Any]) -> Any:
    at = min(max(int(decide(index)), 0), len(branches) - 1)
    return branches[at](*operands)


def _while_loop(
    decide: Callable[[Any], Any], cond_fn: Any, body_fn: Any, carried: Sequence[Any], more: Sequence[Any], **_: Any
) -> Any:
    while decide(cond_fn(*carried, *more)):
        carried = body_fn(*carried, *more)
    return tuple(carried)


def _scan(
    decide: Callable[[Any], Any], combine: Any, init: Sequence[Any], xs: Sequence[Tensor], more: Sequence[Any], **_: Any
) -> Any:
    carried, made = list(init), []
    for step in range(xs[0].shape[0]):
        out = combine(*carried, *[x[step] for x in xs], *more)
        carried, results = list(out[: len(init)]), out[len(init) :]
        made.append(list(results))
    return [*carried, *_stack(made)]


def _map(decide: Callable[[Any], Any], function: Any, xs: Sequence[Tensor], more: Sequence[Any], **_: Any) -> Any:
    return _stack([function(*[x[step] for x in xs], *more) for step in range(xs[0].shape[0])])


def _stack(steps: Sequence[Any]) -> Any:
    """Of what each step made, one of the same form."""
    first = steps[0]
    if isinstance(first, Tensor):
        return torch.stack(list(steps))
    if isinstance(first, dict):
        return {key: _stack([step[key] for step in steps]) for key in first}
    if isinstance(first, tuple | list):
        return type(first)([_stack([step[at] for step in steps]) for at in range(len(first))])
    return first


def _with_gradients(decide: Callable[[Any], Any], enabled: bool, function: Any, *args: Any, **named: Any) -> Any:
    with torch.set_grad_enabled(enabled):
        return function(*args, **named)


def _with_autocast(
    decide: Callable[[Any], Any], device: str, dtype: Any, enabled: bool, cache: Any, function: Any, *args: Any
) -> Any:
    with torch.autocast(device, dtype, enabled, cache):
        return function(*args)


def _call(decide: Callable[[Any], Any], function: Any, *args: Any, **named: Any) -> Any:
    return function(*args, **named)


def _call_named(decide: Callable[[Any], Any], function: Any, name: Any, *args: Any) -> Any:
    return function(*args)


def _call_on(decide: Callable[[Any], Any], function: Any, operands: Sequence[Any]) -> Any:
    return function(*operands)


_RUNNERS: dict[str, Callable[..., Any]] = {
    "cond": _cond,
    "switch": _switch,
    "while_loop": _while_loop,
    "scan": _scan,
    "map_impl": _map,
    "wrap_with_set_grad_enabled": _with_gradients,
    "wrap_with_autocast": _with_autocast,
    "wrap": _call,
    "tag_activation_checkpoint": _call,
    "local_map_hop": _call,
    "invoke_subgraph": _call_named,
    "strict_mode": _call_on,
}

CONTROL_FLOW: dict[Any, Callable[..., Any]] = {
    op: run for name, run in _RUNNERS.items() if (op := getattr(torch.ops.higher_order, name, None)) is not None
}
"""What is run in the place of each of the ops that this torch has."""


def run_control_flow(recorder: Recorder, decisions: set[str], op: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Run one of `CONTROL_FLOW`; `decisions` are the names of those in which a tensor decided.

    Raises:
        NeedsValues: the tensor that decides has none.
    """

    def decide(by: Any) -> Any:
        if not isinstance(by, Tensor):
            return by
        if by.is_meta:
            raise NeedsValues(f"{op.name()} asks for a value")
        decisions.add(op.name())
        with recorder.paused():
            return by.item()

    return CONTROL_FLOW[op](decide, *args, **kwargs)
