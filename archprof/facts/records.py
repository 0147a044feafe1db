"""The facts of one pass: what a trace wrote down, and nothing derived from it but sums.

One `Call` is one call of one module and owns only what that call did itself; totals are sums over calls. Counts are
`int`, bytes are bytes, times are seconds, `None` is the only missing value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from archprof.facts.measured import Measurement
from archprof.facts.modules import Call, Layer, Module, Parameter, build_layers, sum_columns, sum_owned
from archprof.facts.ops import Kept, Op, Phase, Signature, Status, Window
from archprof.facts.overlays import Overlay
from archprof.facts.ran import Ran
from archprof.facts.tensors import DTYPES_SHOWN, ITEM_BYTES, Role, Storage, Tensor, TensorSpec

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "DTYPES_SHOWN", "ITEM_BYTES", "CacheTensor", "Call", "Cost", "Decoding", "Failure", "Kept", "Layer", "Module", "Op",
    "Parameter", "Phase", "Profile", "Ran", "Role", "Signature", "Status", "Storage", "Tensor", "TensorSpec", "Totals",
    "Training", "Window",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Failure:
    """Where and why the forward stopped, by the index of the call: a profile with one holds what ran up to there."""

    call: int
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


class Training(NamedTuple):
    """The step of the optimizer behind a backward pass, which was traced twice.

    Attributes:
        optimizer: as it was asked for.
        accumulate: passes whose gradients are added up before a step; this was the last of them.
        set_to_none: gradients are dropped after a step, and not set to zero and kept.
        first: index of the first op of the first step of a run, which makes the state.
        steady: index of the first op of a later step, which finds it.
    """

    optimizer: str
    accumulate: int
    set_to_none: bool
    first: int
    steady: int


@dataclass(frozen=True, repr=False)
class Profile:
    """Everything one pass told us.

    Attributes:
        model: the name or spec that was asked for.
        inputs: one description per input, in the grammar of `--input`.
        batch, mode, dtype: of the pass; mode is "forward" or "train".
        modules: the modules of the model as it was built, in the order of `named_modules`; the first is the model.
        parameters: their parameters and buffers, each tensor once, at its first owner.
        calls: one per module call, own work only, in order.
        ops, tensors, storages: what ran, on what, and where that lived.
        ran: where and how.
        notes: what the reader must know to trust the numbers.
        failure: set when the forward did not come to its end.
        overlays: what was measured, predicted or probed, keyed by call.
        decoding: the phase and the cache, where the pass was one of a decoder's phases.
        training: where the steps of the optimizer stand among the ops, where one was traced.
    """

    model: str
    inputs: tuple[str, ...]
    batch: int
    mode: str
    dtype: str
    modules: tuple[Module, ...]
    parameters: tuple[Parameter, ...]
    calls: tuple[Call, ...]
    ops: tuple[Op, ...]
    tensors: tuple[Tensor, ...]
    storages: tuple[Storage, ...]
    ran: Ran = Ran()  # noqa: RUF009  frozen
    notes: tuple[str, ...] = ()
    failure: Failure | None = None
    overlays: tuple[Overlay, ...] = ()
    decoding: Decoding | None = None
    training: Training | None = None

    def __repr__(self) -> str:
        """One line: what was asked, and the totals."""
        asked = f"{', '.join(self.inputs) or 'no input'}; batch {self.batch}; {self.mode} pass in {self.dtype_words}"
        least = "" if self.totals.complete else ">= "
        return f"<Profile of {self.model}: {asked}; {self.totals.params:,} params, {least}{self.totals.macs:,} MACs>"

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """The rows of the tables: the calls in order, and the modules that were never called."""
        return build_layers(self.modules, self.parameters, self.calls, whole=self.failure is None)

    @cached_property
    def call_rows(self) -> tuple[int, ...]:
        """The index into `layers` of each call."""
        return tuple(row for row, layer in enumerate(self.layers) if layer.call_index is not None)

    def row_of(self, op: Op) -> int:
        """The index into `layers` of the call that the op is charged to."""
        return self.call_rows[op.call]

    def layer_of(self, op: Op) -> Layer:
        return self.layers[self.row_of(op)]

    def role_of(self, tensor: int) -> Role:
        """The role of the storage that a tensor lies in."""
        return self.storages[self.tensors[tensor].storage].role

    @cached_property
    def forward_ops(self) -> tuple[Op, ...]:
        """The ops of the forward pass, in order."""
        return tuple(op for op in self.ops if op.phase == "forward")

    @cached_property
    def maker_by_tensor(self) -> Mapping[int, Op]:
        """The first op that returned each tensor; inputs and parameters have none."""
        return {tensor: op for op in reversed(self.ops) for tensor in op.outputs}

    @cached_property
    def first_user_by_tensor(self) -> Mapping[int, Op]:
        """The first op that read each tensor."""
        return {tensor: op for op in reversed(self.ops) for tensor in op.inputs}

    @property
    def stopped_row(self) -> int | None:
        """The index into `layers` of the call in which the forward stopped; `None` where it did not."""
        return self.call_rows[self.failure.call] if self.failure and self.call_rows else None

    @property
    def measurement(self) -> Measurement | None:
        """What real passes took, where they were run."""
        return next((one for one in self.overlays if isinstance(one, Measurement)), None)

    @cached_property
    def item_bytes(self) -> Mapping[str, int]:
        """Bytes of one element, by dtype: of every dtype that the pass met."""
        return ITEM_BYTES | {spec.dtype: spec.item_bytes for spec, _ in self.tensors if spec.item_bytes}

    @cached_property
    def costs(self) -> tuple[Cost, ...]:
        """What each layer's own ops cost, in the order of `layers`."""
        by_call = self.sum_costs([op[1] for op in self.ops], len(self.calls))
        none = 0 if self.mode == "train" else None
        nothing = Cost(0, 0, none, none, 0, dict.fromkeys(self.activation_dtypes, 0))
        return tuple([nothing if row.call_index is None else by_call[row.call_index] for row in self.layers])

    def sum_costs(self, groups: Sequence[int], count: int) -> list[Cost]:
        """What the ops of each of `count` groups cost; `groups` says of each op in which it is."""
        train = self.mode == "train"
        sums = zip(self._sum_ops(groups, count), self._sum_activations(groups, count), strict=True)
        return [
            Cost(macs, flops, back if train else None, back_flops if train else None, elements, sizes, unknown)
            for (macs, flops, back, back_flops, unknown), (elements, sizes) in sums
        ]

    def _sum_ops(self, groups: Sequence[int], count: int) -> list[list[int]]:
        """Per group: MACs and FLOPs of the forward, of the backward, and how many ops are unknown."""
        counts = [[0, 0, 0, 0, 0] for _ in range(count)]
        for (signature, _, phase, _, _), group in zip(self.ops, groups, strict=True):
            row = counts[group]
            if phase != "optimizer":
                row[4] += signature.status == "unknown"
                shift = 2 if phase == "backward" else 0
                row[shift] += signature.macs or 0
                row[shift + 1] += signature.flops or 0
        return counts

    def _sum_activations(self, groups: Sequence[int], count: int) -> list[tuple[int, dict[str, int]]]:
        """Elements and bytes of the activation storages, by the group of the op that made them."""
        elements, scaled, fixed = ([0] * count for _ in range(3))
        item_bytes = self.item_bytes
        for nbytes, dtype, role, born, _, _ in self.storages:
            if role == "activation" and born is not None:
                group = groups[born]
                numel = nbytes // item_bytes[dtype]
                elements[group] += numel
                if dtype == self.dtype:  # it would take the dtype that the pass ran in
                    scaled[group] += numel
                else:
                    fixed[group] += nbytes
        widths = [(dtype, item_bytes[dtype]) for dtype in self.activation_dtypes]
        return [
            (numel, {dtype: width * own + others for dtype, width in widths})
            for numel, own, others in zip(elements, scaled, fixed, strict=True)
        ]

    @property
    def dtype_words(self) -> str:
        """ "float32", or "float32 under autocast to bfloat16"."""
        return f"{self.dtype} under autocast to {self.ran.autocast}" if self.ran.autocast else self.dtype

    @cached_property
    def product_dtype(self) -> str:
        """The dtype in which most multiply-accumulates ran, which autocast may have chosen."""
        macs: dict[str, int] = {}
        for signature, *_ in self.ops:
            if signature.macs and signature.inputs:
                macs[signature.inputs[0].dtype] = macs.get(signature.inputs[0].dtype, 0) + signature.macs
        return max(macs, key=macs.__getitem__) if macs else self.dtype

    @property
    def activation_dtypes(self) -> tuple[str, ...]:
        """The dtypes in which activation memory is given: always those of the JSON, and the traced one."""
        return DTYPES_SHOWN if self.dtype in DTYPES_SHOWN else (*DTYPES_SHOWN, self.dtype)

    @cached_property
    def lacks_calls(self) -> bool:
        """Ops ran, three parts or more compute, and none was seen to be called: calls were missed, not left out."""
        parts = [module for module in self.modules[1:] if not (module.is_container or module.is_opaque)]
        return len(parts) > 2 and bool(self.ops) and not any(call.module for call in self.calls)

    @cached_property
    def totals(self) -> Totals:
        """Sums over all calls, and over all parameters and buffers: also those of modules that were never called."""
        params, trainable, buffers, param_bytes, _ = sum_columns(sum_owned(self.parameters).values())
        cost = self.sum_costs([0] * len(self.ops), 1)[0]
        return Totals(
            params=params,
            trainable_params=trainable,
            buffers=buffers,
            param_bytes=param_bytes,
            macs=cost.macs,
            flops=cost.flops,
            backward_macs=cost.backward_macs,
            backward_flops=cost.backward_flops,
            activation_elements=cost.activation_elements,
            activation_bytes=dict(cost.activation_bytes),
            complete=self.failure is None and not self.lacks_calls and not cost.unknown,
        )

    def check(self) -> None:
        """Raise `ValueError` on the first invariant that does not hold."""
        from archprof.facts.checks import check_profile

        check_profile(self)

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
