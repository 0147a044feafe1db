"""What autograd keeps of each op for the backward pass, found from the moments at which it packed a tensor."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch

from archprof.facts.records import Kept, Op, Signature
from archprof.torchside.private import DisableTorchDispatch
from archprof.torchside.tensors import PLAIN_TENSOR_KINDS

KEEPS_NOTHING = Kept()

new_op: Callable[[Iterable[Any]], Op] = partial(tuple.__new__, Op)


class SavedTensor(NamedTuple):
    """What autograd kept at one moment of the forward.

    Attributes:
        op_count: ops recorded until then.
        of_next: autograd had begun a node since the last of them: it is kept for the op that follows.
        tensor: its index.
    """

    op_count: int
    of_next: bool
    tensor: int


def detach_unseen(tensor: torch.Tensor, mark: str) -> torch.Tensor:
    """A result without the node that made it, which no mode sees; it has the same `mark`, an attribute.

    A node that holds its own result, and the result it, wait for the garbage collector where no backward parts them.
    """
    if DisableTorchDispatch is None or type(tensor) not in PLAIN_TENSOR_KINDS:
        return tensor
    with DisableTorchDispatch():
        detached = tensor.detach()
    setattr(detached, mark, getattr(tensor, mark))
    return detached


def add_kept(ops: Sequence[Op], saved: Sequence[SavedTensor]) -> tuple[Op, ...]:
    """The ops, those of the forward with what is kept of them as a part of their signature."""
    kept = _collect_kept(ops, saved)
    shared: dict[tuple[int, Kept], Signature] = {}
    made = []
    for number, op in enumerate(ops):
        if op.phase == "forward":
            keeps = kept.get(number, KEEPS_NOTHING)
            found = shared.get((id(op.signature), keeps))
            if found is None:
                found = shared[id(op.signature), keeps] = op.signature._replace(keeps=keeps)
            op = new_op((found, *op[1:]))
        made.append(op)
    return tuple(made)


def _collect_kept(ops: Sequence[Op], saved: Sequence[SavedTensor]) -> dict[int, Kept]:
    """What is kept of each op, by the op's number.

    An op's node keeps inputs before the op is dispatched and outputs after it; a function with a backward of its
    own keeps both after.
    """
    inputs, outputs = defaultdict[int, set[int]](set), defaultdict[int, set[int]](set)
    for op_count, of_next, tensor in saved:
        number = op_count if of_next else op_count - 1
        if not 0 <= number < len(ops):
            continue
        op = ops[number]
        if not of_next and tensor in op.outputs:
            outputs[number].add(op.outputs.index(tensor))
        elif tensor in op.inputs:
            inputs[number].add(op.inputs.index(tensor))
    return {
        number: Kept(tuple(sorted(inputs[number])), tuple(sorted(outputs[number])))
        for number in inputs.keys() | outputs.keys()
    }
