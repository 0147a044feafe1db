"""torch 2.14.1, `torch.utils.flop_counter.FlopCounterMode` on meta tensors, the fast path of attention switched off.

It prints FLOPs, 2 for a multiply-add. Its registry holds convolution, `mm`, `addmm`, `bmm`, `baddbmm`, the scaled
product of 8-bit floats and the attention kernels. Everything else is 0 without a word, so also the matrix-vector
products. On meta, attention and recurrent layers fall apart into products that it counts; on the CPU it sees neither.
A complex multiply-add counts like a real one, and masked scores of causal attention count.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from archprof.analysis.other_tools.tool_count import Convention, WorkPart
from archprof.analysis.other_tools.tool_view import ToolView
from archprof.facts.records import Op

REGISTERED_OPS = frozenset(
    f"aten.{name}"
    for name in (
        "mm addmm bmm baddbmm _scaled_mm convolution _convolution cudnn_convolution convolution_overrideable "
        "_slow_conv2d_forward linear matmul scaled_dot_product_attention lstm gru rnn_tanh rnn_relu "
        "_scaled_dot_product_efficient_attention _scaled_dot_product_flash_attention "
        "_scaled_dot_product_flash_attention_for_cpu _scaled_dot_product_cudnn_attention"
    ).split()
) | {"higher_order.flex_attention"}
"""What it counts, as archprof writes it down: a recurrent layer or an attention is one op here and products there."""


def count_parts(view: ToolView) -> Iterator[WorkPart]:
    for row in view.module_calls:
        for op in row.ops:
            if not op.macs:
                continue
            counted = _count_macs(view, op) if op.name in REGISTERED_OPS else 0
            what = op.name if op.name in REGISTERED_OPS else f"{op.name}, which is not in its registry"
            yield WorkPart(what, counted, counted, op.macs)


def _count_macs(view: ToolView, op: Op) -> int:
    """A complex multiply-accumulate is four real ones, and one here; a block mask is not looked at."""
    assert op.macs is not None
    if op.name == "higher_order.flex_attention":
        query, key, value = (view.profile.tensors[index].spec.shape for index in op.inputs[:3])
        return prod(query[:-1]) * key[-2] * (query[-1] + value[-1])
    return op.macs // 4 if view.profile.tensors[op.outputs[0]].spec.dtype.startswith("complex") else op.macs


CONVENTION = Convention(
    "torch",
    "2.14.1",
    "FlopCounterMode().get_total_flops() on meta tensors",
    "FLOPs",
    count_parts,
    per_mac=2,
)
