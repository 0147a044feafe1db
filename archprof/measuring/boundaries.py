"""The work of one pass, cut at the borders of module calls and charged to rows.

A `MarkTrail` holds what was running from which moment on. Each stretch between two marks belongs to the row on top of
the stack, so a row has its own work only, and a container what it does between its children. In the backward pass the
stretches are those of autograd's nodes: a node was made while some module ran, which its sequence number tells.
Nothing is added to the graph, as backward hooks on modules would do, which forbid in-place ops.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from itertools import pairwise
from typing import Any, Literal, NamedTuple, Protocol

import torch
from torch import nn

from archprof.facts.overlays import Outside
from archprof.facts.records import Profile
from archprof.measuring.live_model import LiveModel, PassStage
from archprof.measuring.protocols import CallKey, Clock, Marker, RowKey, list_called_rows
from archprof.torchside.private import RecordFunction, check_autograd, next_sequence_number, node_number

MarkKind = Literal["call", "node", "stage"]
"""What a mark stands at: the border of a module call, of an autograd node, or of a stage of the pass."""

Overhead = Mapping[MarkKind, float]
"""Seconds of one mark."""

NO_OVERHEAD: Overhead = {"call": 0.0, "node": 0.0, "stage": 0.0}

MARK_PREFIX = "archprof mark "
"""Begins the name of the ranges that stand for marks; their number follows."""

ROOT_ROW: RowKey = ("", 0)

ROW_BY_STAGE: Mapping[PassStage, RowKey | None] = {
    "outside": Outside.OUTSIDE_MODULES,
    "forward": ROOT_ROW,
    "backward": Outside.GRADIENT_ACCUMULATION,
    "optimizer": Outside.OPTIMIZER_STEP,
    "end": None,
}
"""Whose the time is while no module and no node runs; in the backward pass that is autograd's own, which sums gradients
where paths join."""


class Mark(NamedTuple):
    """From `handle` on, the time is that of `row`; `None`: it is not counted."""

    row: RowKey | None
    kind: MarkKind
    handle: Any


class RangeMarker:
    """Marks that a profiler sees: ranges without length, numbered over all passes of a session."""

    def __init__(self) -> None:
        self.count = 0

    def mark(self) -> int:
        number = self.count
        self.count += 1
        with open_range(f"{MARK_PREFIX}{number}"):
            return number


def open_range(name: str) -> AbstractContextManager[Any]:
    """A range in the trace: by torch's fast private class (0.6 us), or by the public one (4.7 us) where it is gone."""
    return RecordFunction(name)  # type: ignore[no-any-return]


class MarkTrail:
    """The marks of one pass over `model`, whose modules have hooks until `close`.

    Give `begin_stage` to `LiveModel.run_pass`. Rows that are not among `rows` are charged to their caller.
    """

    def __init__(self, model: nn.Module, rows: Collection[RowKey], clock: Marker) -> None:
        self.model, self.rows, self.clock = model, frozenset(rows), clock
        self.marks: list[Mark] = []
        self.stack: list[tuple[str, RowKey | None]] = []
        self.call_counts: dict[str, int] = defaultdict(int)
        self.node_borders: list[tuple[int, RowKey | None]] = []
        self.in_backward = False
        self.hooks: list[Any] = []
        for path, module in model.named_modules():
            # TorchScript takes no hooks, so that its work is its caller's; the model itself is the stage "forward".
            if module is not model and not isinstance(module, torch.jit.ScriptModule):
                enter, leave = partial(self._enter, path), partial(self._leave, path)
                self.hooks.append(module.register_forward_pre_hook(enter, prepend=True))
                self.hooks.append(module.register_forward_hook(leave))

    def remove_hooks(self) -> None:
        """Take the hooks away."""
        for hook in self.hooks:
            hook.remove()
        self.hooks.clear()

    def begin_stage(self, stage: PassStage, loss: torch.Tensor | None) -> None:
        """A stage of the pass begins: it is what runs while nothing else does."""
        if loss is not None:
            check_autograd()
            self._add_mark(None, "stage")  # our own work, which nobody would do without us
            self._hook_nodes(loss)
        self.in_backward = stage == "backward"
        self.stack = [("", ROW_BY_STAGE[stage])]
        self._add_mark(ROW_BY_STAGE[stage], "stage")

    def _add_mark(self, row: RowKey | None, kind: MarkKind) -> None:
        self.marks.append(Mark(row, kind, self.clock.mark()))
        if not self.in_backward:
            self.node_borders.append((next_sequence_number(), row))

    def _enter(self, path: str, module: nn.Module, args: Any) -> None:
        if self.in_backward:  # a checkpoint runs it again
            row: RowKey = (path, max(0, self.call_counts[path] - 1))
        else:
            row = (path, self.call_counts[path])
            self.call_counts[path] += 1
        charged = row if row in self.rows else self.stack[-1][1]
        self.stack.append((path, charged))
        self._add_mark(charged, "call")

    def _leave(self, path: str, module: nn.Module, args: Any, output: Any) -> None:
        while len(self.stack) > 1 and self.stack.pop()[0] != path:
            pass  # an inner call that raised, and whose caller went on
        self._add_mark(self.stack[-1][1], "call")

    def _hook_nodes(self, loss: torch.Tensor) -> None:
        """Put hooks on every node of the graph behind the loss."""
        numbers, owners = [number for number, _ in self.node_borders], self._find_param_rows()
        for node in _walk_nodes(loss):
            row: RowKey | None
            if hasattr(node, "variable"):  # it keeps the gradient of a parameter
                row = owners.get(id(node.variable), Outside.GRADIENT_ACCUMULATION)
            else:
                row = self.node_borders[max(0, bisect_right(numbers, node_number(node)) - 1)][1]
            self.hooks.append(node.register_prehook(partial(self._begin_node, row)))
            self.hooks.append(node.register_hook(self._end_node))

    def _find_param_rows(self) -> dict[int, RowKey]:
        """The row of each parameter's first owner that was called, by the parameter's id."""
        owners: dict[int, RowKey] = {}
        for path, module in self.model.named_modules():
            for tensor in module._parameters.values():
                if (path, 0) in self.rows:
                    owners.setdefault(id(tensor), (path, 0))
        return owners

    def _begin_node(self, row: RowKey | None, gradients: Any) -> None:
        self.stack.append(("", row))
        self._add_mark(row, "node")

    def _end_node(self, gradients_in: Any, gradients_out: Any) -> None:
        while len(self.stack) > 1 and self.stack.pop()[0]:
            pass  # a checkpoint stops in the middle of a call when it has what it needs
        self._add_mark(self.stack[-1][1], "node")


def _walk_nodes(loss: torch.Tensor) -> Iterator[Any]:
    """Every node of the graph behind a tensor, each once."""
    seen, waiting = set(), [loss.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            yield node
            waiting += [following for following, _ in node.next_functions]


def sum_own_seconds(marks: Sequence[Mark], clock: Clock, overhead: Overhead = NO_OVERHEAD) -> dict[RowKey, float]:
    """What each row's stretches took together, without the marks; not below zero."""
    own: dict[RowKey, float] = defaultdict(float)
    for mark, following in pairwise(marks):
        if mark.row is not None:
            own[mark.row] += clock.seconds(mark.handle, following.handle) - overhead[mark.kind]
    return {row: max(0.0, seconds) for row, seconds in own.items()}


class Marking(Protocol):
    """Where a pass is marked, and whose the time between marks is.

    Attributes:
        called_rows: the rows that time may be charged to, in order.
        attributed: marks stand elsewhere than at the borders of rows; `charge_to_rows` splits what lies
            between by a rule.
    """

    called_rows: tuple[CallKey, ...]
    attributed: bool

    def run_with_marks(self, subject: LiveModel, clock: Marker, *, nodes: bool = True) -> Sequence[Mark]:
        """The marks of a pass that was given to the device and may still run.

        Args:
            nodes: also at the nodes of the backward pass.
        """

    def charge_to_rows(self, own: Mapping[RowKey, float]) -> dict[RowKey, float]:
        """Seconds by the rows of marks -> seconds by the rows of the latency."""


class ModuleMarking:
    """Marks at the borders of modules, which are those of rows: a `Marking`.

    Attributes:
        called_rows: the rows of the profile that were called, in order.
        idle_containers: containers among them without an op of their own: what passes there is between layers.
    """

    attributed = False

    def __init__(self, profile: Profile) -> None:
        layers = profile.layers
        self.called_rows = list_called_rows(profile)
        busy = set(map(profile.row_of, profile.ops))
        containers = {layer.parent for layer in layers if layer.parent is not None}
        self.idle_containers = frozenset(
            self.called_rows[call] for index in containers - busy if (call := layers[index].call_index) is not None
        )

    def run_with_marks(self, subject: LiveModel, clock: Marker, *, nodes: bool = True) -> Sequence[Mark]:
        trail = MarkTrail(subject.model, self.called_rows, clock)

        def begins(stage: PassStage, loss: torch.Tensor | None) -> None:
            trail.begin_stage(stage, loss if nodes else None)

        try:
            subject.run_pass(begins)
        finally:
            trail.remove_hooks()
        return trail.marks

    def charge_to_rows(self, own: Mapping[RowKey, float]) -> dict[RowKey, float]:
        """The same seconds, with those of idle containers between layers."""
        booked = {row: 0.0 if row in self.idle_containers else seconds for row, seconds in own.items()}
        if between := [seconds for row, seconds in own.items() if row in self.idle_containers]:
            booked[Outside.BETWEEN_LAYERS] = sum(between)
        return booked
