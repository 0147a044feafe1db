"""The receptive field of every layer: what one position of its output sees of the input.

Found from the recorded ops and tensors, so that it is right whatever the modules are called: an interval of input
positions is carried from op to op (`spans`, `positions`, `position_rules`). The definitions are those of Araujo,
Norris and Sim, "Computing Receptive Fields of Convolutional Neural Networks" (Distill, 2019).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from math import prod
from typing import Any, NamedTuple

from archprof.analysis.receptive.position_rules import follow
from archprof.analysis.receptive.positions import State, Step, constant, seed, spans_of
from archprof.analysis.receptive.spans import Axis, Span
from archprof.facts.records import Layer, Op, Profile, TensorSpec

Number = int | float

SLIDING = ("aten.convolution", "aten._convolution", "aten.max_pool", "aten.avg_pool")
"""How the names of the ops begin whose windows tell which dimensions are spatial."""


class Field(NamedTuple):
    """What one position of a layer's first output sees, one number a spatial dimension of the input.

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


def fields(profile: Profile) -> tuple[Field, ...]:
    """The field of the first output of every layer, in the order of `profile.layers`; the first is the model's own."""
    walk = Walk(profile)
    return tuple(walk.field(index) for index in range(len(profile.layers)))


def widest(profile: Profile) -> tuple[Layer, Field] | None:
    """The innermost layer that sees most before anything sees all, with its field; `None` when no layer has one."""
    found = [(layer, field) for layer, field in zip(profile.layers, fields(profile), strict=True) if field.size]
    return max(found, key=lambda pair: (prod(pair[1].size or ()), pair[0].depth)) if found else None


def cells(field: Field) -> dict[str, str | None]:
    """What the layer table prints: "3", or "3x1" where the dimensions differ; `None` where there is no field."""
    return {"rf": _text(field.size), "rf_stride": _text(field.stride), "rf_padding": _text(field.padding)}


def _text(values: Sequence[Number] | None) -> str | None:
    if values is None:
        return None
    return "x".join(f"{value:g}" for value in (values[:1] if len(set(values)) == 1 else values))


class Walk:
    """The ops of one forward pass in order, and what each tensor sees after each."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.states: dict[int, State] = {}
        self.siblings: dict[int, list[int]] = {}
        self.axes: dict[int, list[Axis]] = {}
        self.made: list[list[State]] = []
        self._seed()
        for number, op in enumerate(profile.ops):
            self.made.append(self._step(number, op) if op.phase == "forward" else [])
        self.results = _results(profile)

    def _seed(self) -> None:
        """The inputs; those of one shape beyond batch and channels share their axes."""
        numbers: dict[tuple[int, ...], int] = {}
        for index, tensor in enumerate(self.profile.tensors):
            storage = self.profile.storages[tensor.storage]
            if storage.role == "input" and storage.born is None and tensor.storage not in self.siblings:
                shape = tensor.spec.shape
                number = numbers.setdefault(shape[2:] if len(shape) > 2 else shape, len(numbers))
                self._set(index, seed(shape, number))

    def _set(self, index: int, state: State) -> None:
        self.states[index] = state
        known = self.siblings.setdefault(self.profile.tensors[index].storage, [])
        if index not in known:
            known.append(index)

    def state(self, index: int) -> State:
        return self.states.get(index) or constant(self.shape(index))

    def shape(self, index: int) -> tuple[int, ...]:
        return self.profile.tensors[index].spec.shape

    def _step(self, number: int, op: Op) -> list[State]:
        step = Step(
            number=number,
            op=op,
            where=_named(self.profile.layers[op.layer]),
            states=[self.state(i) for i in op.inputs],
            shapes=[self.shape(i) for i in op.inputs],
            outs=[self.shape(i) for i in op.outputs],
            buffers=any(self._role(i) == "buffer" for i in op.inputs[1:]),
        )
        self._note_axes(step)
        made = follow(step)
        for index, state in zip(op.outputs, made, strict=True):
            if index in op.inputs and self.state(index) != state:
                self._overwrite(step, index, state)
            self._set(index, state)
        return made

    def _role(self, index: int) -> str:
        return self.profile.storages[self.profile.tensors[index].storage].role

    def _note_axes(self, step: Step) -> None:
        """The first window that slides over an input tells which of its dimensions are spatial."""
        if step.op.window is None or not step.op.name.startswith(SLIDING):
            return
        seen = spans_of(step.states[0].dims[-len(step.op.window.kernel) :])
        for number in {span.axis.input for span in seen} - set(self.axes):
            self.axes[number] = sorted({span.axis for span in seen if span.axis.input == number})

    def _overwrite(self, step: Step, index: int, state: State) -> None:
        """Written in place: other views of the same storage hold the new values too."""
        for other in self.siblings.get(self.profile.tensors[index].storage, []):
            if self.shape(other) == self.shape(index):
                self.states[other] = state
            elif other != index:
                old = self.states[other]
                self.states[other] = step.lose(old, old.axes() | state.axes(), f"{step.op.name} into a part")

    def field(self, index: int) -> Field:
        layer = self.profile.layers[index]
        if layer.call is None:
            return Field(reason="never called in this pass")
        if not layer.outputs:
            return Field(reason="no output")
        if index in self.results:
            return self._of(self._result(index))
        candidates = {self._of(state) for state in self._passed_on(index, layer.outputs[0])}
        return candidates.pop() if len(candidates) == 1 else Field(reason="returns a tensor that it did not make")

    def spans(self, index: int) -> list[Span]:
        """What each position of the layer's first output sees, a span a spatial dimension that it tells apart."""
        return self._spans(self._result(index)) if index in self.results else []

    def _result(self, index: int) -> State:
        op, output = self.results[index]
        return self.made[op][output]

    def _passed_on(self, index: int, spec: TensorSpec) -> Iterator[State]:
        """States of every tensor of that shape which a layer without ops of its own may have returned."""
        ops = self.profile.ops
        after = next((i for i, op in enumerate(ops) if op.layer > index and op.phase == "forward"), len(ops))
        for number, tensor in enumerate(self.profile.tensors):
            if tensor.spec == spec and self._role(number) == "input" and number in self.states:
                yield self.states[number]
        for op, made in zip(ops[:after], self.made, strict=False):
            for number, state in zip(op.outputs, made, strict=False):
                died = self.profile.storages[self.profile.tensors[number].storage].died
                if self.profile.tensors[number].spec == spec and (died is None or died >= after - 1):
                    yield state

    def _of(self, state: State) -> Field:
        """The field of a state, over the spatial axes of the input that reaches it."""
        if not state.axes() and not state.lost:
            return Field(reason="does not depend on the input")
        axes, spans = self._axes(state), self._spans(state)
        if not axes:
            return Field(reason="no window slides over the input")
        known = len(spans) == len(axes)
        if lost := [state.lost[axis] for axis in axes if axis in state.lost]:
            return Field(reason=min(lost).reason, local=_sizes(spans) if known else None)
        return _field(spans) if known else Field(reason="depends on the input only in part")

    def _spans(self, state: State) -> list[Span]:
        seen = {span.axis: span for span in (*spans_of(state.dims), *state.held.values())}
        return [seen[axis] for axis in self._axes(state) if axis in seen]

    def _axes(self, state: State) -> list[Axis]:
        """The spatial axes of the first input that reaches it; where no window slides, those after the channels."""
        number = min(axis.input for axis in (*state.axes(), *state.lost))
        if number not in self.axes:
            every = {axis for state in self.states.values() for axis in state.axes() if axis.input == number}
            self.axes[number] = sorted(axis for axis in every if axis.dim > 1)
        return self.axes[number]


def _field(spans: Sequence[Span]) -> Field:
    return Field(
        size=_sizes(spans),
        stride=tuple(_number(span.stride) for span in spans),
        padding=tuple(_number(span.padding) for span in spans),
        aligned=all(span.aligned for span in spans),
    )


def _sizes(spans: Iterable[Span]) -> tuple[int, ...]:
    return tuple(span.size for span in spans)


def _number(value: Any) -> Number:
    return int(value) if value.denominator == 1 else float(value)


def _results(profile: Profile) -> dict[int, tuple[int, int]]:
    """For each layer the (op, output) that made its first output: the last one of that shape in it or below it."""
    parents, open_rows = dict[int, int | None](), list[int]()
    for index, layer in enumerate(profile.layers):
        del open_rows[layer.depth :]
        parents[index] = open_rows[-1] if open_rows else None
        open_rows.append(index)
    found: dict[int, tuple[int, int]] = {}
    for number, op in reversed([*enumerate(profile.ops)]):
        row: int | None = op.layer if op.phase == "forward" else None
        while row is not None:
            specs = [profile.tensors[i].spec for i in op.outputs]
            wanted = profile.layers[row].outputs[:1]
            if row not in found and wanted and wanted[0] in specs:
                found[row] = (number, specs.index(wanted[0]))
            row = parents[row]
    return found


def _named(layer: Layer) -> str:
    return layer.path or "the model itself"
