"""What would lower the memory of a run, as a table and for JSON."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from archprof.analysis.table import Column, Row, Table
from archprof.predicting.devices import Device
from archprof.predicting.memory_capacity import judge_size

if TYPE_CHECKING:
    from archprof.sweeping.advice import Advice

ADVICE_COLUMNS = (
    Column("change", "Change", "path", "the options that would change", 0),
    Column("saved", "Saves", "bytes", "of what is used of the device", 0, "memory"),
    Column("share", "Share", "share", "of what is used now", 1),
    Column("device_used", "Device used", "bytes", "with the change", 0, "memory"),
    Column("flops", "More FLOPs", "share", "of a checkpoint, for each sample, forward and backward", 1),
)
VERDICT_COLUMN = Column("verdict", "Verdict", "text", "whether it then fits on the device", 0)
EACH_ALONE_NOTE = "Each alone, traced and predicted again; a narrower dtype may change what the model learns."
NOTHING_NOTE = "None of what was tried lowers it."


def tabulate_advice(advice: Iterable[Advice], used: int, device: Device | None) -> Table:
    """A row for each change, the best first; `used` is what is used of the device without any."""
    rows = []
    for one in advice:
        word = () if device is None else (judge_size(one.needed, device).word,)
        rows.append(Row((one.change, one.saved, one.saved / used, one.device_used.value, one.more_flops, *word)))
    notes = (EACH_ALONE_NOTE,) if rows else (NOTHING_NOTE,)
    columns = ADVICE_COLUMNS if device is None else (*ADVICE_COLUMNS, VERDICT_COLUMN)
    return Table("What would lower it", columns, tuple(rows), notes=notes)


def write_advice(advice: Iterable[Advice]) -> list[dict[str, Any]]:
    """The same in base units, with intervals."""
    return [
        {
            "change": one.change,
            "options": one.options,
            "saved_bytes": one.saved,
            "device_used_bytes": one.device_used._asdict(),
            "allocated_peak_bytes": one.allocated._asdict(),
            "live_peak_bytes": one.live._asdict(),
            "more_flops_share": one.more_flops,
        }
        for one in advice
    ]
