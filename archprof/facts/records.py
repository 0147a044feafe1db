"""The facts of one pass: what a trace wrote down, and nothing derived from it but sums.

One `Call` is one call of one module and owns only what that call did itself; totals are sums over calls. Counts are
`int`, bytes are bytes, times are seconds, `None` is the only missing value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from archprof.facts.measured import Measurement
from archprof.facts.modules import Call, Layer, Module, Parameter, SplitRule, build_layers, sum_columns, sum_owned
from archprof.facts.ops import Kept, Op, Phase, Signature, Status, Window
from archprof.facts.overlays import Overlay
from archprof.facts.predicted import LatencyPrediction
from archprof.facts.probed import Probe
from archprof.facts.ran import Ran
from archprof.facts.sums import Cost, Totals, list_lower_bounds, sum_activations, sum_ops
from archprof.facts.tensors import DTYPES_SHOWN, ITEM_BYTES, Role, Storage, Tensor, TensorSpec
from archprof.facts.training import Training

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "DTYPES_SHOWN", "ITEM_BYTES", "CacheTensor", "Call", "Cost", "Decoding", "Failure", "Kept", "Layer", "Module", "Op",
    "Parameter", "Phase", "Profile", "Ran", "Role", "Signature", "SplitRule", "Status", "Storage", "Tensor",
    "TensorSpec", "Totals", "Training", "Window",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Failure:
    """Where and why the forward stopped, by the index of the call: a profile with one holds what ran up to there."""

    call: int
    error: str
    message: str


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
        unsized: names of the lazy parameters and buffers that have no shape, since their modules did not run.
        training: where the steps of the optimizer stand among the ops, where one was traced.
        split_rules: how the model says that it is split over devices; none where it says nothing.
        sees_calls: a call of a module is seen, which each pass tries out; without that, who was called is not known.
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
    unsized: tuple[str, ...] = ()
    training: Training | None = None
    sees_calls: bool = True
    split_rules: tuple[SplitRule, ...] = ()

    def __repr__(self) -> str:
        """One line: what was asked, and the totals."""
        asked = f"{', '.join(self.inputs) or 'no input'}; batch {self.batch}; {self.mode} pass in {self.dtype_words}"
        least = "" if self.totals.complete else ">= "
        return f"<Profile of {self.model}: {asked}; {self.totals.params:,} params, {least}{self.totals.macs:,} MACs>"

    was_read = False
    """It came from a file, which may say anything that each record allows; no field, for a copy is made here."""

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """The rows of the tables: the calls in order, and the modules that were never called."""
        return build_layers(self.modules, self.parameters, self.calls)

    @cached_property
    def call_rows(self) -> tuple[int, ...]:
        """The index into `layers` of each call."""
        return tuple(row for row, layer in enumerate(self.layers) if layer.call_index is not None)

    def row_of(self, op: Op) -> int:
        """The index into `layers` of the call that the op is charged to."""
        return self.call_rows[op.call]

    def layer_of(self, op: Op) -> Layer:
        return self.layers[self.row_of(op)]

    def path_of(self, op: Op) -> str:
        """The module in whose call the op ran; "" is the model itself."""
        return self.modules[self.calls[op.call].module].path if self.calls else ""

    def role_of(self, tensor: int) -> Role:
        """The role of the storage that a tensor lies in."""
        return self.storages[self.tensors[tensor].storage].role

    def reads_parameter(self, op: Op) -> bool:
        """Whether a parameter is among what the op works on."""
        return any(self.role_of(tensor) == "parameter" for tensor in op.inputs)

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

    def list_stopped_rows(self) -> tuple[int, ...]:
        """Indices into `layers` of the call in which the forward stopped, and of all that it did not reach."""
        unreached = (row for row, layer in enumerate(self.layers) if layer.call is None)
        return () if self.stopped_row is None else (self.stopped_row, *unreached)

    def list_unsized_rows(self) -> tuple[int, ...]:
        """Indices into `layers` of the modules that own a parameter without a shape."""
        owners = {name.rpartition(".")[0] for name in self.unsized}
        return tuple(row for row, layer in enumerate(self.layers) if layer.path in owners) if owners else ()

    @property
    def measurement(self) -> Measurement | None:
        """What real passes took, where they were run."""
        return next((one for one in self.overlays if isinstance(one, Measurement)), None)

    @property
    def prediction(self) -> LatencyPrediction | None:
        """What a pass should take on a device, where that was asked."""
        return next((one for one in self.overlays if isinstance(one, LatencyPrediction)), None)

    @property
    def probe(self) -> Probe | None:
        """How large activations and gradients were, where real batches went through."""
        return next((one for one in self.overlays if isinstance(one, Probe)), None)

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
        item_bytes = {dtype: self.item_bytes[dtype] for dtype in self.activation_dtypes}
        activations = sum_activations(self.storages, groups, count, self.dtype, self.item_bytes, item_bytes)
        return [
            Cost(macs, flops, back if train else None, back_flops if train else None, elements, sizes, unknown)
            for (macs, flops, back, back_flops, unknown), (elements, sizes) in zip(
                sum_ops(self.ops, groups, count), activations, strict=True
            )
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

    @property
    def lacks_calls(self) -> bool:
        """The model has parts, and calls of them could not be seen: all work is in the model's own row."""
        parts = [module for module in self.modules[1:] if not (module.is_container or module.is_opaque)]
        return not self.sees_calls and bool(parts) and bool(self.ops)

    @cached_property
    def unread_parameters(self) -> tuple[Parameter, ...]:
        """The parameters whose storage no op read, forward or backward: in the model for nothing, as far as this pass
        tells. None where the forward stopped.
        """
        from archprof.facts.unread import find_unread_parameters

        return find_unread_parameters(self)

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
            complete=not (self.failure or self.unsized or self.lacks_calls or cost.unknown),
            lower_bounds=list_lower_bounds(
                stopped=self.failure is not None,
                unsized=bool(self.unsized),
                unknown=bool(cost.unknown) or self.lacks_calls,
                train=self.mode == "train",
            ),
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

    def graph(self, *, depth: int | None = None) -> Any:
        """The network along its length, which draws itself in a notebook; `depth`: see `archprof.graph`."""
        from archprof.analysis import of_profile

        return of_profile.graph(self, depth)

    def _repr_html_(self) -> str:
        """What a notebook shows: the network along its length, and the folded table."""
        return f"{self.graph()._repr_html_()}{self.table()._repr_html_()}"

    def save(self, path: str | Path) -> None:
        """Write the profile as JSON, whole or not at all; `archprof.load` reads it back."""
        from archprof.facts import store

        store.save(self, path)

    def to_json(self) -> str:
        """What `save` writes: the facts, and beside them what readers of the JSON ask most."""
        from archprof.analysis import of_profile
        from archprof.facts import store

        return store.to_json(self, of_profile.receptive_fields(self))
