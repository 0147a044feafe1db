"""Which kind of work an op does, by what it computes and not by the name of a class."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from archprof.facts.records import Op, Profile

FAMILIES = ("convolution", "matrix product", "attention", "recurrent", "norm", "activation", "pooling", "lookup")
"""The kinds of work, in the order of their colours."""

OTHER_FAMILY = "other"

FAMILY_WORDS = {
    "attention": ("attention",),
    "convolution": ("conv",),
    "recurrent": ("lstm", "gru", "rnn"),
    "norm": ("norm",),
    "pooling": ("pool",),
    "lookup": ("embedding", "index_select", "gather"),
    "matrix product": ("mm", "addmv", "linear", "matmul", "bilinear", "einsum", "dot", "mv", "addr"),
    "activation": ("relu", "elu", "silu", "swish", "sigmoid", "tanh", "softmax", "softplus", "mish", "glu", "hardtanh"),
}
"""What the names of the ops of each kind have in them; the first kind that fits is taken."""


@lru_cache(maxsize=1024)
def find_op_family(name: str) -> str:
    """The kind of work of an op, named as "aten.addmm"."""
    short = name.split(".")[1] if "." in name else name
    return next((family for family, words in FAMILY_WORDS.items() if any(w in short for w in words)), OTHER_FAMILY)


def find_row_families(profile: Profile) -> list[str]:
    """The kind of work of each row of the profile: that of its op with most MACs, FLOPs or bytes, in this order."""
    found, most = [OTHER_FAMILY] * len(profile.layers), [(0, 0, 0)] * len(profile.layers)
    for op in profile.forward_ops:
        row, weight = profile.call_rows[op.call], (op.macs or 0, op.flops or 0, op.bytes_moved)
        if weight > most[row]:
            found[row], most[row] = find_op_family(op.name), weight
    return found


def find_heaviest(ops: Sequence[Op]) -> Op | None:
    """The op with most MACs, or most FLOPs where none has any."""
    return max(ops, key=lambda op: (op.macs or 0, op.flops or 0), default=None)
