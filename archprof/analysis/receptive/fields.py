"""The receptive field of every layer: what one position of its output sees of the input.

Found from the recorded ops and tensors, so that it is right whatever the modules are called: an interval of input
positions is carried from op to op (`spans`, `positions`, `position_rules`). The definitions are those of Araujo,
Norris and Sim, "Computing Receptive Fields of Convolutional Neural Networks" (Distill, 2019).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from archprof.analysis.contradictions import refuse_contradictions
from archprof.analysis.receptive.position_rules import follow_positions
from archprof.analysis.receptive.positions import (
    OpStep,
    PositionState,
    collect_spans,
    constant_state,
    input_state,
)
from archprof.analysis.receptive.spans import InputAxis, PositionSpan
from archprof.analysis.receptive.written_parts import WrittenParts
from archprof.facts.records import Layer, Op, Profile, TensorSpec

Number = int | float

SLIDING_OPS = ("aten.convolution", "aten._convolution", "aten.max_pool", "aten.avg_pool")
"""How the names of the ops begin whose windows tell which dimensions are spatial."""


class ReceptiveField(NamedTuple):
    """What one position of a layer's first output sees, one number per spatial dimension of the input.

    Position i of the output is centred on input position i * stride + (size - 1) / 2 - padding. After an upsampling
    fields differ from position to position: `size` is then the widest, stride and padding are averages.

    Attributes:
        size: input pixels from the first to the last that count; `None` where everything is seen or nobody knows.
        stride: input pixels between neighbours.
        padding: pixels by which the first field reaches over the border of the input; negative when it begins inside.
        aligned: the paths that join are centred on the same pixels; otherwise `size` is that of their union.
        reason: why there is no size: the first op that mixed all positions, and where.
        local: the size without the paths that are global, such as the gates of squeeze-and-excitation.
    """

    size: tuple[int, ...] | None = None
    stride: tuple[Number, ...] | None = None
    padding: tuple[Number, ...] | None = None
    aligned: bool = True
    reason: str | None = None
    local: tuple[int, ...] | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values, under the names above."""
        return self._asdict()


class LayerFields(tuple[ReceptiveField, ...]):
    """The field of each layer, in the order of `Profile.layers`.

    Attributes:
        widest: the most that is seen before anything sees all: by a layer, or by an op that a container's own forward
            runs, as a pool that is no module; without a size where nothing has a field.
    """

    widest: ReceptiveField = ReceptiveField()


@refuse_contradictions
def compute_fields(profile: Profile) -> LayerFields:
    """The field of the first output of every layer; the first is the model's own."""
    walk = FieldWalk(profile)
    found = LayerFields(walk.field(index) for index in range(len(profile.layers)))
    of_ops = (walk.field_of_state(made[0]) for made in walk.made_states if made)
    found.widest = max((*found, *of_ops), key=_area, default=ReceptiveField())
    return found


def _area(field: ReceptiveField) -> int:
    return math.prod(field.size) if field.size else 0


def field_cells(field: ReceptiveField) -> dict[str, str | None]:
    """What the layer table prints: "3", or "3x1" where the dimensions differ; `None` where there is no field."""
    return {"rf": _text(field.size), "rf_stride": _text(field.stride), "rf_padding": _text(field.padding)}


def _text(values: Sequence[Number] | None) -> str | None:
    if values is None:
        return None
    return "x".join(f"{value:g}" for value in (values[:1] if len(set(values)) == 1 else values))


class FieldWalk:
    """The ops of one forward pass in order, and what each tensor sees after each."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.states: dict[int, PositionState] = {}
        self.views_by_storage: dict[int, list[int]] = {}
        self.spatial_axes: dict[int, list[InputAxis]] = {}
        self.parts = WrittenParts()
        self.rewritten: dict[int, list[tuple[int, PositionState]]] = {}
        self.made_states: list[list[PositionState]] = []
        self._seed()
        for number, op in enumerate(profile.ops):
            self.made_states.append(self._step(number, op) if op.phase == "forward" else [])
        self.results = _results(profile)

    def _seed(self) -> None:
        """The inputs; those of one shape beyond batch and channels share their axes."""
        numbers: dict[tuple[int, ...], int] = {}
        for index, tensor in enumerate(self.profile.tensors):
            storage = self.profile.storages[tensor.storage]
            if storage.role == "input" and storage.born is None and tensor.storage not in self.views_by_storage:
                shape = tensor.spec.shape
                number = numbers.setdefault(shape[2:] if len(shape) > 2 else shape, len(numbers))
                self._set(index, input_state(shape, number))

    def _set(self, index: int, state: PositionState) -> None:
        self.states[index] = state
        known = self.views_by_storage.setdefault(self.profile.tensors[index].storage, [])
        if index not in known:
            known.append(index)

    def state(self, index: int) -> PositionState:
        return self.states.get(index) or constant_state(self.shape(index))

    def shape(self, index: int) -> tuple[int, ...]:
        return self.profile.tensors[index].spec.shape

    def _step(self, number: int, op: Op) -> list[PositionState]:
        step = OpStep(
            number=number,
            op=op,
            layer_name=_named(self.profile.layer_of(op)),
            states=[self.state(i) for i in op.inputs],
            shapes=[self.shape(i) for i in op.inputs],
            out_shapes=[self.shape(i) for i in op.outputs],
            reads_buffers=any(self.profile.role_of(i) == "buffer" for i in op.inputs[1:]),
        )
        self._note_axes(step)
        self.parts.note_slice(step)
        made = follow_positions(step)
        for index, state in zip(op.outputs, made, strict=True):
            if index in op.inputs and self.state(index) != state:
                self._overwrite(step, index, state)
            self._set(index, state)
        return made

    def _note_axes(self, step: OpStep) -> None:
        """The first window that slides over an input tells which of its dimensions are spatial."""
        if step.op.window is None or not step.op.name.startswith(SLIDING_OPS):
            return
        seen = collect_spans(step.states[0].dims[-len(step.op.window.kernel) :])
        for number in {span.axis.input_number for span in seen} - set(self.spatial_axes):
            self.spatial_axes[number] = sorted({span.axis for span in seen if span.axis.input_number == number})

    def _overwrite(self, step: OpStep, index: int, state: PositionState) -> None:
        """Written in place: other views of the same storage hold the new values too."""
        whole = self.parts.whole_of(index) if step.op.name == "aten.copy_" else None
        filled = None
        if whole is not None:
            filled = self.parts.fill(step, state, self.state(whole), self.shape(whole))
        for other in self.views_by_storage.get(self.profile.tensors[index].storage, []):
            if filled and other == whole:
                self._rewrite(step, other, filled)
            elif filled and self.parts.whole_of(other) == whole:
                self._rewrite(step, other, self.parts.cut_out(step, other, filled, self.shape(other)))
            elif self.shape(other) == self.shape(index):
                self._rewrite(step, other, state)
            elif other != index:
                old = self.states[other]
                lost = step.mark_lost(old, old.axes() | state.axes(), f"{step.op.name} into a part")
                self._rewrite(step, other, lost)

    def _rewrite(self, step: OpStep, index: int, state: PositionState) -> None:
        self.states[index] = state
        self.rewritten.setdefault(index, []).append((step.number, state))

    def field(self, index: int) -> ReceptiveField:
        layer = self.profile.layers[index]
        if layer.call is None:
            unread = {self.profile.modules[one.module].path for one in self.profile.unread_parameters}
            used = layer.params and layer.path not in unread
            return ReceptiveField(reason="its weights are used without a call" if used else "never called in this pass")
        if not layer.outputs:
            return ReceptiveField(reason="no output")
        if index in self.results:
            return self.field_of_state(self._result(index))
        candidates = {self.field_of_state(state) for state in self._passed_on(index, layer.outputs[0])}
        return (
            candidates.pop() if len(candidates) == 1 else ReceptiveField(reason="returns a tensor that it did not make")
        )

    def spans(self, index: int) -> list[PositionSpan]:
        """What each position of the layer's first output sees, a span per spatial dimension that it tells apart."""
        return self._spans(self._result(index)) if index in self.results else []

    def _result(self, index: int) -> PositionState:
        op, output = self.results[index]
        made, tensor = self.made_states[op][output], self.profile.ops[op].outputs[output]
        for number, state in self.rewritten.get(tensor, ()):
            made = state if number > op and self._is_below(number, index) else made
        return made

    def _is_below(self, op: int, index: int) -> bool:
        """The op ran in that layer, or in one below it."""
        row: int | None = self.profile.call_rows[self.profile.ops[op].call]
        while row is not None and row > index:
            row = self.profile.layers[row].parent
        return row == index

    def _passed_on(self, index: int, spec: TensorSpec) -> Iterator[PositionState]:
        """States of every tensor of that shape which a layer without ops of its own may have returned."""
        ops, rows = self.profile.ops, self.profile.call_rows
        after = next((i for i, op in enumerate(ops) if rows[op.call] > index and op.phase == "forward"), len(ops))
        for number, tensor in enumerate(self.profile.tensors):
            if _is_alike(tensor.spec, spec) and self.profile.role_of(number) == "input" and number in self.states:
                yield self.states[number]
        for op, made in zip(ops[:after], self.made_states, strict=False):
            for number, state in zip(op.outputs, made, strict=False):
                died = self.profile.storages[self.profile.tensors[number].storage].died
                if _is_alike(self.profile.tensors[number].spec, spec) and (died is None or died >= after - 1):
                    yield state

    def field_of_state(self, state: PositionState) -> ReceptiveField:
        """The field of a state, over the spatial axes of the input that reaches it."""
        if not state.axes() and not state.lost:
            return ReceptiveField(reason="does not depend on the input")
        axes, spans = self._axes(state), self._spans(state)
        if not axes:
            return ReceptiveField(reason="no window slides over the input")
        known = len(spans) == len(axes)
        if lost := [state.lost[axis] for axis in axes if axis in state.lost]:
            return ReceptiveField(reason=min(lost).reason, local=_sizes(spans) if known else None)
        return _field(tuple(spans)) if known else ReceptiveField(reason="depends on the input only in part")

    def _spans(self, state: PositionState) -> list[PositionSpan]:
        seen = {span.axis: span for span in (*collect_spans(state.dims), *state.held.values())}
        return [seen[axis] for axis in self._axes(state) if axis in seen]

    def _axes(self, state: PositionState) -> list[InputAxis]:
        """The spatial axes of the first input that reaches it; where no window slides, those after the channels."""
        number = min(axis.input_number for axis in (*state.axes(), *state.lost))
        if number not in self.spatial_axes:
            every = {axis for state in self.states.values() for axis in state.axes() if axis.input_number == number}
            self.spatial_axes[number] = sorted(axis for axis in every if axis.dim > 1)
        return self.spatial_axes[number]


@lru_cache(maxsize=1 << 12)
def _field(spans: tuple[PositionSpan, ...]) -> ReceptiveField:
    # Many ops of a pass see the same, and averages in fractions take long.
    return ReceptiveField(
        size=_sizes(spans),
        stride=tuple(_number(span.stride) for span in spans),
        padding=tuple(_number(span.padding) for span in spans),
        aligned=all(span.aligned for span in spans),
    )


def _sizes(spans: Iterable[PositionSpan]) -> tuple[int, ...]:
    return tuple(span.size for span in spans)


def _number(value: Any) -> Number:
    return int(value) if value.denominator == 1 else float(value)


def _results(profile: Profile) -> dict[int, tuple[int, int]]:
    """For each layer the (op, output) that made its first output: the last one of that shape in it or below it."""
    found: dict[int, tuple[int, int]] = {}
    for number, op in reversed([*enumerate(profile.ops)]):
        row: int | None = profile.call_rows[op.call] if op.phase == "forward" else None
        while row is not None:
            wanted = profile.layers[row].outputs[:1]
            if row not in found and wanted:
                alike = [_is_alike(profile.tensors[i].spec, wanted[0]) for i in op.outputs]
                if any(alike):
                    found[row] = (number, alike.index(True))
            row = profile.layers[row].parent
    return found


def _is_alike(one: TensorSpec, other: TensorSpec) -> bool:
    """Of one shape and dtype, wherever their elements lie."""
    return one.shape == other.shape and one.dtype == other.dtype


def _named(layer: Layer) -> str:
    return layer.path or "the model itself"
