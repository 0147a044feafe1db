"""The processes for cells that a worker has started: those that wait, and all."""

from __future__ import annotations

import atexit
import threading

from archprof.errors import ArchprofError
from archprof.sweeping.process import CellProcess


class ProcessPool:
    """Processes that are started when they are needed, and kept."""

    def __init__(self) -> None:
        self._idle: list[CellProcess] = []
        self._all: set[CellProcess] = set()
        self._lock = threading.Lock()
        self._is_open = True

    def open(self) -> None:
        """From now on there may be processes, also after `close`."""
        self._is_open = True

    def take(self) -> CellProcess:
        """One that waits, or a new one."""
        while True:
            with self._lock:
                process = self._idle.pop() if self._idle else None
            if process is None:
                return self.start()
            if process.is_alive():
                return process
            self.end(process)

    def start(self) -> CellProcess:
        """A new one; `ArchprofError` where it cannot be started, or the sweep was stopped."""
        self._check_open()
        process = CellProcess()
        with self._lock:
            self._all.add(process)
        try:
            process.wait_until_warm()
            self._check_open()
        except BaseException:
            self.end(process)
            raise
        return process

    def _check_open(self) -> None:
        if not self._is_open:
            raise ArchprofError("The sweep was stopped.")

    def give_back(self, process: CellProcess) -> None:
        with self._lock:
            self._idle.append(process)

    def end(self, process: CellProcess) -> None:
        with self._lock:
            self._all.discard(process)
        process.kill()

    def close(self) -> None:
        """End all; what is asked of them is lost, and not begun again."""
        self._is_open = False
        with self._lock:
            ending, self._all, self._idle = [*self._all], set(), []
        for process in ending:
            process.kill()


PROCESSES = ProcessPool()
"""Those of this process, which a worker of any engine has for all that it is asked."""

atexit.register(PROCESSES.close)


def close_processes() -> None:
    """End those of this worker, until it is asked again."""
    PROCESSES.close()
    PROCESSES.open()
