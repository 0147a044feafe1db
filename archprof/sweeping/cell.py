"""One cell, in the process that it was given to: traced, predicted, measured, and what came of it as a row."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

from archprof.errors import ArchprofError, DoesNotFit
from archprof.facts.predicted import LatencyPrediction
from archprof.facts.records import Profile
from archprof.facts.request import MeasureRequest, PassRequest
from archprof.facts.swept import Cell, SweptRow, fail_row, start_row
from archprof.models import registry
from archprof.models.published_nets import load_published_nets
from archprof.predicting.memory import predict_memory
from archprof.predicting.runs import RunRequest, choose_one_device, predict_pass
from archprof.predicting.size_limits import find_refusal, say_refusal
from archprof.predicting.workspaces import choose_workspaces
from archprof.sources.source_identity import identify_source
from archprof.torchside.free_memory import NoRoom
from archprof.tracing.profile import profile_model
from archprof.units import keep_finite

FULL_WORDS = ("DefaultCPUAllocator", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "Cannot allocate memory")
"""In the message of an error that says so of a memory; torch has several ways."""

MOST_WORDS = 500


def run_cell(cell: Cell, key: str, made_by: Mapping[str, str]) -> SweptRow:
    """The row of a cell; what goes wrong is in it."""
    start = time.perf_counter()
    row = start_row(cell, key, made_by)
    try:
        done = _run(cell, row, made_by)
    except (Exception, SystemExit) as error:
        done = describe_failure(row, error)
    return replace(done, took_seconds=time.perf_counter() - start)


def describe_failure(row: SweptRow, error: BaseException) -> SweptRow:
    """The row of a cell that raised, with its words."""
    given = f"{error.given} {error.allowed}" if isinstance(error, ArchprofError) else f"{type(error).__name__}: {error}"
    said = given.rstrip(": ")
    short = said if len(said) <= MOST_WORDS else f"{said[:MOST_WORDS]}…"
    return fail_row(row, "out of memory" if is_out_of_memory(error) else "error", short)


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether an error, or what it comes from, says that a memory is full."""
    if error is None:
        return False
    named = isinstance(error, MemoryError | DoesNotFit | NoRoom) or type(error).__name__ == "OutOfMemoryError"
    worded = isinstance(error, RuntimeError) and any(words in str(error) for words in FULL_WORDS)
    return named or worded or is_out_of_memory(error.__cause__)


def _run(cell: Cell, row: SweptRow, made_by: Mapping[str, str]) -> SweptRow:
    here = identify_source(cell.model)
    if here != made_by.get("source"):
        raise ArchprofError(
            f"{cell.model} is not the same here: {here or 'not found'} instead of {made_by.get('source') or 'nothing'}."
        )
    profile = _measure(cell) if cell.measure else _count(_without_device(cell))
    done = replace(
        row, **_counts(profile, cell), **_memory(profile, cell), **_predicted(profile, cell), **_measured(profile)
    )
    return done if cell.measure else _refuse_sizes(done, profile, cell)


def _refuse_sizes(row: SweptRow, profile: Profile, cell: Cell) -> SweptRow:
    """A time on a device where a kernel does not take the sizes is none; without a device there are the counts."""
    device = choose_one_device(cell.device).device if cell.device else None
    refusal = None if cell.compiled else find_refusal(profile, device)
    if refusal is None:
        return row
    if device is None:
        return replace(row, note=say_refusal(refusal))
    no_time = {"predicted_seconds": None, "predicted_low": None, "predicted_high": None, "standing": None}
    return fail_row(row, "does not run", say_refusal(refusal, f"the {device.name}"), **no_time)


def _without_device(cell: Cell) -> Cell:
    """What is traced: the same for all devices."""
    return replace(cell, device="", channels_last=False, compiled=False)


@lru_cache(maxsize=1)
def _count(cell: Cell) -> Profile:
    return profile_model(cell.model, [*cell.inputs] or None, _request(cell))


def _measure(cell: Cell) -> Profile:
    from archprof.measuring.run import measure_model

    how = MeasureRequest(cell.measure, cell.channels_last, cell.compiled)
    return measure_model(cell.model, [*cell.inputs] or None, _request(cell), how)


def _request(cell: Cell) -> PassRequest:
    return PassRequest(
        cell.batch, cell.dtype, cell.train, lengths=dict(cell.lengths) or None, optimizer=cell.optimizer, amp=cell.amp
    )


def _counts(profile: Profile, cell: Cell) -> dict[str, Any]:
    totals = profile.totals
    return {
        "dtype": profile.dtype,
        "params": totals.params,
        "trainable_params": totals.trainable_params,
        "macs": totals.macs,
        "flops": totals.flops,
        "activation_bytes": totals.activation_bytes[profile.dtype],
        "top5_error": None if cell.inputs else _find_published_error(cell.model),
        "complete": totals.complete,
        "status": "ok",
    }


def _find_published_error(model: str) -> float | None:
    """Of a built-in net by itself, or one of torchvision by its plain name."""
    entry = registry.BUILTIN_MODELS.get(model)
    if entry is not None:
        return None if entry.is_competition_entry else entry.top5_error
    zoo, _, name = model.rpartition(":")
    published = {net.name: net.top5_error for net in load_published_nets()}
    return published.get(name) if zoo in ("", "torchvision") else None


def _memory(profile: Profile, cell: Cell) -> dict[str, Any]:
    device = choose_one_device(cell.device).device.name if cell.device else None
    found = predict_memory(profile, choose_workspaces(device))
    return {
        "live_bytes": found.live_peak_bytes.value,
        "allocated_bytes": found.allocated_peak_bytes.value,
        "device_used_bytes": found.device_used_bytes.value,
    }


def _predicted(profile: Profile, cell: Cell) -> dict[str, Any]:
    if not cell.device:
        return {}
    device = choose_one_device(cell.device).device
    how = RunRequest(compiled=cell.compiled, channels_last=cell.channels_last)
    found: LatencyPrediction = predict_pass(profile, device, how)
    low, middle, high = (keep_finite(one) for one in (found.whole.low, found.whole.p50, found.whole.high))
    return {
        "device": device.name, "predicted_seconds": middle, "predicted_low": low, "predicted_high": high,
        "standing": found.standing,
    }  # fmt: skip


def _measured(profile: Profile) -> dict[str, Any]:
    if profile.measurement is None:
        return {}
    measurement = profile.measurement
    if not measurement.latencies:
        raise ArchprofError("Nothing was measured before it was stopped.")
    whole, memory = measurement.latencies[0].whole, measurement.memory_whole
    return {
        "measured_seconds": keep_finite(whole.p50), "measured_low": keep_finite(whole.low),
        "measured_high": keep_finite(whole.high), "measured_on": measurement.ran.device_name or measurement.ran.device,
        "measured_peak_bytes": memory.allocated_peak if memory else None,
    }  # fmt: skip
