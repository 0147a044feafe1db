"""The rows of a sweep as a table: a row per cell; a column that nothing stands in is left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from archprof.analysis.metrics import METRIC_BY_KEY
from archprof.analysis.table import Column, Row, Table, Value
from archprof.facts.swept import SweptRow, count_statuses
from archprof.wording import say_many

COUNTS = {"params": "params", "macs": "macs", "flops": "flops", "activation_bytes": "activation_bytes"}
"""Columns that are metrics of a whole model, by their keys there."""

PREDICTED = ("live_bytes", "allocated_bytes", "device_used_bytes")

BOUNDS = frozenset([*COUNTS, "trainable_params", *PREDICTED, "predicted_seconds", "predicted_low", "predicted_high"])
"""Of a pass of which not all was counted."""


def _metric(key: str, rank: int, **more: Any) -> Column:
    return METRIC_BY_KEY[COUNTS[key]].column_of_model(rank, **{"key": key, "is_sum": False, **more})


CELL_COLUMNS = (
    Column("model", "Model", "path", "as it was asked for", 0),
    Column("batch", "Batch", "text", "samples in one pass", 0),
    Column("dtype", "Dtype", "text", "of the pass", 0),
    Column("mode", "Mode", "text", "forward, or train", 2),
    Column("optimizer", "Optimizer", "text", "whose step follows", 3),
    Column("amp", "Amp", "text", "the forward runs under autocast to it", 3),
    Column("inputs", "Inputs", "text", "that were given", 3),
    Column("device", "Device", "text", "on which the time is predicted", 0),
    _metric("params", 1),
    _metric("macs", 1),
    _metric("flops", 5),
    _metric("activation_bytes", 4, header="Activations"),
    Column("live_bytes", "Live peak", "bytes", "most bytes live at once, predicted", 3, "memory"),
    Column("allocated_bytes", "Allocated", "bytes", "most that torch's allocator gives out, predicted", 5, "memory"),
    Column("device_used_bytes", "Device used", "bytes", "most that the device lends, predicted", 4, "memory"),
    Column("predicted_seconds", "Predicted", "seconds", "the middle of the interval", 0, "latency"),
    Column("predicted_low", "Low", "seconds", "nine of ten measured times are above it", 4, "latency"),
    Column("predicted_high", "High", "seconds", "and below it", 4, "latency"),
    Column("standing", "Standing", "text", "how well the device is known", 5),
    Column("measured_seconds", "Measured", "seconds", "median of the rounds", 0, "latency"),
    Column("measured_low", "Least", "seconds", "the least of the rounds", 4, "latency"),
    Column("measured_high", "Greatest", "seconds", "the greatest of the rounds", 4, "latency"),
    Column("measured_peak_bytes", "Measured peak", "bytes", "above what there was before the pass", 4, "memory"),
    Column("measured_on", "On", "text", "what the device calls itself", 5),
    Column("top5_error", "Top-5 err %", "count", "published ImageNet top-5 error in percent", 3),
    Column("status", "Status", "text", "ok, time limit, out of memory, does not run or error", 0),
    Column("tries", "Tries", "whole", "how often it was begun", 5),
    Column("why", "Why", "words", "there is no number", 2),
    Column("note", "Note", "words", "what else must be known", 3),
)
QUIET = {"mode": "forward", "status": "ok", "tries": 1}
"""What says nothing where all rows have it."""


def tabulate_swept(rows: Sequence[SweptRow], title: str = "", notes: Sequence[str] = ()) -> Table:
    """The rows in their order."""
    said = [column for column in CELL_COLUMNS if _says_something(column.key, rows)]
    made = tuple(_make_row(row, said) for row in rows)
    title = title or describe_size(rows)
    return Table(title, tuple(said), made, notes=(*notes, *_explain(rows)))


def describe_size(rows: Sequence[SweptRow]) -> str:
    """ "4 passes of 2 models"."""
    models = len({row.model for row in rows})
    passes = f"{len(rows):,} pass{'es' if len(rows) != 1 else ''}"
    return f"{passes} of {say_many(models, 'model')}"


def _says_something(key: str, rows: Sequence[SweptRow]) -> bool:
    values = {getattr(row, key) for row in rows}
    return key in ("model", "batch", "status") or bool(values - {None, QUIET.get(key)})


def _make_row(row: SweptRow, columns: Sequence[Column]) -> Row:
    cells: dict[str, Value] = {column.key: getattr(row, column.key) for column in columns}
    cells["batch"] = str(row.batch)
    bounds = frozenset(key for key in BOUNDS if cells.get(key) is not None) if not row.complete else frozenset()
    return Row(tuple(cells.values()), bounds=bounds, half_intervals=_intervals(row))


def _intervals(row: SweptRow) -> Mapping[str, float]:
    """To how many digits times are known."""
    found: dict[str, float] = {}
    for kind in ("predicted", "measured"):
        low, high = getattr(row, f"{kind}_low"), getattr(row, f"{kind}_high")
        if low is not None and high is not None and high > low:
            within = (high - low) / (20 if kind == "predicted" else 2)
            found |= dict.fromkeys((f"{kind}_seconds", f"{kind}_low", f"{kind}_high"), within)
    return found


def _explain(rows: Sequence[SweptRow]) -> list[str]:
    """What must be known of all rows."""
    counts = count_statuses(rows)
    lines = [", ".join(f"{count:,} {status}" for status, count in counts.items()) + "."] if len(counts) > 1 else []
    if any(row.predicted_seconds is not None for row in rows):
        lines.append("Predicted times are no measured ones: archprof guide latency.")
    if not all(row.complete for row in rows if row.status == "ok"):
        lines.append("≥: not all of the pass was counted.")
    return [*lines, "1 MAC = 2 FLOPs. Memory is predicted for a GPU: archprof guide memory."]
