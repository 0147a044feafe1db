"""The facts of one pass: what a trace wrote down, and nothing derived from it.

One `Layer` is one call of one module and owns only what that call did itself; totals are
sums of rows. Counts are `int`, bytes are bytes, `None` is the only missing value.
The records made once an op are named tuples: a frozen dataclass costs five times as much
to make, and a trace makes three an op.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

    from archprof.facts.measured import Measurement

Phase = Literal["forward", "backward"]
Status = Literal["counted", "zero", "unknown"]
Role = Literal[
    "input",  # what the caller gave to the model
    "parameter",
    "buffer",
    "constant",  # a plain tensor that a module or its forward holds outside parameters and buffers
    "activation",  # a result of an op in the forward pass: the only role that activation memory sums
    "auxiliary",  # beside the result and seen by nobody: indices of a max pool, statistics of a norm
    "gradient",  # of a parameter, after the backward pass
    "temporary",  # made in the backward pass, gone before its end
]

ITEM_BYTES = {
    "float64": 8, "float32": 4, "float16": 2, "bfloat16": 2,
    "float8_e4m3fn": 1, "float8_e5m2": 1, "float8_e4m3fnuz": 1, "float8_e5m2fnuz": 1, "float8_e8m0fnu": 1,
    "complex128": 16, "complex64": 8, "complex32": 4,
    "int64": 8, "int32": 4, "int16": 2, "int8": 1, "uint64": 8, "uint32": 4, "uint16": 2, "uint8": 1, "bool": 1,
    "qint32": 4, "qint8": 1, "quint8": 1,
}  # fmt: skip
"""Bytes of one element, by torch's name of the dtype."""

DTYPES_SHOWN = ("float32", "float16", "bfloat16")
"""The dtypes for which activation memory is always given, side by side."""


class TensorSpec(NamedTuple):
    """The shape and dtype of a tensor: all that counting needs to know of it."""

    shape: tuple[int, ...]
    dtype: str

    @property
    def numel(self) -> int:
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.numel * ITEM_BYTES[self.dtype]


class Tensor(NamedTuple):
    """One tensor that an op read or wrote; views of one another share a storage.

    Attributes:
        spec: its shape and dtype.
        storage: index into `Profile.storages`.
    """

    spec: TensorSpec
    storage: int


class Window(NamedTuple):
    """The sliding window of a convolution or pooling op, one number a spatial dimension."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int = 1
    transposed: bool = False


class Op(NamedTuple):
    """One dispatched aten op.

    Attributes:
        name: as torch writes it, without the overload: "aten.convolution".
        layer: index into `Profile.layers` of the call it is charged to.
        phase: "forward", or "backward" (charged to the layer whose forward made it).
        inputs, outputs: indices into `Profile.tensors`.
        macs, flops: what it costs; `None` when unknown.
        bytes_read, bytes_written: of distinct tensors, unfused; 0 for a view.
        status: "counted", "zero" (moves or names data, no arithmetic) or "unknown".
        window: its geometry, where it has one.
        args: the arguments of an op that moves, joins or reduces dimensions, `None` in the place of each tensor.
    """

    name: str
    layer: int
    phase: Phase
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    macs: int | None
    flops: int | None
    bytes_read: int
    bytes_written: int
    status: Status
    window: Window | None = None
    args: tuple[Any, ...] = ()


class Storage(NamedTuple):
    """One allocation and its life.

    Attributes:
        nbytes: its size.
        dtype: of the tensor that made it.
        role: what it is for.
        born: index of the op that made it; `None` when it was there before the pass.
        died: index of the op after which it was gone; `None` when it outlived the pass.
        saved: autograd kept it for the backward pass (only known in train mode).
    """

    nbytes: int
    dtype: str
    role: Role
    born: int | None
    died: int | None
    saved: bool = False


class Layer(NamedTuple):
    """One call of one module, in the order of the calls.

    Attributes:
        path: as in `state_dict`; "" is the model itself.
        kind: the module's class name.
        depth: how deep the call was nested; the model itself is 0.
        call: 0 for the first call of this module, 1 for the next; `None` = never called in this pass.
        inputs, outputs: the tensors that went in and came out, flattened in order.
        params, trainable, buffers: elements this row owns, each tensor once, at its first owner's first call.
        param_bytes, buffer_bytes: the size of those.
    """

    path: str
    kind: str
    depth: int
    call: int | None
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    params: int = 0
    trainable: int = 0
    buffers: int = 0
    param_bytes: int = 0
    buffer_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Failure:
    """Where and why the forward stopped: a profile with one holds the rows up to there."""

    layer: int
    error: str
    message: str


NO_BYTES: Mapping[str, int] = MappingProxyType({})


class Cost(NamedTuple):
    """A sum over ops. `macs` and `flops` are lower bounds when `unknown` > 0.

    Attributes:
        macs, flops: forward.
        backward_macs, backward_flops: backward; `None` when the pass had no backward.
        activation_elements: elements of new output storage in the forward pass.
        activation_bytes: the same in bytes, by the dtype the pass would run in.
        unknown: ops that no rule covers.
    """

    macs: int = 0
    flops: int = 0
    backward_macs: int | None = None
    backward_flops: int | None = None
    activation_elements: int = 0
    activation_bytes: Mapping[str, int] = NO_BYTES
    unknown: int = 0


@dataclass(frozen=True, slots=True)
class Totals:
    """The whole model, under the names that the JSON uses. Not `complete`: counts are lower bounds."""

    params: int
    trainable_params: int
    buffers: int
    param_bytes: int
    macs: int
    flops: int
    backward_macs: int | None
    backward_flops: int | None
    activation_elements: int
    activation_bytes: dict[str, int]
    complete: bool


class CacheTensor(NamedTuple):
    """One tensor that a decoder keeps from token to token: of which layer, under which name."""

    layer: int
    name: str
    spec: TensorSpec


class Decoding(NamedTuple):
    """A pass in one phase of a decoder, and what the decoder keeps.

    Attributes:
        phase: "prefill" (the whole context at once) or "decode" (one token behind it).
        context: tokens in the cache.
        cache: what is kept of them: all layers, the whole batch.
        growth: bytes by which one more token makes it larger.
    """

    phase: str
    context: int
    cache: tuple[CacheTensor, ...]
    growth: int

    @property
    def nbytes(self) -> int:
        """The size of the whole cache."""
        return sum(tensor.spec.nbytes for tensor in self.cache)


@dataclass(frozen=True, repr=False)
class Profile:
    """Everything one pass told us.

    Attributes:
        model: the name or spec that was asked for.
        inputs: one description an input, in the grammar of `--input`.
        batch, mode, dtype: of the pass; mode is "forward" or "train".
        layers: one row a module call, own work only, in call order.
        ops, tensors, storages: what ran, on what, and where that lived.
        environment: versions and device of the pass.
        notes: what the reader must know to trust the numbers.
        failure: set when the forward did not come to its end.
        measurement: what real passes took, where they were run.
        decoding: the phase and the cache, where the pass was one of a decoder's phases.
    """

    model: str
    inputs: tuple[str, ...]
    batch: int
    mode: str
    dtype: str
    layers: tuple[Layer, ...]
    ops: tuple[Op, ...]
    tensors: tuple[Tensor, ...]
    storages: tuple[Storage, ...]
    environment: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    failure: Failure | None = None
    measurement: Measurement | None = None
    decoding: Decoding | None = None

    def __repr__(self) -> str:
        """One line: what was asked, and the totals."""
        asked = f"{', '.join(self.inputs) or 'no input'}; batch {self.batch}; {self.mode} pass in {self.dtype}"
        least = "" if self.totals.complete else ">= "
        return f"<Profile of {self.model}: {asked}; {self.totals.params:,} params, {least}{self.totals.macs:,} MACs>"

    @cached_property
    def costs(self) -> tuple[Cost, ...]:
        """What each layer's own ops cost, in the order of `layers`."""
        counts = [[0, 0, 0, 0, 0] for _ in self.layers]
        for op in self.ops:
            row = counts[op.layer]
            shift = 2 if op.phase == "backward" else 0
            row[shift] += op.macs or 0
            row[shift + 1] += op.flops or 0
            row[4] += op.status == "unknown"
        train = self.mode == "train"
        return tuple(
            [
                Cost(macs, flops, back if train else None, back_flops if train else None, elements, sizes, unknown)
                for (macs, flops, back, back_flops, unknown), (elements, sizes) in zip(
                    counts, self._sum_activations(), strict=True
                )
            ]
        )

    def _sum_activations(self) -> list[tuple[int, dict[str, int]]]:
        """Elements and bytes of the activation storages, by the layer that made them."""
        elements, scaled, fixed = ([0] * len(self.layers) for _ in range(3))
        for storage in self.storages:
            if storage.role == "activation" and storage.born is not None:
                layer = self.ops[storage.born].layer
                numel = storage.nbytes // ITEM_BYTES[storage.dtype]
                elements[layer] += numel
                if storage.dtype == self.dtype:  # it would take the dtype that the pass ran in
                    scaled[layer] += numel
                else:
                    fixed[layer] += storage.nbytes
        widths = [(dtype, ITEM_BYTES[dtype]) for dtype in self.activation_dtypes]
        return [
            (count, {dtype: width * own + others for dtype, width in widths})
            for count, own, others in zip(elements, scaled, fixed, strict=True)
        ]

    @property
    def activation_dtypes(self) -> tuple[str, ...]:
        """The dtypes in which activation memory is given: always those of the JSON, and the traced one."""
        return DTYPES_SHOWN if self.dtype in DTYPES_SHOWN else (*DTYPES_SHOWN, self.dtype)

    @cached_property
    def totals(self) -> Totals:
        """Sums over all rows."""
        owned = dict(zip(Layer._fields, zip(*self.layers, strict=True), strict=False))
        spent = dict(zip(Cost._fields, zip(*self.costs, strict=True), strict=False))
        train = self.mode == "train"
        return Totals(
            params=sum(owned.get("params", ())),
            trainable_params=sum(owned.get("trainable", ())),
            buffers=sum(owned.get("buffers", ())),
            param_bytes=sum(owned.get("param_bytes", ())),
            macs=sum(spent.get("macs", ())),
            flops=sum(spent.get("flops", ())),
            backward_macs=sum(spent.get("backward_macs", ())) if train else None,
            backward_flops=sum(spent.get("backward_flops", ())) if train else None,
            activation_elements=sum(spent.get("activation_elements", ())),
            activation_bytes={
                dtype: sum([sizes[dtype] for sizes in spent.get("activation_bytes", ())])
                for dtype in self.activation_dtypes
            },
            complete=self.failure is None and not any(spent.get("unknown", ())),
        )

    def check(self) -> None:
        """Raise `ValueError` on the first invariant that does not hold."""
        for index, layer in enumerate(self.layers):
            before = self.layers[index - 1].depth if index else -1
            if layer.depth > before + 1:
                raise ValueError(f"depth of row {index} ({layer.path!r}) rises from {before} to {layer.depth}")
        for index, op in enumerate(self.ops):
            if not 0 <= op.layer < len(self.layers):
                raise ValueError(f"op {index} ({op.name}) is charged to row {op.layer}, which does not exist")
            if any(not 0 <= t < len(self.tensors) for t in op.inputs + op.outputs):
                raise ValueError(f"op {index} ({op.name}) names a tensor that does not exist")
            if (op.status == "unknown") != (op.macs is None or op.flops is None):
                raise ValueError(f"op {index} ({op.name}) is {op.status} with macs {op.macs} and flops {op.flops}")
        for index, storage in enumerate(self.storages):
            if storage.died is not None and storage.born is not None and storage.died < storage.born:
                raise ValueError(f"storage {index} died after op {storage.died}, before op {storage.born} made it")
        if any(not 0 <= tensor.storage < len(self.storages) for tensor in self.tensors):
            raise ValueError("a tensor names a storage that does not exist")
        for phase, total in (("forward", self.totals.macs), ("backward", self.totals.backward_macs or 0)):
            if total != sum(op.macs or 0 for op in self.ops if op.phase == phase):
                raise ValueError(f"{phase} MACs: the rows do not sum to the ops")
        if self.measurement is not None:
            self._check_measurement(self.measurement)

    def _check_measurement(self, measurement: Measurement) -> None:
        called = {(layer.path, layer.call) for layer in self.layers if layer.call is not None}
        timings = [latency.layers for latency in measurement.latencies]
        for rows in [[row[:2] for row in what] for what in (*timings, measurement.memory)]:
            if strange := set(rows) - called:
                raise ValueError(f"measured rows that are no called layer: {sorted(strange, key=str)}")
            if len(rows) != len(set(rows)):
                raise ValueError("a layer was measured twice by one method")
        if not all(isinstance(row.allocated_peak, int) for row in measurement.memory):
            raise ValueError("a peak of memory that is no number of bytes")
        for latency in measurement.latencies:
            for timing in (*latency.layers, *latency.rest, latency.whole):
                if not timing.rounds or not all(timing.rounds):
                    raise ValueError(f"{timing.path or 'the model'} has a round without a sample")
                if not all(math.isfinite(sample) for samples in timing.rounds for sample in samples):
                    raise ValueError(f"{timing.path or 'the model'} has a sample that is no number of seconds")

    def table(self, **options: Any) -> Any:
        """The per-layer table; the options are those of `archprof.analysis.tables.layers.tabulate_layers`."""
        from archprof.analysis import of_profile

        return of_profile.table(self, **options)

    def to_frame(self, **options: Any) -> Any:
        """The per-layer table as a pandas DataFrame with raw values."""
        return self.table(**options).to_frame()

    def _repr_html_(self) -> str:
        """What a notebook shows: small, without plotly."""
        from archprof.analysis import of_profile

        return str(of_profile.notebook_table(self)._repr_html_())

    def save(self, path: str | Path) -> None:
        """Write the profile as JSON, whole or not at all; `archprof.load` reads it back."""
        from archprof.facts import store

        store.save(self, path)

    def to_json(self) -> str:
        """What `save` writes: the facts, and beside them what readers of the JSON ask most."""
        from archprof.analysis import of_profile
        from archprof.facts import store

        return store.to_json(self, of_profile.receptive_fields(self))
