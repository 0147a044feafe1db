"""In which run each op of a pass works."""

from __future__ import annotations

from collections.abc import Iterable

from archprof.analysis.tables.map_sizes import guess_size, measure_maps
from archprof.analysis.tables.stage_runs import Run, RunGraph
from archprof.facts.records import Op, Profile


def find_dependent_ops(profile: Profile) -> list[bool]:
    """For each op whether it works on what went into the model, or on something made from that."""
    reached = {i for i, one in enumerate(profile.storages) if one.role == "input" and one.born is None}
    found = list[bool]()
    for op in profile.ops:
        follows = any(profile.tensors[i].storage in reached for i in op.inputs)
        if follows:
            reached.update(profile.tensors[i].storage for i in op.outputs)
        found.append(follows)
    return found


class Placing:
    """The runs of the forward pass.

    Attributes:
        graph: the runs.
        rows: the row of each op.
        runs: by op, of those that compute or move something: views do neither.
        passed: of the rows without such an op, where they were passed by: the number of the op that came next.
    """

    def __init__(self, profile: Profile) -> None:
        self.profile, self.graph = profile, RunGraph()
        self.rows = [profile.call_rows[op.call] for op in profile.ops]
        self.runs: dict[int, Run] = {}
        self.passed: dict[int, tuple[Run, int]] = {}
        self._current = Run(None)
        self._needs: dict[int, list[Run]] = {}
        self._helpers: dict[int, list[int]] = {}
        self._dependent = find_dependent_ops(profile)
        self._sizes = measure_maps(profile, self._dependent)
        self._lengthwise = {
            row for row, op in zip(self.rows, profile.ops, strict=True) if op.window and len(op.window.kernel) == 1
        }
        self._blocks = list[tuple[int, ...]]()
        for index, call in enumerate(profile.calls):
            self._blocks.append((*(() if call.parent is None else self._blocks[call.parent]), index))
        self._place_all()

    def find(self, run: Run) -> Run:
        """What has become of a run; what came before all of them belongs to the first."""
        found = self.graph.find(run)
        return found if found in self.graph.runs or not self.graph.runs else self.order()[0]

    def order(self) -> list[Run]:
        """The runs that there are in the end, in order."""
        return self.graph.order() or [self._current]

    def _place_all(self) -> None:
        work = [i for i, op in enumerate(self.profile.ops) if op.phase == "forward" and self._works(i, op)]
        busy = {self.rows[i] for i in work}
        waiting = [row for row in reversed(self.profile.call_rows) if row not in busy]
        for index in work:
            while waiting and (self.profile.layers[waiting[-1]].call_index or 0) < self.profile.ops[index].call:
                self._pass_by(waiting.pop(), index)
            self._place(index)
        for row in reversed(waiting):
            self._pass_by(row, len(self.profile.ops))
        for index in work:
            if index not in self.runs:
                self._place_unread(index)

    def _place_unread(self, index: int) -> None:
        """What no op reads. A number for Python or a counter in a buffer belongs to what its module did, or to the run
        going on."""
        aside = not self._dependent[index] or self._is_scalar(self.profile.ops[index])
        if aside and self.rows[index] in {self.rows[other] for other in self.runs}:
            return
        if aside and self.runs:
            before = [other for other in self.runs if other < index]
            self._settle(index, self.graph.find(self.runs[max(before) if before else min(self.runs)]))
        else:
            self._place_here(index)

    def _is_scalar(self, op: Op) -> bool:
        return bool(op.outputs) and not self.profile.tensors[op.outputs[0]].spec.shape

    def _works(self, index: int, op: Op) -> bool:
        storages = self.profile.storages
        made = any(storages[one].born == index for one in self._storages(op.outputs))
        return made or op.flops != 0 or op.bytes_moved > 0

    def _storages(self, tensors: Iterable[int]) -> list[int]:
        return [self.profile.tensors[i].storage for i in tensors]

    def _place(self, index: int) -> None:
        op = self.profile.ops[index]
        helpers = [other for one in self._storages(op.inputs) for other in self._helpers.get(one, ())]
        if self._is_helper(index):
            needed = self._needed(op)
            for one in self._storages(op.outputs):
                self._helpers[one] = [*dict.fromkeys((*self._helpers.get(one, ()), *helpers, index))]
                self._needs[one] = [*self._needs.get(one, ()), *needed]
            return
        run = self._place_here(index)
        for other in helpers:
            if other not in self.runs:
                self._settle(other, run)

    def _is_helper(self, index: int) -> bool:
        """Whether it belongs to the op that reads what came of it: work on weights alone, a single number, and what
        only moves elements into another size, as padding does."""
        op, size = self.profile.ops[index], self._sizes[index]
        moves = op.flops == 0 and size is not None
        apart = moves and all(run.size != size for run in self._needed(op))
        return bool(op.outputs) and (apart or not self._dependent[index] or self._is_scalar(op))

    def _needed(self, op: Op) -> list[Run]:
        return [
            *dict.fromkeys(
                self.graph.find(run) for one in self._storages(op.inputs) for run in self._needs.get(one, ())
            )
        ]

    def _place_here(self, index: int) -> Run:
        op, size = self.profile.ops[index], self._sizes[index]
        if size is None:
            size = self._size_of_row(self.rows[index])
        self._current = self.graph.join(size, self._needed(op), self._blocks[op.call])
        self._settle(index, self._current)
        return self._current

    def _settle(self, index: int, run: Run) -> None:
        op = self.profile.ops[index]
        self.runs[index] = run
        run.add(index, op, self._blocks[op.call])
        self._needs.update({one: [run] for one in self._storages(op.outputs)})

    def _size_of_row(self, row: int) -> tuple[int, ...] | None:
        """The size of what a call returned, where no op says it; that of the run going on where it returned nothing."""
        outputs, current = self.profile.layers[row].outputs, self.graph.find(self._current).size
        return guess_size(outputs[0].shape, current, row in self._lengthwise) if outputs else current

    def _pass_by(self, row: int, place: int) -> None:
        """A call without work of its own stays in the run going on; but where nobody wrote down which ops read what it
        holds, its output says where it works."""
        parameters = self.profile.parameters
        if self.profile.layers[row].params and all(one.storage is None for one in parameters):
            size = self._size_of_row(row)
            alike = [run for run in self.graph.runs if run.size == size][-1:]
            going = [self._current] if self.graph.runs else []
            self._current = self.graph.join(size, [*alike, *going], ())
        self.passed[row] = self._current, place
