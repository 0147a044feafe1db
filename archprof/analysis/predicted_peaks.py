"""Predicted peaks of memory beside the measured ones: most bytes while each call runs, above those before the pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from archprof.facts.measured import MeasuredMemory
from archprof.facts.overlays import Outside, RowKey
from archprof.facts.records import Profile
from archprof.facts.steps import build_step, sum_step_bytes
from archprof.predicting.memory import predict_memory
from archprof.predicting.workspaces import choose_workspaces

PeakCells = dict[str, int | float | None]


def predict_call_peaks(profile: Profile) -> Mapping[RowKey, int]:
    """By call, with all that it calls, and of the whole pass: as its measurement has them, of which there must be one.

    On the CPU these are live bytes, on a GPU what torch's allocator has given out.
    """
    on_gpu = profile.measurement is not None and profile.measurement.ran.device != "cpu"
    by_op = _list_allocated(profile) if on_gpu else _list_live(profile)
    peaks: dict[RowKey, int] = {}
    for index, nbytes in zip(build_step(profile).ops, by_op, strict=True):
        call: int | None = profile.ops[index].call if profile.calls else None
        while call is not None:
            peaks[call] = max(peaks.get(call, 0), nbytes)
            call = profile.calls[call].parent
    return {**peaks, Outside.WHOLE: max(by_op, default=0)}


def _list_live(profile: Profile) -> Sequence[int]:
    """While each op runs, above what is there before: weights, buffers, inputs."""
    step = build_step(profile)
    before = sum(profile.storages[life.storage].nbytes for life in step.lives if not life.made)
    return [live - before for live in sum_step_bytes(profile, step)]


def _list_allocated(profile: Profile) -> Sequence[int]:
    device = profile.measurement.device_title if profile.measurement else None
    prediction = predict_memory(profile, choose_workspaces(device))
    return [allocated - prediction.before_step for allocated in prediction.timeline]


def collect_peaks(profile: Profile) -> list[PeakCells]:
    """The peaks of each row's call, with all that it calls, by the keys of their columns."""
    measured = {one.key: one for one in profile.measurement.memory} if profile.measurement else {}
    if not measured:
        return [{} for _ in profile.layers]
    predicted = predict_call_peaks(profile)
    calls = [layer.call_index for layer in profile.layers]
    return [{} if call is None else _make_cells(measured.get(call), predicted.get(call)) for call in calls]


def collect_whole_peaks(profile: Profile) -> PeakCells:
    """Those of the whole pass."""
    whole = profile.measurement.memory_whole if profile.measurement else None
    return _make_cells(whole, predict_call_peaks(profile)[Outside.WHOLE]) if whole else {}


def _make_cells(measured: MeasuredMemory | None, predicted: int | None) -> PeakCells:
    if measured is None:
        return {}
    peak = measured.allocated_peak
    off = None if predicted is None or peak <= 0 else predicted / peak - 1
    return {
        "peak_measured": peak,
        "peak_predicted": predicted,
        "peak_off": off,
        "peak_reserved": measured.reserved_peak,
    }
