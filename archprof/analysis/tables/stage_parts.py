"""What each call did in each run: its ops, what they cost, and what it holds for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from archprof.analysis.counts import SUMS, Counts
from archprof.analysis.metric import Metric
from archprof.analysis.tables.stage_placing import Placing
from archprof.analysis.tables.stage_runs import Run
from archprof.facts.modules import sum_owned
from archprof.facts.records import Layer, Parameter, Profile

OWNED = Layer._fields[6:11]
"""The sums of what a module holds, by key, in the order of `sum_owned`."""


@dataclass(slots=True, eq=False)
class WorkPart:
    """What one row of the profile did in one run.

    Attributes:
        row: index into `Profile.layers`.
        run: `None` for what no op used.
        place: when it was done: the number of its last op that is no view.
        ops: indices into `Profile.ops`, of all phases.
        held: of its parameters and buffers, those that are read here first.
        is_main: here counts what is known of the call as a whole: that it was called, and how long it took.
        counts: all that it adds to the sums.
    """

    row: int
    run: Run | None
    place: float
    ops: list[int] = field(default_factory=list)
    held: list[Parameter] = field(default_factory=list)
    is_main: bool = False
    counts: Counts = field(default_factory=Counts)


def split_work(profile: Profile, own: Sequence[Counts]) -> list[WorkPart]:
    """Every row of the profile in the runs where it worked, run after run; what no op used comes last."""
    placing = Placing(profile)
    parts = _PartsByRow(profile, placing)
    for part in parts.all():
        part.is_main = part is parts.main(part.row)
    _count_parts(profile, own, parts.all())
    places: dict[Run | None, int] = {run: place for place, run in enumerate(placing.order())}
    return sorted(parts.all(), key=lambda part: (places.get(part.run, len(places)), part.place))


class _PartsByRow:
    """The parts of each row."""

    def __init__(self, profile: Profile, placing: Placing) -> None:
        self.profile, self.placing = profile, placing
        self.parts: list[dict[Run | None, WorkPart]] = [{} for _ in profile.layers]
        self._by_output: dict[tuple[int, tuple[int, ...]], WorkPart] = {}
        for row, (run, place) in placing.passed.items():
            self._part(row, placing.find(run), place - 0.5)
        for index in sorted(placing.runs):
            self._add_op(index)
        self.weights = [{run: self._weigh(part) for run, part in own.items()} for own in self.parts]
        for index in sorted({*range(len(profile.ops))}.difference(placing.runs)):
            self._find_part(index).ops.append(index)
        self._hand_out_parameters()
        for row, own in enumerate(self.parts):
            if not own:
                self._part(row, None, row)

    def all(self) -> list[WorkPart]:
        return [part for own in self.parts for part in own.values()]

    def main(self, row: int) -> WorkPart:
        """Where the row moved most, the last of those."""
        return max(self.parts[row].values(), key=lambda part: (self.weights[row].get(part.run, 0), part.place))

    def _weigh(self, part: WorkPart) -> int:
        return sum(self.profile.ops[index].bytes_moved for index in part.ops)

    def _part(self, row: int, run: Run | None, place: float) -> WorkPart:
        return self.parts[row].setdefault(run, WorkPart(row, run, place))

    def _add_op(self, index: int) -> None:
        row, op = self.placing.rows[index], self.profile.ops[index]
        part = self._part(row, self.placing.find(self.placing.runs[index]), index)
        part.ops.append(index)
        part.place = index
        for tensor in op.outputs[:1]:
            self._by_output[row, self.profile.tensors[tensor].spec.shape] = part

    def _find_part(self, index: int) -> WorkPart:
        """Of a view or an op of another phase. An op of the backward pass begins with a gradient of what its forward
        made, which has the same shape."""
        row, op = self.placing.rows[index], self.profile.ops[index]
        shape = self.profile.tensors[op.inputs[0]].spec.shape if op.phase == "backward" and op.inputs else None
        return (shape is not None and self._by_output.get((row, shape))) or self.main(row)

    def _hand_out_parameters(self) -> None:
        profile, readers = self.profile, dict[int, int]()
        for index in sorted(self.placing.runs, reverse=True):
            readers.update((profile.tensors[i].storage, index) for i in profile.ops[index].inputs)
        rows = {layer.path: row for row, layer in enumerate(profile.layers) if not layer.call}
        for one in profile.parameters:
            if (row := rows.get(profile.modules[one.module].path)) is not None:
                reader = None if one.storage is None else readers.get(one.storage)
                self._find_holder(row, reader).held.append(one)

    def _find_holder(self, row: int, reader: int | None) -> WorkPart:
        """The part of the row in the run of that op. A module that was not called has one wherever it is read."""
        run = None if reader is None else self.placing.find(self.placing.runs[reader])
        if self.profile.layers[row].call is None:
            return self._part(row, run, row if reader is None else reader)
        return self.parts[row].get(run) or self.main(row)


def _count_parts(profile: Profile, own: Sequence[Counts], parts: Sequence[WorkPart]) -> None:
    groups = [0] * len(profile.ops)
    for number, part in enumerate(parts):
        for index in part.ops:
            groups[index] = number
    costs = profile.sum_costs(groups, len(parts))
    owned = sum_owned([one._replace(module=number) for number, part in enumerate(parts) for one in part.held])
    for number, part in enumerate(parts):
        held = dict(zip(OWNED, owned.get(number, (0,) * len(OWNED)), strict=True))
        values = []
        for metric in SUMS:
            if metric.of_cost:
                values.append(metric.of_cost(costs[number], profile.dtype))
            elif metric.key in held:
                values.append(held[metric.key])
            else:
                values.append(_count_metric(profile, own[part.row], part, metric))
        part.counts = Counts._make(values)


def _count_metric(profile: Profile, own: Counts, part: WorkPart, metric: Metric) -> object:
    """A sum over the ops, or what is known of the whole call alone."""
    whole = getattr(own, metric.key)
    if metric.of_op and metric.key != "calls":
        return sum(metric.of_op(profile.ops[index]) for index in part.ops)
    return whole if part.is_main or whole is None else getattr(Counts(), metric.key)
