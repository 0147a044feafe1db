"""Attention and recurrent layers as single ops.

On meta torch would take scaled dot product attention apart into matrix products with an S x S
score matrix that no GPU stores, and unroll an LSTM into thousands of ops. Here each stays one op,
answered by shape, with its backward as one op too.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.nn import functional

from archprof.torchside.autocast import PassAutocast
from archprof.torchside.dispatch import open_to_mode
from archprof.torchside.private import DisableTorchDispatch, DisableTorchFunction, will_run_node
from archprof.torchside.tensors import tensors_in
from archprof.tracing.op_memo import inspect_call
from archprof.tracing.ops.costs import KeptForBackward, find_op_rule
from archprof.tracing.ops.dtypes import check_dtypes

ATTENTION_OP = "aten.scaled_dot_product_attention"

WHOLE_OP_NAMES: dict[Callable[..., Any], str] = {
    functional.scaled_dot_product_attention: ATTENTION_OP,
    torch.lstm: "aten.lstm",
    torch.gru: "aten.gru",
    torch.rnn_tanh: "aten.rnn_tanh",
    torch.rnn_relu: "aten.rnn_relu",
}
"""The torch functions that are recorded whole, and the name of the op that each becomes, without its overload."""


OPENED_FUNCTIONS: dict[Callable[..., Any], Callable[..., Any]] = {
    functional.multi_head_attention_forward: open_to_mode(functional.multi_head_attention_forward)
}
"""Functions written in Python that call one of `WHOLE_OP_NAMES`, and what to call instead to see inside."""


def run_whole(ops: Any, name: str, func: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Any:
    """Answer one of `WHOLE_OP_NAMES` and record it; `ops` is the `OpMode` of the pass."""
    autocast = PassAutocast.ruling
    if autocast is not None and autocast.rules is not None:
        from archprof.tracing.whole_casts import cast_whole

        cast = cast_whole(ops, autocast, name, args, kwargs)
        if cast is None:
            return func(*args, **kwargs)
        args, kwargs = cast
    inputs, metas, key = inspect_call(func, args, kwargs)
    if metas:
        check_dtypes(name, args, kwargs)
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in inputs):
        return _run_differentiable(ops, name, func if not metas else None, args, kwargs)
    result = None
    if DisableTorchDispatch is not None:
        with DisableTorchDispatch():  # what an answer makes is no op of the model's
            result = ops.replay(key, inputs)
    if result is None:
        with ops.recorder.paused():
            result = _answer_by_shape(name, args, kwargs) if metas else _compute_real_result(func, args, kwargs)
        ops.record_function(_add_overload(name, args), inputs, result, args, kwargs, key)
    return result


def _add_overload(name: str, args: Any) -> str:
    """The name as torch writes it: a recurrent function takes whole sequences or packed ones."""
    if name == ATTENTION_OP:
        return f"{name}.default"
    return f"{name}.{'data' if _is_packed(args[1:]) else 'input'}"


def _is_packed(rest: Any) -> bool:
    return isinstance(rest[2], list | tuple)


def _compute_real_result(func: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Any:
    """The real result, attention laid out as on meta: what follows then copies as much."""
    result = func(*args, **kwargs)
    if func is not functional.scaled_dot_product_attention:
        return result
    query = args[0] if args else kwargs["query"]
    return make_laid_out_as(query, result.shape, result.dtype, "cpu").copy_(result)


def make_laid_out_as(query: torch.Tensor, shape: Any, dtype: torch.dtype, device: str) -> torch.Tensor:
    """A dense tensor with its dimensions in the query's order of strides, as flash kernels return it."""
    offset = len(shape) - query.dim()
    nearest = list(query.stride())
    for dim in reversed(range(query.dim() - 1)):
        nearest[dim] = nearest[dim] or nearest[dim + 1]  # an expanded dimension stays where it is
    order = sorted(range(query.dim()), key=nearest.__getitem__, reverse=True)
    strides, step = [0] * len(shape), 1
    for dim in reversed([*range(offset), *(offset + d for d in order)]):
        strides[dim] = step
        step *= shape[dim]
    return torch.empty_strided(shape, strides, dtype=dtype, device=device)


def _answer_by_shape(name: str, args: Any, kwargs: dict[str, Any]) -> Any:
    if name == ATTENTION_OP:
        return _attention_result(*args, **kwargs)
    return _recurrent_results(*args, **kwargs)


def _attention_result(query: Any, key: Any, value: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
    """(..., H, Sq, D) x (..., H, Skv, D) x (..., H, Skv, Dv) -> (..., H, Sq, Dv); grouped queries share heads."""
    grouped = kwargs.get("enable_gqa", False)
    fits = query.shape[-1] == key.shape[-1] and key.shape[-2] == value.shape[-2]
    try:
        if grouped:
            lead = (*_broadcast_shapes(t.shape[:-3] for t in (query, key, value)), query.shape[-3])
        else:
            lead = _broadcast_shapes(t.shape[:-2] for t in (query, key, value))
    except RuntimeError:
        fits = False
    if not fits:
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in (query, key, value))
        raise RuntimeError(f"scaled_dot_product_attention: query, key and value do not fit together: {shapes}")
    return make_laid_out_as(query, (*lead, query.shape[-2], value.shape[-1]), query.dtype, "meta")


def _broadcast_shapes(shapes: Iterable[torch.Size]) -> tuple[int, ...]:
    return tuple(torch.broadcast_shapes(*shapes))  # type: ignore[no-untyped-call]


def _recurrent_results(data: Any, *rest: Any) -> Any:
    """`torch.lstm` and its kin: (input, hx, params, …), or packed (data, batch_sizes, hx, params, …)."""
    packed = _is_packed(rest)
    state = rest[1] if packed else rest[0]
    bidirectional = rest[7] if packed else rest[6]
    states = [torch.empty(s.shape, dtype=s.dtype, device="meta") for s in tensors_in(state)]
    width = states[0].shape[-1] * (2 if bidirectional else 1)
    steps = data.shape[:1] if packed else data.shape[:-1]
    if packed or not rest[7]:
        return (torch.empty((*steps, width), dtype=data.dtype, device="meta"), *states)
    rows = torch.empty((steps[1], steps[0], width), dtype=data.dtype, device="meta")
    return (rows.transpose(0, 1), *states)  # torch works step by step also where the batch is first


class PartsWanted(BaseException):
    """A gradient is asked of the gradient of a function that was answered whole. No `except Exception` hides it."""


class NoSecondGradient(torch.autograd.Function):
    """Gives back the first tensors, as depending on the rest in a way that nobody knows."""

    @staticmethod
    def forward(ctx: Any, ops: Any, count: int, *tensors: torch.Tensor | None) -> Any:
        with ops.recorder.paused():
            return tuple(None if tensor is None else tensor.view_as(tensor) for tensor in tensors[:count])

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        raise PartsWanted("no kernel computes a gradient of the gradient of attention, or of a recurrent layer")


class _WholeFunction(torch.autograd.Function):
    """A function whose backward is one op of its own; answered by shape, or on real tensors by `func`."""

    @staticmethod
    def forward(ctx: Any, ops: Any, name: str, func: Any, spread: Any, *tensors: torch.Tensor) -> Any:
        args, kwargs = spread(tensors)
        rule = find_op_rule(name)
        with ops.recorder.paused():
            result = _compute_real_result(func, args, kwargs) if func else _answer_by_shape(name, args, kwargs)
            kept = rule.keeps(result, *args, **kwargs) if rule and rule.keeps else KeptForBackward()
            device = tensors[0].device
            reserve = [torch.empty(x.shape, dtype=getattr(torch, x.dtype), device=device) for x in kept.reserve]
        results = tensors_in(result)
        ops.record_function(_add_overload(name, args), list(tensors), (*results, *reserve), args, kwargs)
        ctx.ops, ctx.name, ctx.func, ctx.spread, ctx.given = ops, name, func, spread, len(tensors)
        ctx.save_for_backward(*tensors, *[results[index] for index in kept.outputs], *reserve)
        return result

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        saved = ctx.saved_tensors
        tensors = saved[: ctx.given]
        args, kwargs = ctx.spread(tensors)
        asked = {id(tensor) for tensor in _list_asked(ctx.name, args, kwargs)}
        nodes = [node for node, _ in ctx.next_functions]
        wanted = [
            node is not None and will_run_node(node) if id(tensor) in asked else tensor.is_floating_point()
            for tensor, node in zip(tensors, nodes, strict=True)
        ]
        with ctx.ops.recorder.paused():
            made = [torch.empty_like(t) if wants else None for t, wants in zip(tensors, wanted, strict=True)]
            if ctx.func:
                _fill_gradients(made, ctx, tensors, grads)
        inputs = [grad for grad in grads if grad is not None] + list(saved)
        ctx.ops.record_function(f"{ctx.name}_backward.default", inputs, tuple(made), args, kwargs)
        if torch.is_grad_enabled():  # a graph of the gradients is made
            made = NoSecondGradient.apply(ctx.ops, len(made), *made, *inputs)
        return (None, None, None, None, *made)


def _list_asked(name: str, args: Any, kwargs: dict[str, Any]) -> list[torch.Tensor]:
    """The tensors whose gradients a kernel computes where they are asked for: weights, and a mask. All others it does
    in any case.
    """
    if name == ATTENTION_OP:
        return tensors_in(args[3:4] if len(args) > 3 else kwargs.get("attn_mask"))
    return tensors_in(args[3] if _is_packed(args[1:]) else args[2])


def _fill_gradients(made: list[torch.Tensor | None], ctx: Any, tensors: Any, grads: Any) -> None:
    """Give the gradients their values, of the function run again: what it kept was no more than the op keeps."""
    with DisableTorchFunction(), torch.enable_grad():
        leaves = [t.detach().requires_grad_(into is not None) for t, into in zip(tensors, made, strict=True)]
        args, kwargs = ctx.spread(leaves)
        pairs = [(r, g) for r, g in zip(tensors_in(ctx.func(*args, **kwargs)), grads, strict=True) if g is not None]
        wanted = [leaf for leaf in leaves if leaf.requires_grad]
        found = torch.autograd.grad([r for r, _ in pairs], wanted, [g for _, g in pairs], allow_unused=True)
    for into, value in zip([one for one in made if one is not None], found, strict=True):
        into.zero_() if value is None else into.copy_(value)


def _run_differentiable(ops: Any, name: str, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    inputs = [*tensors_in(args), *tensors_in(kwargs)]
    # The node holds what puts arguments together, and would hold their tensors with it, also when they are used up.
    blanks = itertools.repeat(_BLANK)
    args, kwargs = _replace_tensors(args, blanks), _replace_tensors(kwargs, blanks)

    def spread(tensors: Any) -> tuple[Any, Any]:
        """The arguments as they were, with other tensors in the tensors' places."""
        remaining = iter(tensors)
        return _replace_tensors(args, remaining), _replace_tensors(kwargs, remaining)

    return _WholeFunction.apply(ops, name, func, spread, *inputs)


_BLANK = object()
"""Stands where a tensor was."""


def _replace_tensors(tree: Any, tensors: Any) -> Any:
    if tree is _BLANK or isinstance(tree, torch.Tensor):
        return next(tensors)
    if isinstance(tree, list | tuple):
        return type(tree)([_replace_tensors(item, tensors) for item in tree])
    if isinstance(tree, dict):
        return {key: _replace_tensors(item, tensors) for key, item in tree.items()}
    return tree
