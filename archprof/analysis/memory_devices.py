"""Whether a run fits on each GPU of the catalogue, as a table and for JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from archprof.analysis.table import Column, Row, Table
from archprof.facts.records import Profile

if TYPE_CHECKING:
    from archprof.sweeping.device_batches import OnDevice

DEVICE_COLUMNS = (
    Column("device", "Device", "path", "its name in the catalogue", 0),
    Column("capacity", "Usable", "bytes", "of its memory", 0),
    Column("verdict", "Verdict", "text", "by the interval of what is used", 0),
    Column("largest_batch", "Largest batch", "whole", "that fits as predicted, without a margin", 0),
)
BATCH_NOTE = "The verdict is on batch {batch}. The largest batch fits as predicted: leave some."
BOUND_NOTE = "Where it is at least so many, the next was not traced: archprof fit finds it."
EXACT_NOTE = "The inputs are exact, so that there is no other batch."


def tabulate_devices(devices: Sequence[OnDevice], profile: Profile) -> Table:
    """A row for each GPU whose memory is known, the smallest first."""
    rows = []
    for (name, capacity, word), largest in devices:
        bounds = frozenset({"largest_batch"}) if largest is not None and not largest.exact else frozenset[str]()
        rows.append(Row((name, capacity, word, largest and largest.batch), bounds=bounds))
    known = [one.largest for one in devices if one.largest is not None]
    notes = [BATCH_NOTE.format(batch=profile.batch)] if known else [EXACT_NOTE]
    notes += [BOUND_NOTE] if any(not largest.exact for largest in known) else []
    return Table(f"{profile.model} on each device", DEVICE_COLUMNS, tuple(rows), notes=tuple(notes))


def write_devices(devices: Sequence[OnDevice]) -> list[dict[str, Any]]:
    return [
        {
            "device": name,
            "capacity": capacity,
            "verdict": word,
            "largest_batch": largest and largest.batch,
            "largest_batch_is_exact": largest and largest.exact,
        }
        for (name, capacity, word), largest in devices
    ]
