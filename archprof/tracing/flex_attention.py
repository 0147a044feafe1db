"""`flex_attention` as the one op it is, with the scores of the blocks that its mask leaves.

Torch runs it on a few devices, of which meta is none, and compiles what it is given. It is let through, and answered by
shape where it comes to its op.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import torch

from archprof.torchside.dispatch import DispatchMode
from archprof.torchside.missing_values import NeedsValues
from archprof.torchside.tensors import op_name, tensors_in
from archprof.tracing.ops import costs
from archprof.tracing.whole_ops import NoSecondGradient, make_laid_out_as

Tensor = torch.Tensor

FLEX_ATTENTION: Any = getattr(torch.ops.higher_order, "flex_attention", None)
FLEX_OP = "higher_order.flex_attention"

READ_DEVICE: Callable[..., Any] = cast("Any", Tensor).device.__get__

FLEX_MODULE = "torch.nn.attention.flex_attention"
DEVICE_CHECKS = frozenset(("flex_attention", "_validate_device"))
"""The functions there that ask where its inputs are."""

BLOCKS_UNKNOWN_NOTE = "The block mask of flex_attention has no values here: all its scores are counted."


def answer_device(tensor: Tensor) -> Any:
    """Where a tensor is; told to torch's checks of flex attention, it is on a device that may train it."""
    frame = sys._getframe(2)  # of the code that reads `.device` under the function mode
    if frame.f_code.co_name in DEVICE_CHECKS and frame.f_globals.get("__name__") == FLEX_MODULE:
        return torch.device("cuda")
    return READ_DEVICE(tensor)


class FlexCall(NamedTuple):
    """One call of the op.

    Attributes:
        query, key, value: (B, heads, positions, head size).
        captured: tensors with a gradient that the function of a score reads.
        scores: that are computed.
        masked: of these, in blocks in which the mask leaves out some.
        score_flops: of the function that changes a score.
        known: the block mask is, and with it the scores.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    captured: list[Tensor]
    scores: int
    masked: int
    score_flops: int
    known: bool


def read_call(
    ops: Any, query: Tensor, key: Tensor, value: Tensor, score_mod: Any, mask: Sequence[Any], *_: Any, **__: Any
) -> FlexCall:
    """What `FLEX_ATTENTION` is called with.

    Raises:
        NeedsValues: the mask has none, and may have some in another way to run the pass.
    """
    sizes = _find_block_sizes(mask)
    whole = query.shape[0] * query.shape[1] * query.shape[2] * key.shape[2]
    partial = full = None
    if sizes[0] >= query.shape[2] and sizes[1] >= key.shape[2]:
        partial, full, known = 0, whole, True  # no mask: one block
    else:
        (counts, indices), (full_counts, full_indices) = _find_block_lists(mask)
        known = not (counts.is_meta or indices.is_meta)
        if not known and not ops.values:
            raise NeedsValues("flex_attention asks for the values of its block mask")
        if known:
            partial = _count_scores(query, key, sizes, counts, indices)
            full = 0 if full_counts is None else _count_scores(query, key, sizes, full_counts, full_indices)
    score = _run_score_function(score_mod, query)
    scores, masked = (whole, whole) if partial is None or full is None else (partial + full, partial)
    return FlexCall(query, key, value, score.captured, scores, masked, score.flops, known)


def run_flex_attention(ops: Any, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Answer one call of `FLEX_ATTENTION` and record it; `ops` is the `OpMode` of the pass."""
    with ops.recorder.paused():
        call = read_call(ops, *args, **kwargs)
        results = _compute_results(func, args, kwargs)
    ops.calls.hides_blocks |= not call.known
    tensors = (call.query, call.key, call.value, *call.captured)
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        return _FlexFunction.apply(ops, call, results, *tensors)
    _record(ops, FLEX_OP, call, tensors, results)
    return results


def _compute_results(func: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Tensor, ...]:
    """The result, and for each query the logarithm of its sum of exponentials and its largest score."""
    query, _key, value = args[:3]
    if not query.is_meta:
        with torch.no_grad():
            return tuple(func(*args, **kwargs))
    shape, options = query.shape[:-1], args[6] if len(args) > 6 else kwargs.get("kernel_options", {})
    out = make_laid_out_as(query, (*shape, value.shape[-1]), query.dtype, "meta")
    sums = torch.empty(shape, dtype=torch.float32, device="meta")
    return out, sums, sums.clone() if options.get("OUTPUT_MAX") else sums.new_empty(0)


def _record(ops: Any, name: str, call: FlexCall, inputs: Sequence[Tensor], results: Sequence[Tensor | None]) -> None:
    counts = {"scores": call.scores, "masked": call.masked, "score_flops": call.score_flops}
    made = tuple(tensor for tensor in results if tensor is not None and tensor.numel())
    ops.record_function(f"{name}.default", list(inputs), made, (call.query, call.key, call.value), counts)


class _FlexFunction(torch.autograd.Function):
    """The op and its backward, each recorded as one; real gradients are zero."""

    @staticmethod
    def forward(ctx: Any, ops: Any, call: FlexCall, results: Any, *tensors: Tensor) -> Any:
        _record(ops, FLEX_OP, call, tensors, results)
        ctx.ops, ctx.call = ops, call._replace(captured=[])
        ctx.save_for_backward(*tensors, *results[:2])
        ctx.mark_non_differentiable(results[2])
        return results

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        saved = ctx.saved_tensors
        with ctx.ops.recorder.paused():
            made: Any = [torch.zeros_like(tensor) for tensor in saved[:-2]]
        call = ctx.call._replace(query=saved[0], key=saved[1], value=saved[2])
        inputs = [*(grad for grad in grads if grad is not None), *saved]
        _record(ctx.ops, f"{FLEX_OP}_backward", call, inputs, made)
        if torch.is_grad_enabled():
            made = NoSecondGradient.apply(ctx.ops, len(made), *made, *inputs)
        return (None, None, None, *made)


def _find_block_sizes(mask: Sequence[Any]) -> tuple[int, int]:
    """Queries and keys of one block: the last two numbers before the function."""
    numbers = [item for item in mask[:-1] if type(item) is int]
    return numbers[-2], numbers[-1]


def _find_block_lists(mask: Sequence[Any]) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """How many blocks of keys each block of queries meets, and which: those with a mask inside, and the full ones."""
    at = next(place for place, item in enumerate(mask) if isinstance(item, Tensor))
    counts, indices, full_counts, full_indices = mask[at : at + 4]
    return (counts, indices), (full_counts, full_indices)


def _count_scores(query: Tensor, key: Tensor, sizes: tuple[int, int], counts: Tensor, indices: Tensor) -> int:
    """The scores in the listed blocks, of which the last ones may be cut; a mask may serve several heads."""
    rows = _cut_blocks(query.shape[2], sizes[0], counts.shape[-1])
    columns = _cut_blocks(key.shape[2], sizes[1], max(indices.shape[-1], 1))
    listed = torch.arange(indices.shape[-1]) < counts[..., None]
    per_row = (columns[indices.long().clamp(0, len(columns) - 1)] * listed).sum(-1)
    repeats = query.shape[0] * query.shape[1] // (counts.shape[0] * counts.shape[1])
    return int((per_row * rows).sum()) * repeats


def _cut_blocks(length: int, size: int, blocks: int) -> Tensor:
    return torch.tensor([max(0, min(size, length - size * block)) for block in range(blocks)])


def _run_score_function(score_mod: Any, query: Tensor) -> _ScoreOps:
    """What the function that changes a score does to one."""
    found = _ScoreOps()
    with found:
        place = [torch.zeros((), dtype=torch.int32, device="cpu") for _ in range(4)]
        score_mod(torch.zeros((), dtype=query.dtype, device=query.device), *place)
    return found


class _ScoreOps(DispatchMode):
    """Sums what ops cost, and finds what they read that none of them made."""

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0
        self.captured: list[Tensor] = []
        self._seen: dict[int, Tensor] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        inputs = tensors_in((args, kwargs))
        result = func(*args, **(kwargs or {}))
        new = [tensor for tensor in inputs if id(tensor) not in self._seen]
        self.captured += [tensor for tensor in new if tensor.requires_grad]
        self._seen.update({id(tensor): tensor for tensor in (*new, *tensors_in(result))})
        rule = costs.find_op_rule(op_name(func))
        cost = rule.bind_causal("full")(result, *args, **(kwargs or {})) if rule is not None else None
        self.flops += cost.flops if cost is not None else 0
        return result
