"""The same count by other tools, to check ours against: torch's own counter, and fvcore's.

Both count a twin of the model, so the model is only read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

from archprof.torchside.private import tree_leaves, tree_map_tensors
from archprof.torchside.stand_in import make_stand_in

FVCORE_PRODUCTS = frozenset({"conv", "linear", "addmm", "mm", "bmm", "baddbmm", "matmul", "einsum"})
"""What fvcore calls the ops that it counts in MACs; its norms, pools and interpolations are in other units."""


def torch_macs(
    model: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any] | None = None, *, backward: bool = False
) -> int:
    """MACs of one pass, by torch's `FlopCounterMode` on meta tensors.

    It leaves out matrix-vector products and `dot` (`mv`, `addmv`), `addbmm`, `addr`, `_trilinear` and every op outside
    its registry, all silently. It takes a complex multiply-accumulate for one instead of four real ones, counts the
    weight's gradient of a grouped convolution `groups` times, and counts masked scores of causal attention. In a
    backward pass it counts a recurrent layer unrolled, without the gradient of an input that needs none.

    Args:
        args, kwargs: what the model is called with; tensors are replaced by meta ones.
        backward: also the backward pass, from the sum of all differentiable results.
    """
    return sum(torch_counts(model, args, kwargs, backward=backward).values())


def torch_counts(
    model: nn.Module,
    args: Sequence[Any],
    kwargs: Mapping[str, Any] | None = None,
    *,
    backward: bool = False,
    gradients: bool = False,
) -> dict[str, int]:
    """The same, by aten op; `gradients`: they are on, without a backward pass."""
    from torch.utils.flop_counter import FlopCounterMode

    stand_in = make_stand_in(model)
    grad = gradients or backward
    if not grad:  # else the counter hooks gradients, which fails where a result is changed in place
        stand_in.requires_grad_(False)
    inputs = tree_map_tensors(_to_meta_tensor, (tuple(args), dict(kwargs or {})))
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.set_grad_enabled(grad), torch.device("meta"), FlopCounterMode(display=False) as counter:
            results = stand_in(*inputs[0], **inputs[1])
            if backward:
                torch.autograd.backward([leaf.sum() for leaf in tree_leaves(results) if _has_gradient(leaf)])
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
    return {str(op): int(flops) // 2 for op, flops in counter.get_flop_counts().get("Global", {}).items()}


def _to_meta_tensor(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().to("meta").requires_grad_(tensor.requires_grad)


def _has_gradient(leaf: object) -> bool:
    return isinstance(leaf, torch.Tensor) and leaf.requires_grad


def fvcore_macs(model: nn.Module, args: Sequence[Any]) -> int | None:
    """MACs of one forward pass, by fvcore's trace; `None` when it cannot run, which it cannot on meta tensors.

    It leaves out scaled dot product attention, the fused attention fast path, LSTM, GRU and RNN, the padding of
    `padding="same"` convolutions (all of them) and a broadcast over a batch of matrices (all but one).
    What it counts for norms, pools and interpolations is not part of this number.
    """
    try:
        counts = fvcore_counts(make_stand_in(model, device="cpu"), args).by_op
    except Exception:  # whatever torch.jit's tracer raises for a model it cannot follow
        return None
    return sum(count for name, count in counts.items() if name in FVCORE_PRODUCTS)


class FvcoreCounts(NamedTuple):
    """What fvcore counts in one pass.

    Attributes:
        by_op: its "flops", which are multiply-adds and what it takes for norms, pools and interpolations.
        unseen: paths of the modules whose convolution it did not see, because it was written `padding="same"`.
    """

    by_op: dict[str, int]
    unseen: tuple[str, ...]


def fvcore_counts(model: nn.Module, args: Sequence[Any]) -> FvcoreCounts:
    """Run fvcore on a model and inputs with real values; `model` must be one to throw away.

    Raises whatever torch.jit's tracer raises for a model it cannot follow.
    """
    from fvcore.nn import FlopCountAnalysis

    analysis = FlopCountAnalysis(model, tuple(args))
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
    by_op = {name: int(count) for name, count in analysis.by_operator().items()}
    unseen = (path for path, module in model.named_modules() if not any(module.children()))
    return FvcoreCounts(by_op, tuple(path for path in unseen if _SAME_PADDING_OP in analysis.unsupported_ops(path)))


_SAME_PADDING_OP = "aten::_convolution_mode"
