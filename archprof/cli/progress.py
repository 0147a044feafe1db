"""A sign of life on the terminal while something takes longer than a moment, or a bar with the time left."""

from __future__ import annotations

import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, redirect_stdout

from archprof.wording import make_visible

PATIENCE_SECONDS = 1.0
"""Seconds after which the wait is worth a word."""

REFRESH_SECONDS = 0.25
"""Seconds between two words."""

PROGRESS_CELLS = 20
"""Cells of a full bar."""


@contextmanager
def show_waiting(what: str) -> Iterator[None]:
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
    if hasattr(signal, "pthread_sigmask"):  # Ctrl-C has to end what the main thread waits for, and not this wait
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    start, shown = time.monotonic(), 0
    wait = PATIENCE_SECONDS
    while not done.wait(wait):
        line = _fit_line(what, f" ... {time.monotonic() - start:.0f} s")
        _write(line)
        shown, wait = max(shown, len(line)), REFRESH_SECONDS
    if shown:
        _write(" " * (shown + len("^C")))  # which is what a terminal shows of Ctrl-C
        _write("")


@contextmanager
def show_progress(what: str) -> Iterator[Callable[[float, float], None]]:
    """A bar on stderr, if that is a terminal, for what can say how far it is; gone without a trace at the end.

    What is yielded is told the fraction done, from 0 to 1, and the seconds left. Until it is told for the first time
    the seconds so far are shown; from then on nothing runs beside the caller, for it would be measured too. What a
    model prints meanwhile goes to stderr.
    """
    with redirect_stdout(sys.stderr), ExitStack() as waiting:
        if not sys.stderr.isatty():
            yield lambda done, left: None
            return
        bar = _Bar(what)

        def tell(done: float, left: float) -> None:
            waiting.close()
            bar.tell(done, left)

        waiting.enter_context(_shown(what))
        try:
            yield tell
        finally:
            waiting.close()
            bar.clear()


class _Bar:
    def __init__(self, what: str) -> None:
        self.what, self.due, self.shown = what, time.monotonic() + PATIENCE_SECONDS, 0

    def tell(self, done: float, left: float) -> None:
        if time.monotonic() < self.due:
            return
        full = round(PROGRESS_CELLS * min(max(done, 0.0), 1.0))
        bar = "#" * full + "." * (PROGRESS_CELLS - full)
        line = _fit_line(self.what, f" [{bar}] {done:.0%}, {left:.0f} s left")
        _write(line.ljust(self.shown))
        self.due, self.shown = time.monotonic() + REFRESH_SECONDS, len(line)

    def clear(self) -> None:
        if self.shown:
            _write(" " * (self.shown + len("^C")))
            _write("")


def _fit_line(what: str, how_far: str) -> str:
    """Both in one line of the terminal: what changes stays, and the words before it are cut."""
    room = shutil.get_terminal_size().columns - len("^C ")
    return f"{what[: max(0, room - len(how_far))]}{how_far}"[:room]


def _write(line: str) -> None:
    sys.stderr.write(f"\r{make_visible(line)}")
    sys.stderr.flush()
