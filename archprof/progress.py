"""A sign of life on the terminal while something takes longer than a moment."""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout

PATIENCE = 1.0
"""Seconds after which the wait is worth a word."""

PERIOD = 0.25
"""Seconds between two words."""


@contextmanager
def working(what: str) -> Iterator[None]:
    """Show `what` and the seconds so far on stderr, if that is a terminal; gone without a trace at the end.

    What a model prints meanwhile goes to stderr: stdout is for the answer.
    """
    with redirect_stdout(sys.stderr), _shown(what) if sys.stderr.isatty() else nullcontext():
        yield


@contextmanager
def _shown(what: str) -> Iterator[None]:
    done = threading.Event()
    clock = threading.Thread(target=_tell, args=(what, done), daemon=True)
    clock.start()
    try:
        yield
    finally:
        done.set()
        clock.join()


def _tell(what: str, done: threading.Event) -> None:
    """Write the line over and over, and blanks over it at the end: every terminal knows a carriage return."""
    start, shown = time.monotonic(), 0
    wait = PATIENCE
    while not done.wait(wait):
        line = f"{what} ... {time.monotonic() - start:.0f} s"[: shutil.get_terminal_size().columns - len("^C ")]
        _write(line)
        shown, wait = max(shown, len(line)), PERIOD
    if shown:
        _write(" " * (shown + len("^C")))  # which is what a terminal shows of Ctrl-C
        _write("")


def _write(line: str) -> None:
    sys.stderr.write(f"\r{line}")
    sys.stderr.flush()
