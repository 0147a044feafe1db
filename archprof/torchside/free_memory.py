"""Memory that this machine still has, held against what real tensors take before they are made.

An allocation beyond it does not raise: the system ends the process, or another one.
"""

from __future__ import annotations

import re
from pathlib import Path

from archprof.errors import ArchprofError
from archprof.files import read_system_file
from archprof.units import show_quantity

SYSTEM_ROOT = Path("/")

USABLE_SHARE = 0.9
"""The share of the free memory that the counted bytes may take: workspaces and other programs need some, too."""

UNASKED = 2**26
"""Bytes that are taken without a look at what is free."""


class NoRoom(ArchprofError):
    """Real tensors would take more memory than there is for them."""


def read_free_bytes(system: Path = SYSTEM_ROOT) -> int | None:
    """Memory that can still be had: what the machine has, or what the control group leaves if that is less."""
    found = re.search(r"^MemAvailable:\s*(\d+) kB$", read_system_file(system / "proc/meminfo"), re.MULTILINE)
    left = [int(found[1]) * 1024] if found else []
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        most, now = (read_system_file(system / "sys/fs/cgroup" / name) for name in (limit, used))
        if most.isdigit() and now.isdigit():
            left.append(max(0, int(most) - int(now)))
    return min(left, default=None)


def has_room(needed: int, free: int | None) -> bool:
    """Whether so many bytes may be taken of those that are free; `None`: nobody knows how many are."""
    return free is None or needed <= USABLE_SHARE * free


def refuse_without_room(what: str, needed: int) -> None:
    """Raise `NoRoom` where the machine has no room for so many bytes, or more, of real tensors."""
    if needed <= UNASKED or has_room(needed, free := read_free_bytes()):
        return
    there = show_quantity(free or 0, "bytes")
    raise NoRoom(
        f"{what} needs {show_quantity(needed, 'bytes')} of memory or more; {there} are free.",
        f"{USABLE_SHARE:.0%} of what is free.",
        "Try less: a smaller batch, input, context or model.",
    )
