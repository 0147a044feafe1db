"""Which ops a compiled kernel runs, and which calls they are of: from the graph that torch's compiler lowered."""

from __future__ import annotations

import operator
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch.fx import Node

from archprof.facts.overlays import Outside
from archprof.facts.records import Profile
from archprof.measuring.boundaries import ROOT_ROW
from archprof.measuring.protocols import RowKey, list_called_rows
from archprof.torchside.tensors import tensors_in

NO_PATH = "(no path)"


class KernelResult(NamedTuple):
    """One result of a kernel.

    Attributes:
        exact_op: the op whose result it is; `None` where it is a copy or a part of one.
        origins: ops that inductor names for it, which may be more than ran.
        nbytes: its size.
    """

    exact_op: Node | None
    origins: Sequence[Node]
    nbytes: int


class LoweredKernel(NamedTuple):
    """One call that compiled code makes: of a kernel written for it, or of a library."""

    name: str
    is_library: bool
    results: Sequence[KernelResult]


def find_ops_run(kernel: LoweredKernel, exact: set[Node]) -> dict[Node, int]:
    """The ops that a kernel runs, with the bytes that each would move by itself.

    From the op of each result back through those that inductor names, up to the results of other kernels: those are
    read and not computed again. A result that is no op's is a copy or a part of the last op named: it is read and
    written. A library has one op.
    """
    found: dict[Node, int] = {}
    for buffer in sorted(kernel.results, key=lambda buffer: buffer.exact_op is None):
        named = set(buffer.origins)
        if buffer.exact_op is not None:
            ends = [buffer.exact_op]
        else:
            ends = [node for node in buffer.origins if not named & set(node.users)]
        waiting = [] if kernel.is_library else [before for node in ends for before in node.all_input_nodes]
        for node in ends:
            whole = kernel.is_library or buffer.exact_op is not None
            found.setdefault(node, _count_op_bytes(node) if whole else 2 * buffer.nbytes)
        while waiting:
            node = waiting.pop()
            if node in named and node not in exact and node not in found:
                found[node] = _count_op_bytes(node)
                waiting += node.all_input_nodes
    return found


def _count_op_bytes(node: Node) -> int:
    """Bytes that an op reads and writes; nothing for a view, or for a part of a result of several."""
    if node.target is operator.getitem or getattr(node.target, "is_view", False):
        return 0
    return sum(_count_tensor_bytes(one.meta.get("val")) for one in (node, *node.all_input_nodes))


def _count_tensor_bytes(value: Any) -> int:
    sizes = [tensor.numel() * tensor.element_size() for tensor in tensors_in(value)]
    return sum(size for size in sizes if isinstance(size, int))


class OpOwners:
    """Tells which call an op of a compiled graph is of, by what torch noted of that op alone."""

    def __init__(self, model: torch.nn.Module, profile: Profile) -> None:
        self._rows: dict[str, list[RowKey]] = defaultdict(list)
        for path, number in list_called_rows(profile):
            self._rows[path].append((path, number))
        self._paths: dict[str, list[str]] = defaultdict(list)
        for path, module in model.named_modules(remove_duplicate=False):
            self._paths[str(id(module))].append(path)

    def find_row(self, node: Node) -> RowKey:
        """Of the innermost module that is a layer; `UNATTRIBUTED` where that, or which of its calls, is not known."""
        meta = node.meta
        if meta.get("is_gradient_acc"):
            return Outside.GRADIENT_ACCUMULATION
        stack = meta.get("nn_module_stack") or meta.get("fwd_nn_module_stack")
        if not stack:  # an op of the model itself comes from a line of its code; others are of the compiler
            return ROOT_ROW if node.op == "call_function" and meta.get("stack_trace") else Outside.UNATTRIBUTED
        for key in reversed(stack):
            number, _, call = str(key).partition("@")  # the module's id; from the second call on with the call
            paths = self._paths.get(number) or [NO_PATH]
            rows = self._rows.get(paths[0], [])
            if len(rows) == 1:
                return rows[0]
            if rows:  # each name of a module that has several is counted for itself
                row = (paths[0], int(call or 0))
                return row if len(paths) == 1 and row in rows else Outside.UNATTRIBUTED
        return Outside.UNATTRIBUTED
