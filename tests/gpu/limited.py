"""Commands with a limit of time each: their output goes to a file as it comes, and one that is late is stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]

LAST_SECONDS = 8.0
"""What a command that was interrupted may take to end, and to write what it has."""


class Ended(NamedTuple):
    """How a command ended; `late`: it was stopped at its limit."""

    command: tuple[str, ...]
    exit_code: int
    seconds: float
    late: bool
    log: Path

    @property
    def ok(self) -> bool:
        return self.exit_code == 0 and not self.late

    def describe(self) -> str:
        end = "late" if self.late else "ok" if self.ok else f"exit code {self.exit_code}"
        return f"{end:<13} {self.seconds:6.1f} s  {' '.join(self.command)}"


def run_limited(
    command: Sequence[str], seconds: float, log: Path, folder: Path, *, shown: Sequence[str] = (), echo: bool = False
) -> Ended:
    """Run a command in a folder.

    Args:
        seconds: after so many it gets what Ctrl-C sends, and is killed with all that it started if that does not help.
        log: gets its output and its messages, line by line.
        shown: what it is called afterwards; itself where nothing is given.
        echo: its lines are printed here, too.
    """
    place = os.pathsep.join(filter(None, [str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH")]))
    env = os.environ | {"PYTHONPATH": place, "PYTHONUNBUFFERED": "1"}
    start, late = time.perf_counter(), threading.Event()
    process = subprocess.Popen(
        command, cwd=folder, env=env, text=True, errors="backslashreplace", start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    watch = threading.Thread(target=_stop, args=(process, seconds, late), daemon=True)
    watch.start()
    assert process.stdout
    with log.open("w", encoding="utf-8") as file:
        for line in process.stdout:
            file.write(line)
            file.flush()
            if echo:
                say(f"  {line.rstrip()}")
    code = process.wait()
    watch.join()
    return Ended(tuple(shown or command), code, time.perf_counter() - start, late.is_set(), log)


def _stop(process: subprocess.Popen[str], seconds: float, late: threading.Event) -> None:
    for sign, wait in ((signal.SIGINT, seconds), (signal.SIGKILL, LAST_SECONDS)):
        if _ends_within(process, wait):
            return
        late.set()
        os.killpg(process.pid, sign)


def _ends_within(process: subprocess.Popen[str], seconds: float) -> bool:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def say(line: str) -> None:
    """Print a line at once, whoever else prints."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
