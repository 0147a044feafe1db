"""Values that leave torch: what Python or another library computes of them runs no op, and is not seen.

Few numbers, and integers, mostly steer what the model does next. So a departure stands for unknown work where many
floating values went to a library, or where floating values came back that may be made of what left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch

from archprof.facts.records import Op, Phase, Signature, TensorSpec
from archprof.sources.input_spec import is_floating_dtype
from archprof.tracing.constants import FRESH_OP
from archprof.tracing.recorder import Recorder

OP_NAMES: dict[Callable[..., Any], str] = {
    torch.Tensor.numpy: "python.numpy.default",
    torch.Tensor.__array__: "python.numpy.default",
    torch.Tensor.__dlpack__: "python.dlpack.default",
    torch.Tensor.tolist: "python.tolist.default",
}
"""The functions by which values leave, and the name of the op that stands for what is done with them."""

ELEMENT_FUNCTIONS: dict[Callable[..., Any], str] = {
    torch.Tensor.apply_: "python.apply_.default",
    torch.Tensor.map_: "python.map_.default",
}
"""Functions that call Python for each element, which no dispatcher sees."""

DEPARTURES_NOTE = (
    "Values of this pass left torch, and what Python or another library computes of them is not seen: it stands among "
    "what is not counted."
)


class Departure(NamedTuple):
    """Values that left.

    Attributes:
        name: of the op that stands for the work.
        op_count: ops recorded until then.
        row, phase: whose work it is.
        floating: the values were floating, or complex.
        memory: where they lie.
    """

    name: str
    op_count: int
    row: int
    phase: Phase
    floating: bool
    memory: range

    @property
    def to_library(self) -> bool:
        """Whether they went to a library, and not to plain Python."""
        return self.name != OP_NAMES[torch.Tensor.tolist]


def make_departure(
    function: Callable[..., Any], tensor: torch.Tensor, op_count: int, row: int, phase: Phase
) -> Departure | None:
    """The departure of a tensor's values; `None` where it holds one alone, or none."""
    if tensor.is_meta or tensor.numel() < 2:
        return None
    start = tensor.data_ptr()
    memory = range(start, start + max(1, tensor.untyped_storage().nbytes()))
    floating = tensor.is_floating_point() or tensor.is_complex()
    return Departure(OP_NAMES[function], op_count, row, phase, floating, memory)


def make_unseen_op(name: str, row: int, phase: Phase) -> Op:
    """An op of unknown cost."""
    return Op(Signature(name, macs=None, flops=None, status="unknown"), row, phase, (), ())


def list_unseen_ops(departures: Sequence[Departure], recorder: Recorder, output: Any) -> list[Op]:
    """An op for each departure that stands for work which nobody saw. `recorder` is still open."""
    if not departures:
        return []
    entry, places = _find_last_entry(recorder), list(_find_arrays(output))
    returned = [one for one in departures if any(place in one.memory for place in places)]
    plain = returned if all(any(place in one.memory for one in returned) for place in places) else []
    unseen = [one for one in departures if entry >= one.op_count and (one.floating or one.to_library)]
    unseen += [one for one in departures if one not in (*unseen, *plain) and one.floating and one.to_library]
    return [make_unseen_op(one.name, one.row, one.phase) for one in unseen]


def _find_last_entry(recorder: Recorder) -> int:
    """The number of the last op by which several floating values came in; -1: none did."""
    ops = recorder.recorded_ops
    if recorder.constants.of_library:
        return len(ops)  # torch calls no op for memory that it is only shown
    entries = (number for number, op in enumerate(ops) if op.signature.name == FRESH_OP)
    return max((number for number in entries if any(map(_is_many, ops[number].signature.outputs))), default=-1)


def _is_many(spec: TensorSpec) -> bool:
    return spec.numel > 1 and is_floating_dtype(spec.dtype)


def _find_arrays(output: Any) -> Iterator[int]:
    """The addresses of numpy's arrays in an output."""
    if isinstance(output, dict | list | tuple):
        for part in output.values() if isinstance(output, dict) else output:
            yield from _find_arrays(part)
    elif not isinstance(output, torch.Tensor) and hasattr(output, "__array_interface__"):
        yield output.__array_interface__["data"][0]
