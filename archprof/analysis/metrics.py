"""What is counted and measured: every metric once, with its key, header, unit, meaning and how it adds up.

Tables, charts, limits and comparisons take these from here, and say only which they show and in which order. A new
column of the layer tables is one entry in `METRICS` and one test (`tests/analysis/test_metrics.py` has those of
arithmetic intensity). Its place there is its place in `--columns help`:

    _sum("convs", "Convs", "count", 9, "convolutions that ran", of_op=lambda op: int(op.name == "aten.convolution")),
    _ratio("intensity", "Intensity", "flops_per_byte", 9, "…", ("flops", "backward_flops"), ("bytes_moved",)),

`--columns KEY`, `--sort KEY`, every format and grouping have it then. A sum is made of the ops (`of_op`) or read for
each row (`by_row`); a ratio is that of the sums of the group, and `None` where one of them is a lower bound.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from archprof.analysis import elapsed, predicted, probed
from archprof.analysis.metric import BY_ROWS, EVERY_GROUPING, Metric, RowValues
from archprof.analysis.table import Value
from archprof.facts import liveness
from archprof.facts.records import Cost, Op, Profile
from archprof.units import Unit

if TYPE_CHECKING:
    from archprof.analysis.counts import Counts
    from archprof.analysis.view import ProfileView


def _fact(key: str, header: str, unit: Unit, rank: int, meaning: str, *by: str, **more: Any) -> Metric:
    return Metric(key, header, unit, meaning, rank, by=by, **more)


def _sum(key: str, header: str, unit: Unit, rank: int, meaning: str, **more: Any) -> Metric:
    """A sum; without `of_op` it is known of rows alone."""
    value, by = attrgetter(key), EVERY_GROUPING if "of_op" in more else BY_ROWS
    made = {"by": by, "reads": (key,), "value": lambda counts, total: value(counts), **more}
    return Metric(key, header, unit, meaning, rank, "sum", **made)


def _owned(key: str, header: str, unit: Unit, rank: int, meaning: str, **more: Any) -> Metric:
    """What modules hold, by the name of the field of a row."""
    held = attrgetter(key)
    by_row = lambda view: [held(layer) for layer in view.profile.layers]  # noqa: E731
    return _sum(key, header, unit, rank, meaning, bound="unsized", by_row=by_row, **more)


def _work(key: str, header: str, rank: int, meaning: str, of_op: Callable[[Op], int], **more: Any) -> Metric:
    """What a rule counts of an op, by the name of the field of a cost."""
    cost = attrgetter(key)
    more = {"bound": "unknown", "family": "cost", **more}
    return _sum(key, header, "count", rank, meaning, of_op=of_op, **_read_costs(lambda one, dtype: cost(one)), **more)


def _read_costs(read: Callable[[Cost, str], Any]) -> dict[str, Any]:
    """A sum that is read off what ops cost: those of a row, or some of them."""
    return {"of_cost": read, "by_row": lambda view: [read(one, view.profile.dtype) for one in view.profile.costs]}


def _activation(key: str, header: str, rank: int, meaning: str, dtype: str = "", **more: Any) -> Metric:
    """Activation memory, had the pass run in this dtype; left out: in that of the pass."""
    read = lambda cost, traced: cost.activation_bytes[dtype or traced]  # noqa: E731
    more = {"bound": "stopped", "family": "activation", "name": "activation memory", "label": "Activations", **more}
    return _sum(key, header, "bytes", rank, meaning, **_read_costs(read), **more)


def _ratio(
    key: str, header: str, unit: Unit, rank: int, meaning: str, over: Sequence[str], under: Sequence[str], **more: Any
) -> Metric:
    """The sums `over` together by the sums `under` together; `None` counts as nothing."""

    def value(counts: Counts, total: Counts) -> float | None:
        above, below = (sum(getattr(counts, one) or 0 for one in keys) for keys in (over, under))
        return above / below if below else None

    made = {"by": EVERY_GROUPING, "reads": (*over, *under), "value": value, **more}
    return Metric(key, header, unit, meaning, rank, "ratio", **made)


def _share(key: str, of: str, header: str, rank: int, meaning: str, by: tuple[str, ...]) -> Metric:
    part = attrgetter(of)

    def value(counts: Counts, total: Counts) -> float | None:
        return part(counts) / part(total) if part(total) else None

    return Metric(key, header, "share", meaning, rank, "share", by=by, reads=(of,), value=value)


def _time(
    key: str, header: str, rank: int, meaning: str, of: str = "latency", read: str = "seconds", **more: Any
) -> Metric:
    """Seconds of one method, in the prefix that all of them have."""
    method, part = attrgetter(of), attrgetter(read)

    def value(counts: Counts, total: Counts) -> float | None:
        found = method(counts)
        return None if found is None else part(found)

    name = "" if of == "latency" else of
    rows = {"by_row": lambda view: elapsed.collect_row_times(view.profile, name)} if key == of else {}
    made: dict[str, Any] = {"by": BY_ROWS, "reads": (of,), "value": value, "measured": True, **rows, **more}
    return Metric(key, header, "seconds", meaning, rank, "sum" if rows else "part", "latency", **made)


def _share_latency(counts: Counts, total: Counts) -> float | None:
    return counts.latency.seconds / total.latency.seconds if counts.latency and total.latency else None


def _launch_bound(counts: Counts, total: Counts) -> float | None:
    eager, kernel = counts.eager, counts.kernel
    return 1 - kernel.seconds / eager.seconds if eager and kernel and not eager.below_resolution else None


def _field(key: str, header: str, rank: int, meaning: str) -> Metric:
    return _fact(key, header, "text", rank, meaning, "layer", by_row=lambda view: [c[key] for c in view.field_cells])


def _peak(key: str, header: str, rank: int, meaning: str, **more: Any) -> Metric:
    read: RowValues = lambda view: [peak.get(key) for peak in view.peaks]  # noqa: E731
    more = {"unit": "bytes", "adds": "maximum", "by": ("layer",), "by_row": read, "measured": True, **more}
    return Metric(key, header, meaning=meaning, rank=rank, **more)


def _shapes(name: str) -> RowValues:
    """The shapes of a call's tensors; `None` where the module was never called."""
    tensors = attrgetter(name)
    return lambda view: [
        None if layer.call is None else tuple(spec.shape for spec in tensors(layer)) for layer in view.profile.layers
    ]


def _of_layers(name: str) -> RowValues:
    read = attrgetter(name)
    return lambda view: [read(layer) for layer in view.profile.layers]


def _count_kernels(view: ProfileView) -> list[int | None]:
    found = elapsed.count_kernels(view.profile)
    return [None if found is None else found.get(row.call_index, 0) for row in view.profile.layers]


def _in_phase(phase: str, name: str) -> Callable[[Op], int]:
    cost = attrgetter(name)
    return lambda op: (cost(op) or 0) if op.phase == phase else 0


METRICS = (
    _fact("layer", "Layer", "path", 0, "path of the module as in state_dict; (own) is what a container's forward did",
          "layer", by_row=_of_layers("path")),
    _fact("stage", "Stage", "text", 0, "spatial size of the outputs in a run of layers", "stage"),
    _fact("kind", "Kind", "text", 5, "class of the module", "layer", "kind", by_row=_of_layers("kind")),
    _fact("op", "Op", "text", 0, "aten operator", "op"),
    _fact("call", "Call", "call", 9,
          "0 for the first call of the module, 1 for the next; missing without a call of its own",
          "layer", by_row=_of_layers("call")),
    _fact("first", "First layer", "path", 7, "first layer of the stage", "stage"),
    _fact("last", "Last layer", "path", 8, "last layer of the stage", "stage"),
    _fact("input", "Input", "shapes", 9, "shapes of the tensors that went in", "layer", by_row=_shapes("inputs")),
    _fact("output", "Output", "shapes", 7, "shapes of the tensors that came out", "layer", by_row=_shapes("outputs")),
    _field("rf", "RF", 6, "receptive field: input positions that one output position sees; none if all"),
    _field("rf_stride", "RF step", 9, "effective stride: input positions between neighbouring outputs"),
    _field("rf_padding", "RF pad", 9, "effective padding: positions before the border that the first output sees"),
    _peak("peak_measured", "Peak meas.", 5, "most bytes allocated while the call ran, above those before the pass",
          whole="most bytes allocated above those before the pass"),
    _peak("peak_predicted", "Peak pred.", 5, "the same, predicted: live bytes on the CPU, the allocator's on a GPU"),
    _peak("peak_off", "Pred. off", 6, "predicted less measured peak, as a share of the measured one", unit="share"),
    _peak("peak_reserved", "Reserved", 9, "the same of what the caching allocator held"),
    _sum("calls", "Calls", "count", 5, "how often it was called", of_op=lambda op: 1, by=("stage", "kind", "op"),
         by_row=lambda view: [int(layer.call is not None) for layer in view.profile.layers]),
    _owned("params", "Params", "count", 3, "parameters, each tensor once, at its first owner",
           name="parameters", whole="parameters"),
    _owned("trainable", "Trainable", "count", 9, "parameters that require a gradient"),
    _owned("buffers", "Buffers", "count", 10, "elements of registered buffers, such as running means"),
    _owned("param_bytes", "Param. bytes", "bytes", 9, "size of the parameters in their own dtypes"),
    _work("macs", "MACs", 1, "multiply-accumulates in convolutions and matrix products, forward",
          _in_phase("forward", "macs"), whole="multiply-accumulates of one forward"),
    _work("flops", "FLOPs", 8, "floating-point operations, forward: 2 x MACs and all other arithmetic",
          _in_phase("forward", "flops"), whole="floating-point operations of one forward"),
    _work("backward_macs", "Bwd MACs", 4, "MACs of the backward pass (--train)",
          _in_phase("backward", "macs"), trained=True),
    _work("backward_flops", "Bwd FLOPs", 6, "FLOPs of the backward pass (--train)",
          _in_phase("backward", "flops"), trained=True),
    _sum("activation", "Act", "count", 9, "elements of new output storage in the forward pass", bound="stopped",
         **_read_costs(lambda cost, traced: cost.activation_elements)),
    _activation("activation_bytes", "Act size", 6, "activation memory in the dtype of the pass"),
    _activation("act_fp32", "Act fp32", 6, "activation memory, had the pass run in float32", "float32"),
    _activation("act_fp16", "Act fp16", 9, "activation memory, had the pass run in float16", "float16"),
    _activation("act_bf16", "Act bf16", 6, "activation memory, had the pass run in bfloat16", "bfloat16"),
    _share("share_macs", "macs", "MACs", 2, "share of the model's MACs", EVERY_GROUPING),
    _share("share_params", "params", "Params", 3, "share of the model's parameters", BY_ROWS),
    _sum("ops", "Ops", "count", 9, "aten ops that were dispatched", of_op=lambda op: 1, bound="stopped", by=BY_ROWS),
    _sum("bytes_moved", "Moved", "bytes", 9, "bytes that the ops read and wrote, unfused", bound="stopped",
         of_op=lambda op: op.bytes_moved),
    _ratio("intensity", "Intensity", "flops_per_byte", 9,
           "arithmetic intensity: FLOPs for each byte moved, unfused, forward and backward",
           ("flops", "backward_flops"), ("bytes_moved",),
           name="arithmetic intensity", whole="FLOPs for each byte moved"),
    _work("unknown", "Unknown", 9, "ops that no cost rule covers", lambda op: int(op.status == "unknown"),
          bound="", family=""),
    _time("latency", "Latency", 1, "measured time of its own work: the median over rounds; a sum adds these medians",
          whole="measured time of the whole model, without marks",
          whole_value=lambda view: view.time.seconds if view.time else None),
    _time("low", "Low", 2, "the least of the rounds; of a sum, of what its rows took together", read="low",
          whole="the least of the rounds"),
    _time("high", "High", 2, "the greatest of the rounds", read="high"),
    _time("least", "Least", 9, "the smallest sample: what nothing disturbed", read="least"),
    Metric("share_latency", "Latency", "share", "share of the latency of all rows", 3, "share",
           by=BY_ROWS, reads=("latency",), value=_share_latency, measured=True),
    _time("eager", "Eager", 5, "measured on the GPU as users run it, launch gaps included", of="eager"),
    _time("kernel", "Kernels", 4, "measured on the GPU: its kernels alone, summed", of="kernel"),
    Metric("launch_bound", "Gaps", "share", "share of the eager time in which no kernel runs", 6, "ratio",
           by=BY_ROWS, reads=("eager", "kernel"), value=_launch_bound, measured=True),
    _sum("n_kernels", "Launches", "count", 7, "GPU kernels that it runs in a pass", by_row=_count_kernels,
         measured=True),
    *(Metric(**{"by": BY_ROWS, **said}) for said in predicted.COLUMNS),
    *(_fact(*said, "layer", adds=adds, by_row=by_row) for said, adds, by_row in probed.PROBED_COLUMNS),
    Metric("vanishing", "First/last grad", "number", "gradient by weight, of the first weight by the last (probe)",
           whole_value=lambda view: probed.measure_vanishing(view.profile)),
    Metric("peak", "Peak", "bytes", "most bytes live at once", adds="maximum", name="peak memory", bound="stopped",
           by_row=lambda view: liveness.split_peak_by_layer(view.profile),
           whole_value=lambda view: liveness.compute_peak_bytes(view.profile)),
    Metric("memory", "Memory", "bytes", "of a GPU that it needs, as predicted", adds="maximum", bound="unknown",
           whole_value=lambda view: view.predict_memory().needed_bytes.value),
    Metric("depth", "Depth", "count", "weight layers one after another on the longest way", bound="unknown",
           whole_value=lambda view: view.depth),
    Metric("field", "Field", "count", "input pixels that one position sees along the longer side, at its widest",
           name="receptive field", bound="stopped", whole_value=lambda view: view.reach),
    Metric("top5_error", "Top-5 err %", "count", "published ImageNet top-5 error in percent",
           whole_value=lambda view: view.top5_error),
)  # fmt: skip
"""Every metric: the columns of the layer tables in the order of the help, then what is known of whole models alone."""

METRIC_BY_KEY: dict[str, Metric] = {metric.key: metric for metric in METRICS}

_BOUND_IF_UNKNOWN = frozenset(metric.key for metric in METRICS if metric.bound == "unknown")
_BOUND_IF_STOPPED = _BOUND_IF_UNKNOWN | {metric.key for metric in METRICS if metric.bound == "stopped"}
_BOUND_IF_UNSIZED = frozenset(metric.key for metric in METRICS if metric.bound == "unsized")


def find_lower_bounds(*, unknown: bool, stopped: bool, unsized: bool = False) -> frozenset[str]:
    """The metrics that are lower bounds where an op has no rule, the forward stopped, a parameter has no shape yet."""
    work: frozenset[str] = _BOUND_IF_STOPPED if stopped else _BOUND_IF_UNKNOWN if unknown else frozenset()
    return work | _BOUND_IF_UNSIZED if unsized else work


def find_model_bounds(profile: Profile) -> frozenset[str]:
    """The metrics of a whole model that are lower bounds."""
    unknown = profile.lacks_calls or any(op.status == "unknown" for op in profile.ops)
    return find_lower_bounds(unknown=unknown, stopped=profile.failure is not None, unsized=bool(profile.unsized))


def compute_value(metric: Metric, counts: Counts, total: Counts | None = None, *, stopped: bool = False) -> Value:
    """The value for these sums; `None` for a ratio that rests on a lower bound, for that is no bound."""
    if metric.value is None:
        return None
    if metric.adds == "ratio":
        unsure = find_lower_bounds(unknown=bool(counts.unknown), stopped=stopped)
        if not unsure.isdisjoint(metric.reads):
            return None
    return metric.value(counts, counts if total is None else total)


def measure_model(metric: Metric, view: ProfileView) -> Any:
    """The number of a whole model; `None` where it has none."""
    return metric.whole_value(view) if metric.whole_value else compute_value(metric, view.total)
