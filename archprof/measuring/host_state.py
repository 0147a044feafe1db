"""What the operating system says of the machine: processor, quota, memory. `None` where it says nothing."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

from archprof.files import read_system_file

SYSTEM_ROOT = Path("/")
"""Where /proc and /sys are."""


def find_processor_name(system: Path = SYSTEM_ROOT) -> str:
    """The name of the processor."""
    found = re.search(r"^model name\s*:\s*(.+)$", read_system_file(system / "proc/cpuinfo"), re.MULTILINE)
    return found[1].strip() if found else platform.processor() or platform.machine()


def count_cpus() -> int:
    """Logical processors that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def read_quota(system: Path = SYSTEM_ROOT) -> float | None:
    """Processors' worth of time that the control group gives, which a container shows nowhere else."""
    limit, _, period = read_system_file(system / "sys/fs/cgroup/cpu.max").partition(" ")
    if not period:  # control groups of version 1 have a file each
        limit = read_system_file(system / "sys/fs/cgroup/cpu/cpu.cfs_quota_us") or "max"
        period = read_system_file(system / "sys/fs/cgroup/cpu/cpu.cfs_period_us") or "100000"
    return int(limit) / int(period) if limit.isdigit() else None


def read_governor(system: Path = SYSTEM_ROOT) -> str | None:
    """What chooses the clock speed: "performance", "powersave" …"""
    return read_system_file(system / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor") or None


def read_load() -> float | None:
    """Processes that wanted to run in the last minute, on average."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None
