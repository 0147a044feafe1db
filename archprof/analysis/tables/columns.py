"""The columns of the layer tables, and the lines that they read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import NamedTuple

from archprof.analysis import elapsed
from archprof.analysis.elapsed import Elapsed
from archprof.analysis.table import Column, Unit, Value
from archprof.errors import UnknownName
from archprof.facts.overlays import Outside
from archprof.facts.records import Profile


class Counts(NamedTuple):
    """Everything that can be summed, of one call or of many. `None` stays `None` in a sum.

    `activation_bytes` is in the dtype of the pass; `act_*` as if it had run in that dtype. `latency` is that of the
    headline, `eager` and `kernel` those of the methods of these names; `None` where they were not measured.
    """

    calls: int = 0
    params: int = 0
    trainable: int = 0
    buffers: int = 0
    param_bytes: int = 0
    macs: int = 0
    flops: int = 0
    backward_macs: int | None = 0
    backward_flops: int | None = 0
    activation: int = 0
    activation_bytes: int = 0
    act_fp32: int = 0
    act_fp16: int = 0
    act_bf16: int = 0
    ops: int = 0
    bytes_moved: int = 0
    unknown: int = 0
    latency: Elapsed | None = Elapsed()
    eager: Elapsed | None = Elapsed()
    kernel: Elapsed | None = Elapsed()
    n_kernels: int | None = 0


COST_KEYS = frozenset({"macs", "flops", "backward_macs", "backward_flops"})
"""What is a lower bound when an op is unknown."""

ACTIVATION_KEYS = frozenset({"activation_bytes", "act_fp32", "act_fp16", "act_bf16"})

COLUMN_OF_METHOD = {"": "latency", "eager": "eager", "kernel": "kernel"}
"""Methods whose times stand in a column: the headline, whichever it is, and those two."""

OWNED_KEYS = frozenset({"params", "trainable", "buffers", "param_bytes"})
WORK_KEYS = COST_KEYS | ACTIVATION_KEYS | OWNED_KEYS | {"activation", "ops", "bytes_moved"}
"""What is a lower bound when the forward stopped half-way."""


PREFIX_FAMILIES = {"cost": COST_KEYS, "activation": ACTIVATION_KEYS}
"""Columns that are read against each other and so print with one prefix."""


def sum_counts(counts: Iterable[Counts]) -> Counts:
    """Their sum, field by field."""
    fields = list(zip(*counts, strict=True))
    return Counts(*(None if None in values else sum(values) for values in fields))  # type: ignore[arg-type]


def own_counts(profile: Profile) -> list[Counts]:
    """What each row of the profile owns and did itself."""
    ops, moved = [0] * len(profile.layers), [0] * len(profile.layers)
    rows = profile.call_rows
    for op in profile.ops:
        ops[rows[op.call]] += 1
        moved[rows[op.call]] += op.bytes_moved
    times = zip(*(elapsed.collect_row_times(profile, method) for method in COLUMN_OF_METHOD), strict=True)
    kernels = elapsed.count_kernels(profile)
    return [
        Counts(
            calls=int(layer.call is not None),
            params=layer.params,
            trainable=layer.trainable,
            buffers=layer.buffers,
            param_bytes=layer.param_bytes,
            macs=cost.macs,
            flops=cost.flops,
            backward_macs=cost.backward_macs,
            backward_flops=cost.backward_flops,
            activation=cost.activation_elements,
            activation_bytes=cost.activation_bytes[profile.dtype],
            act_fp32=cost.activation_bytes["float32"],
            act_fp16=cost.activation_bytes["float16"],
            act_bf16=cost.activation_bytes["bfloat16"],
            ops=ops[i],
            bytes_moved=moved[i],
            unknown=cost.unknown,
            latency=headline,
            eager=eager,
            kernel=kernel,
            n_kernels=None if kernels is None else kernels.get(layer.call_index, 0),
        )
        for i, (layer, cost, (headline, eager, kernel)) in enumerate(
            zip(profile.layers, profile.costs, times, strict=True)
        )
    ]


@dataclass(frozen=True, slots=True)
class CountedLine:
    """What one row of a table is about: facts by column key, counts, and its place (see `table.Row`).

    `stopped` says that the forward came to its end inside.
    """

    name: str
    counts: Counts
    facts: Mapping[str, Value] = field(default_factory=dict)
    short: str | None = None
    depth: int = 0
    subtotal: bool = False
    stopped: bool = False

    @property
    def bounds(self) -> frozenset[str]:
        if self.stopped:
            return WORK_KEYS
        return COST_KEYS if self.counts.unknown else frozenset()

    @property
    def half_intervals(self) -> dict[str, float]:
        """What each measured value is right within."""
        return {key: one.half_interval for key, one in self._times() if one.half_interval}

    @property
    def below_resolution(self) -> dict[str, float]:
        """What can be told at least, where a value is less."""
        return {key: one.resolution for key, one in self._times() if one.below_resolution}

    def _times(self) -> Iterator[tuple[str, Elapsed]]:
        for key in COLUMN_OF_METHOD.values():
            elapsed = getattr(self.counts, key)
            if elapsed is not None:
                yield from ((column, elapsed) for column in ([key, *HEADLINE_KEYS] if key == "latency" else [key]))


def build_outside_lines(profile: Profile, key: str) -> list[CountedLine]:
    """What was measured, took time and belongs to no layer, a line each, named in the column `key`."""
    found, kernels = (
        [elapsed.collect_outside_times(profile, method) for method in COLUMN_OF_METHOD],
        elapsed.count_kernels(profile),
    )
    return [
        CountedLine(
            name,
            Counts(
                latency=found[0].get(outside, Elapsed()),
                eager=found[1].get(outside, Elapsed()),
                kernel=found[2].get(outside, Elapsed()),
                n_kernels=None if kernels is None else kernels.get(outside, 0),
            ),
            {key: name},
        )
        for outside in dict.fromkeys(one for rows in found for one, elapsed in rows.items() if elapsed)
        if isinstance(outside, Outside) and (name := f"({outside.value})")
    ]


class ComputedColumn(NamedTuple):
    """A column and its value for a line, given the sum over all lines."""

    column: Column
    value: Callable[[CountedLine, Counts], Value]


def _fact(key: str, header: str, unit: Unit, rank: int, meaning: str) -> ComputedColumn:
    return ComputedColumn(Column(key, header, unit, meaning, rank), lambda line, total: line.facts.get(key))


def _sum(key: str, header: str, unit: Unit, rank: int, meaning: str) -> ComputedColumn:
    value, family = attrgetter(key), next((family for family in PREFIX_FAMILIES if key in PREFIX_FAMILIES[family]), "")
    return ComputedColumn(Column(key, header, unit, meaning, rank, family), lambda line, total: value(line.counts))


def _share(key: str, of: str, header: str, rank: int, meaning: str) -> ComputedColumn:
    part = attrgetter(of)

    def value(line: CountedLine, total: Counts) -> float | None:
        return part(line.counts) / part(total) if part(total) else None

    return ComputedColumn(Column(key, header, "share", meaning, rank), value)


def _time(key: str, header: str, rank: int, meaning: str, of: str = "latency", read: str = "seconds") -> ComputedColumn:
    """Seconds of one method, in the prefix that all of them have."""
    method, part = attrgetter(of), attrgetter(read)

    def value(line: CountedLine, total: Counts) -> float | None:
        elapsed = method(line.counts)
        return None if elapsed is None else part(elapsed)

    return ComputedColumn(Column(key, header, "seconds", meaning, rank, "latency"), value)


def _share_latency(line: CountedLine, total: Counts) -> float | None:
    return line.counts.latency.seconds / total.latency.seconds if line.counts.latency and total.latency else None


def _launch_bound(line: CountedLine, total: Counts) -> float | None:
    eager, kernel = line.counts.eager, line.counts.kernel
    return 1 - kernel.seconds / eager.seconds if eager and kernel and not eager.below_resolution else None


COMPUTED_COLUMNS = (
    _fact("layer", "Layer", "path", 0, "path of the module as in state_dict; (own) is what a container's forward did"),
    _fact("stage", "Stage", "text", 0, "spatial size of the outputs in a run of layers"),
    _fact("kind", "Kind", "text", 6, "class of the module"),
    _fact("op", "Op", "text", 0, "aten operator"),
    _fact("call", "Call", "call", 9, "0 for the first call of the module, 1 for the next; missing when never called"),
    _fact("first", "First layer", "path", 7, "first layer of the stage"),
    _fact("last", "Last layer", "path", 8, "last layer of the stage"),
    _fact("input", "Input", "shapes", 9, "shapes of the tensors that went in"),
    _fact("output", "Output", "shapes", 3, "shapes of the tensors that came out"),
    _fact("rf", "RF", "text", 6, "receptive field: input positions that one output position sees; none if all"),
    _fact("rf_stride", "RF step", "text", 9, "effective stride: input positions between neighbouring outputs"),
    _fact(
        "rf_padding", "RF pad", "text", 9, "effective padding: positions before the border that the first output sees"
    ),
    _sum("calls", "Calls", "count", 5, "how often it was called"),
    _sum("params", "Params", "count", 2, "parameters, each tensor once, at its first owner"),
    _sum("trainable", "Trainable", "count", 9, "parameters that require a gradient"),
    _sum("buffers", "Buffers", "count", 10, "elements of registered buffers, such as running means"),
    _sum("param_bytes", "Param. bytes", "bytes", 9, "size of the parameters in their own dtypes"),
    _sum("macs", "MACs", "count", 1, "multiply-accumulates in convolutions and matrix products, forward"),
    _sum("flops", "FLOPs", "count", 4, "floating-point operations, forward: 2 x MACs and all other arithmetic"),
    _sum("backward_macs", "Bwd MACs", "count", 4, "MACs of the backward pass (--train)"),
    _sum("backward_flops", "Bwd FLOPs", "count", 6, "FLOPs of the backward pass (--train)"),
    _sum("activation", "Act", "count", 9, "elements of new output storage in the forward pass"),
    _sum("activation_bytes", "Act size", "bytes", 5, "activation memory in the dtype of the pass"),
    _sum("act_fp32", "Act fp32", "bytes", 5, "activation memory, had the pass run in float32"),
    _sum("act_fp16", "Act fp16", "bytes", 7, "activation memory, had the pass run in float16"),
    _sum("act_bf16", "Act bf16", "bytes", 7, "activation memory, had the pass run in bfloat16"),
    _share("share_macs", "macs", "MACs", 8, "share of the model's MACs"),
    _share("share_params", "params", "Params", 8, "share of the model's parameters"),
    _sum("ops", "Ops", "count", 9, "aten ops that were dispatched"),
    _sum("bytes_moved", "Moved", "bytes", 9, "bytes that the ops read and wrote, unfused"),
    _sum("unknown", "Unknown", "count", 9, "ops that no cost rule covers"),
    _time("latency", "Latency", 1, "measured time of its own work: the median over rounds; a sum adds these medians"),
    _time("low", "Low", 2, "the least of the rounds; of a sum, of what its rows took together", read="low"),
    _time("high", "High", 2, "the greatest of the rounds", read="high"),
    _time("least", "Least", 9, "the smallest sample: what nothing disturbed", read="least"),
    ComputedColumn(Column("share_latency", "Latency", "share", "share of the latency of all rows", 3), _share_latency),
    _time("eager", "Eager", 5, "measured on the GPU as users run it, launch gaps included", of="eager"),
    _time("kernel", "Kernels", 4, "measured on the GPU: its kernels alone, summed", of="kernel"),
    ComputedColumn(
        Column("launch_bound", "Gaps", "share", "share of the eager time in which no kernel runs", 6), _launch_bound
    ),
    _sum("n_kernels", "Launches", "count", 7, "GPU kernels that it runs in a pass"),
    _fact(
        "peak_measured",
        "Peak meas.",
        "bytes",
        5,
        "most bytes allocated while the call ran, above those before the pass",
    ),
    _fact("peak_reserved", "Reserved", "bytes", 9, "the same of what the caching allocator held"),
)

COLUMN_BY_KEY: dict[str, ComputedColumn] = {entry.column.key: entry for entry in COMPUTED_COLUMNS}
"""Every column of the layer tables, by key, in the order of the help."""

SUMMED_KEYS = frozenset(Counts._fields)
"""The columns that are sums."""

RECEPTIVE_KEYS = ("rf", "rf_stride", "rf_padding")
"""The columns about receptive fields, which are worked out only when asked for."""

HEADLINE_KEYS = ("low", "high", "least")
MEASURED_KEYS = (
    "latency", "low", "high", "least", "share_latency", "eager", "kernel", "launch_bound", "n_kernels",
    "peak_measured", "peak_reserved",
)  # fmt: skip
"""The columns that need a measurement."""

PEAK_KEYS = ("peak_measured", "peak_reserved")
"""Those of them about memory: of a call with all that it calls, so there is no sum of them."""

BACKWARD_KEYS = ("backward_macs", "backward_flops")
_WORK = ("macs", "flops", *BACKWARD_KEYS)
_COSTS = ("params", *_WORK, "act_fp32", "act_fp16", "share_macs")


class Grouping(NamedTuple):
    """One way to ask.

    Attributes:
        key: the column that names its rows.
        facts: the columns it has beside the sums.
        default_columns: the columns that are shown when none are named; those of the backward pass in train mode only.
        default_sort: what its rows are sorted by; `None` = they stand in the order of the calls.
    """

    key: str
    facts: tuple[str, ...]
    default_columns: tuple[str, ...]
    default_sort: str | None


GROUPINGS = {
    "layer": Grouping(
        "layer",
        ("layer", "kind", "call", "input", "output", *RECEPTIVE_KEYS, *PEAK_KEYS),
        ("kind", "call", "output", *_COSTS),
        None,
    ),
    "stage": Grouping("stage", ("stage", "first", "last"), ("first", "last", *_COSTS), None),
    "kind": Grouping("kind", ("kind",), ("calls", *_COSTS), "macs"),
    "op": Grouping("op", ("op",), ("calls", *_WORK, "bytes_moved", "share_macs"), "macs"),
}
_OF_MODULES = {"params", "trainable", "buffers", "param_bytes", "share_params"}
_OF_STORAGES = {"activation", "activation_bytes", "act_fp32", "act_fp16", "act_bf16"}


def list_columns(by: str) -> list[str]:
    """The keys of the columns that a table by `by` can have; `UnknownName` when nothing is grouped so."""
    if by not in GROUPINGS:
        raise UnknownName("grouping", by, GROUPINGS)
    absent = (
        _OF_MODULES | _OF_STORAGES | {"ops", *MEASURED_KEYS} if by == "op" else {"calls"} if by == "layer" else set()
    )
    facts = GROUPINGS[by].facts
    measures = [
        key for key, entry in COLUMN_BY_KEY.items()
        if key in SUMMED_KEYS or entry.column.unit == "share" or (key in MEASURED_KEYS and key not in PEAK_KEYS)
    ]  # fmt: skip
    return [*facts, *(key for key in measures if key not in absent)]


def list_measured_columns(profile: Profile) -> list[str]:
    """The measured columns that a table shows when none are named: those that this profile has values for."""
    methods = {one.method for one in profile.measurement.latencies} if profile.measurement else set()
    shown = ["latency", "low", "high", "share_latency"] if methods else []
    shown += [key for key in ("eager", "kernel") if key in methods and len(methods) > 1]
    shown += ["launch_bound"] if {"eager", "kernel"} <= methods else []
    shown += ["n_kernels"] if elapsed.count_kernels(profile) is not None else []
    return shown + (["peak_measured"] if profile.measurement and profile.measurement.memory else [])


def relabel_attributed(profile: Profile, column: Column) -> Column:
    """The column, by another name where its latency was not timed but attributed."""
    found = elapsed.find_latency(profile)
    if found is None or not found.attributed or column.key not in ("latency", "share_latency"):
        return column
    return replace(column, header="Attributed")


def describe_columns(by: str = "layer") -> str:
    """Every column of a table by `by`, one line each: its key and what it means."""
    keys = list_columns(by)
    widest = max(map(len, keys))
    return "".join(f"{key:<{widest}}  {COLUMN_BY_KEY[key].column.meaning}\n" for key in keys)
