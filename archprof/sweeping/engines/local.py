"""This machine: a thread for each process that cells are given to."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from archprof.measuring.host_state import count_cpus
from archprof.sweeping.engine import Engine
from archprof.sweeping.process_pool import PROCESSES


def open_local(jobs: int | None, *, measure: str = "") -> Engine:
    """All processors at once, or one cell at a time where it is timed."""
    slots = 1 if measure else jobs or count_cpus()
    threads = ThreadPoolExecutor(slots, thread_name_prefix="archprof-sweep")

    def close(at_once: bool) -> None:
        threads.shutdown(wait=False, cancel_futures=True)
        PROCESSES.close()

    return Engine("local", threads, slots, close=close)
