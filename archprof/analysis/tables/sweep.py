"""One model measured at several batch sizes and dtypes: a row each, also where it does not fit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from archprof.analysis import elapsed
from archprof.analysis.elapsed import Elapsed
from archprof.analysis.metrics import METRIC_BY_KEY
from archprof.analysis.predicted_peaks import collect_whole_peaks
from archprof.analysis.table import Column, Row, Table, Value
from archprof.facts.records import Profile


class SweepCell(NamedTuple):
    """What was asked, and what came of it: a measured profile, or the words why there is none."""

    batch: int | str
    dtype: str | None
    profile: Profile | None
    failure: str = ""


PEAK_KEYS = ("peak_measured", "peak_predicted", "peak_off")

COLUMNS = (
    Column("batch", "Batch", "text", "samples in one pass", 0),
    Column("dtype", "Dtype", "text", "of the pass", 0),
    METRIC_BY_KEY["latency"].column_of_model(0, family="latency"),
    METRIC_BY_KEY["low"].column_of_model(2, family="latency"),
    METRIC_BY_KEY["high"].column_of_model(2, family="latency"),
    Column("rate", "Samples/s", "count", "batch size by latency", 1),
    *(METRIC_BY_KEY[key].column_of_model(3) for key in PEAK_KEYS),
    METRIC_BY_KEY["activation_bytes"].column_of_model(
        5, key="act", meaning="activation memory, counted, in the dtype of the pass"
    ),
    Column("gap", "Gap", "share", "sum of the rows above the whole, as a share of it", 4),
    Column("note", "Note", "words", "why there is no number, or what to think of it", 1),
)
"""A row per batch size and dtype."""


def tabulate_sweep(model: str, cells: Sequence[SweepCell]) -> Table:
    """The cells in the order in which they were measured; a column that has nothing to say is left out."""
    rows = [_row(cell) for cell in cells]
    said = [i for i, _ in enumerate(COLUMNS) if any(row.cells[i] is not None for row in rows)]
    return Table(
        title=f"{model} by batch size and dtype",
        columns=tuple(COLUMNS[i] for i in said),
        rows=tuple(
            Row(tuple(row.cells[i] for i in said), name=str(row.cells[0]), half_intervals=row.half_intervals)
            for row in rows
        ),
        notes=_notes(cells),
    )


def _row(cell: SweepCell) -> Row:
    profile, time = cell.profile, elapsed.find_model_time(cell.profile) if cell.profile else None
    if profile is None or profile.measurement is None or not time:
        return Row((str(cell.batch), cell.dtype, *[None] * (len(COLUMNS) - 3), cell.failure or "not measured"))
    peaks, rate = collect_whole_peaks(profile), profile.batch / time.seconds
    cells: tuple[Value, ...] = (
        str(profile.batch), profile.dtype, time.seconds, time.low, time.high, rate,
        *(peaks.get(key) for key in PEAK_KEYS), profile.totals.activation_bytes[profile.dtype],
        elapsed.compute_gap(profile), _doubt(profile, time),
    )  # fmt: skip
    within = {
        **dict.fromkeys(("latency", "low", "high"), time.half_interval),
        "rate": rate * time.half_interval / time.seconds,
    }
    return Row(cells, half_intervals={key: value for key, value in within.items() if value})


def _doubt(profile: Profile, time: Elapsed) -> str | None:
    doubts = [] if time.stable else ["unstable"]
    if profile.measurement and profile.measurement.interrupted:
        doubts.append("interrupted")
    return ", ".join(doubts) or None


def _notes(cells: Sequence[SweepCell]) -> tuple[str, ...]:
    """How it was measured, said once where it was the same."""
    lines = [line for cell in cells if cell.profile for line in _said(cell.profile)]
    return tuple(dict.fromkeys(lines))


def _said(profile: Profile) -> Iterator[str]:
    measurement, headline = profile.measurement, elapsed.find_latency(profile)
    yield f"Input {', '.join(profile.inputs) or 'none'}; {profile.mode} pass."
    if measurement is not None and headline is not None:
        yield f"{elapsed.device_words(measurement, headline)}; median of rounds, [low, high] holds every round."
        yield from measurement.notes
