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
    """Memory that can still be had: the least of what the machine has and what a control group or a limit leaves."""
    found = re.search(r"^MemAvailable:\s*(\d+) kB$", read_system_file(system / "proc/meminfo"), re.MULTILINE)
    left = [int(found[1]) * 1024] if found else []
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        most, now = (read_system_file(system / "sys/fs/cgroup" / name) for name in (limit, used))
        if most.isdigit() and now.isdigit():
            left.append(max(0, int(most) - int(now)))
    return min([*left, *_list_left_by_limits(system)], default=None)


def _list_left_by_limits(system: Path) -> list[int]:
    """Bytes that the limits of this process leave it (`ulimit -v` and `-d`), where it has some."""
    limits = read_system_file(system / "proc/self/limits")
    used = read_system_file(system / "proc/self/status")
    left = []
    for limit, size in (("Max address space", "VmSize"), ("Max data size", "VmData")):
        most, now = re.search(rf"^{limit}\s+(\d+)", limits, re.MULTILINE), re.search(rf"{size}:\s*(\d+) kB", used)
        if most and now:
            left.append(max(0, int(most[1]) - int(now[1]) * 1024))
    return left


def read_usable_bytes() -> int | None:
    """The bytes of free memory that may be taken; `None`: nobody knows how many are free."""
    free = read_free_bytes()
    return None if free is None else int(USABLE_SHARE * free)


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
