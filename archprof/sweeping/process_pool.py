"""The processes for cells that a worker has started: those that wait, and all."""

from __future__ import annotations

import atexit
import threading

from archprof.errors import ArchprofError
from archprof.sweeping.process import CellProcess


class ProcessPool:
    """Processes that are started when they are needed, and kept.

    One that ran the code of a user, who may have changed torch itself, is kept for that code alone.
    """

    def __init__(self) -> None:
        self._idle: list[tuple[CellProcess, str]] = []
        self._all: set[CellProcess] = set()
        self._lock = threading.Lock()
        self._is_open = True

    def open(self) -> None:
        """From now on there may be processes, also after `close`."""
        self._is_open = True

    def take(self, code: str = "") -> CellProcess:
        """One that waits and ran no code but this, or a new one in the place of one that did; "": nobody's code."""
        with self._lock:
            fitting = [at for at, (_, ran) in enumerate(self._idle) if ran in ("", code)]
            process, _ = self._idle.pop(fitting[-1] if fitting else -1) if self._idle else (None, "")
        if process is not None and fitting and process.is_alive():
            return process
        if process is not None:
            self.end(process)
        return self.start()

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

    def give_back(self, process: CellProcess, code: str = "") -> None:
        """It waits from now on; `code`: that it ran last."""
        with self._lock:
            self._idle.append((process, code))

    def end(self, process: CellProcess) -> None:
        with self._lock:
            self._all.discard(process)
        process.kill()

    def close(self) -> None:
        """End all; what is asked of them is lost, and not begun again."""
        self._is_open = False
        with self._lock:
            ending = [*self._all]
            self._all.clear()
            self._idle.clear()
        for process in ending:
            process.kill()


PROCESSES = ProcessPool()
"""Those of this process, which a worker of any engine has for all that it is asked."""

atexit.register(PROCESSES.close)


def close_processes() -> None:
    """End those of this worker, until it is asked again."""
    PROCESSES.close()
    PROCESSES.open()
