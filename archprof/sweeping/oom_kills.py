"""Whether the system has ended processes because its memory was full."""

from __future__ import annotations

import re
from pathlib import Path

from archprof.files import read_system_file

COUNTERS = (Path("/proc/vmstat"), Path("/sys/fs/cgroup/memory.events"))
"""Of the kernel and of the control group; whichever there is."""


def count_oom_kills(counters: tuple[Path, ...] = COUNTERS) -> int:
    """How often it did so far; 0 where it does not tell."""
    return sum(_read_count(path) for path in counters)


def _read_count(path: Path) -> int:
    found = re.search(r"^oom_kill (\d+)$", read_system_file(path), re.MULTILINE)
    return int(found[1]) if found else 0
