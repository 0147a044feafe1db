"""Everything that can be summed, of one call or of many: the sums among the metrics."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from archprof.analysis.elapsed import Elapsed
from archprof.analysis.metric import Metric
from archprof.analysis.metrics import METRIC_BY_KEY, METRICS, compute_value
from archprof.analysis.predicted import NO_TIME, PredictedTime
from archprof.facts.records import Op, Profile

if TYPE_CHECKING:
    from archprof.analysis.view import ProfileView

SUMS = tuple(metric for metric in METRICS if metric.adds == "sum")


def _nothing_of(metric: Metric) -> Any:
    """What a sum starts from."""
    if metric.unit != "seconds":
        return 0
    return Elapsed() if metric.measured else NO_TIME


if TYPE_CHECKING:

    class Counts(NamedTuple):
        """One field for each of `SUMS`, by its key; those that code reads by name are declared here for the checker.

        `activation_bytes` is in the dtype of the pass; `act_*` as if it had run in that dtype. `latency` is that of
        the headline, `eager` and `kernel` those of the methods of these names. What was not measured, and the backward
        pass where there was none, is `None`, and stays so in a sum.
        """

        calls: int = 0
        params: int = 0
        buffers: int = 0
        macs: int = 0
        flops: int = 0
        backward_macs: int | None = 0
        backward_flops: int | None = 0
        activation: int = 0
        activation_bytes: int = 0
        act_fp32: int = 0
        bytes_moved: int = 0
        unknown: int = 0
        latency: Elapsed | None = Elapsed()
        eager: Elapsed | None = Elapsed()
        kernel: Elapsed | None = Elapsed()
        n_kernels: int | None = 0
        predicted: PredictedTime | None = PredictedTime()

else:
    Counts = namedtuple(
        "Counts",
        [metric.key for metric in SUMS],
        defaults=[_nothing_of(metric) for metric in SUMS],
    )


def sum_counts(counts: Iterable[Counts]) -> Counts:
    """Their sum, field by field."""
    fields = list(zip(*counts, strict=True))
    return Counts._make(None if None in values else sum(values) for values in fields)


def count_rows(view: ProfileView) -> list[Counts]:
    """What each row of the profile owns and did itself."""
    columns = [metric.by_row(view) if metric.by_row else _sum_ops(view.profile, metric) for metric in SUMS]
    return list(map(Counts._make, zip(*columns, strict=True)))


def _sum_ops(profile: Profile, metric: Metric) -> list[int]:
    """What the ops of each row add up to."""
    sums, add, rows = [0] * len(profile.layers), metric.of_op, profile.call_rows
    for op in profile.ops if add else ():
        sums[rows[op.call]] += add(op)  # type: ignore[misc]
    return sums


def count_op(op: Op, train: bool) -> Counts:
    """What one op adds to the sums that are made of ops."""
    added: dict[str, Any] = {
        metric.key: None if metric.trained and not train else metric.of_op(op) for metric in SUMS if metric.of_op
    }
    return Counts(**added)


def compute_intensity(counts: Counts) -> float | None:
    """FLOPs for each byte moved; `None` where nothing moves or an op has no rule."""
    return compute_value(METRIC_BY_KEY["intensity"], counts)  # type: ignore[return-value]
