"""The kernels below scaled dot product attention, called by name: counted as `attention` says, in their own layout.

Their tensors are (batch, positions, heads, head size). Unknown are: sequences of different lengths in one tensor
(offsets given), a cache of which only a part is used, a sliding window, and, with `half`, a causal mask over unequal
lengths, because the kernels differ on where its diagonal begins. Torch's own counter takes positions for heads in
`_efficient_attention_forward` and its backward; it is right only where there are as many of both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from archprof.tracing.ops.costs import attention
from archprof.tracing.ops.costs.registry import CostRule, OpCost, cost_rule

if TYPE_CHECKING:
    from torch import Tensor

UNCOUNTED_ARGUMENTS = ("seqused_k", "seqlen_k", "block_table", "window_size", "window_size_left", "window_size_right")
"""Arguments that change how many scores there are in a way that is not counted here."""


class KernelArgPlaces(NamedTuple):
    """Where a kernel takes its arguments; keys and values follow the query, the second offsets the first."""

    query: int
    mask: int | None
    offsets: int
    dropout: int
    causal: int


FORWARD_KERNELS = {
    "_flash_attention_forward": KernelArgPlaces(0, None, 3, 7, 8),
    "_efficient_attention_forward": KernelArgPlaces(0, 3, 4, 8, 9),
}
BACKWARD_KERNELS = {
    "_flash_attention_backward": KernelArgPlaces(1, None, 6, 10, 11),
    "_efficient_attention_backward": KernelArgPlaces(1, 4, 6, 11, 14),
}


def _rule_of_kernel(cost: CostRule, places: KernelArgPlaces) -> CostRule:
    """The rule of a kernel that takes its arguments at these places."""

    def count(result: object, /, *args: Any, half: bool = False, **named: Any) -> OpCost | None:
        query, key, value = (_heads_first(tensor) for tensor in args[places.query : places.query + 3])
        skip_masked = half and bool(args[places.causal])
        ragged = any(offsets is not None for offsets in args[places.offsets : places.offsets + 2])
        hidden = any(named.get(name) is not None for name in UNCOUNTED_ARGUMENTS)
        if ragged or hidden or (skip_masked and query[-2] != key[-2]):
            return None
        mask = None if places.mask is None else args[places.mask]
        return cost(query, key, value, mask, args[places.dropout], skip_masked)

    return count


def _heads_first(tensor: Tensor) -> tuple[int, ...]:
    *batch, positions, heads, size = tensor.shape
    return *batch, heads, positions, size


for _name, _places in FORWARD_KERNELS.items():
    cost_rule(f"aten.{_name}", causal=True)(_rule_of_kernel(attention.count_attention, _places))
for _name, _places in BACKWARD_KERNELS.items():
    cost_rule(f"aten.{_name}", causal=True)(_rule_of_kernel(attention.count_attention_backward, _places))
