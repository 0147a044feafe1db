"""A process for cells, seen from the one that started it: asked, timed, ended."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from typing import Any

from archprof.errors import ArchprofError

START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv.pop()); "
    "from archprof.sweeping.cell_process import main; main()"
)
"""The process imports from where this one does, whatever its own start says."""

MOST_WORDS = 300


class Lost(Exception):
    """The process ended before it answered.

    Attributes:
        why: "signal SIGKILL", "exit code 3".
        signal: that ended it, or 0.
        where: which process it was.
    """

    def __init__(self, code: int, where: str) -> None:
        self.signal, self.where = max(-code, 0), where
        self.why = f"signal {_name_signal(-code)}" if code < 0 else f"exit code {code}"
        super().__init__(self.why)


class TimeLimit(Exception):
    """The process was ended, since it took too long."""

    def __init__(self, where: str) -> None:
        self.where = where
        super().__init__(where)


def _name_signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)


class CellProcess:
    """One process.

    Attributes:
        pid: its number.
        versions, devices: what it answers by, and where it can measure, from when it is warm.
    """

    def __init__(self) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  as long as the process
        self._process = subprocess.Popen(
            [sys.executable, "-c", START, json.dumps(sys.path)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors,
            text=True, encoding="utf-8", start_new_session=True,
        )  # fmt: skip  # Ctrl-C is for whoever asks
        self.pid: int = self._process.pid
        self.versions: Mapping[str, str] = {}
        self.devices: list[str] = []

    def wait_until_warm(self) -> None:
        """Wait until it has imported what it needs; `ArchprofError` where it cannot."""
        hello = self._read_answer()
        if hello is None:
            self.kill()
            raise ArchprofError(f"A process for a sweep cannot be started: {self._read_errors()}")
        self.versions, self.devices = hello["versions"], hello["devices"]

    def ask(self, asked: Mapping[str, Any], limit: float | None, where: str) -> dict[str, Any]:
        """What it answers.

        Raises:
            TimeLimit: it was ended, since so many seconds were over.
            Lost: it ended.
        """
        over = threading.Event()

        def end() -> None:
            over.set()
            self._process.kill()

        timer = threading.Timer(limit or 0, end)
        if limit is not None:
            timer.start()
        try:
            self._write(asked)
            answer = self._read_answer()
        finally:
            timer.cancel()
        if answer is not None:
            return answer
        code = self._process.wait()
        raise TimeLimit(where) if over.is_set() else Lost(code, where)

    def _write(self, asked: Mapping[str, Any]) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(asked) + "\n")
            self._process.stdin.flush()
        except OSError:  # it is gone, which reading says
            return

    def _read_answer(self) -> dict[str, Any] | None:
        """The next line; `None` where the process ended in the middle of it."""
        assert self._process.stdout is not None
        try:
            line = self._process.stdout.readline()
        except (OSError, ValueError):  # closed by whoever stops the sweep
            return None
        return dict(json.loads(line)) if line.endswith("\n") else None

    def _read_errors(self) -> str:
        """The last line that it said."""
        self._errors.seek(0)
        lines = self._errors.read().decode("utf-8", "replace").strip().splitlines() or ["it said nothing."]
        return lines[-1][:MOST_WORDS]

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        """End it, whatever it is at."""
        self._process.kill()
        self._process.wait()
