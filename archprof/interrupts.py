"""Ctrl-C ends the command in words from its first moment on, also inside an import; SIGTERM leaves no half file.

An exception that is raised while torch is imported is lost in it, or shown by whoever was being imported. There is
nothing to put back then, so the process ends at once. From then on Ctrl-C is Python's own, which measuring catches to
keep what it has.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

INTERRUPTED = 130
"""The exit code, as a shell gives it for SIGINT."""

IMPORTING = "<frozen importlib._bootstrap>"
"""The file of the frames that import something."""

OF_USERS = ("python_file.py", "git_revision.py")
"""Where a user's own file is run: it may have something to put back."""


class _State:
    is_started = False


def is_command() -> bool:
    """This process is the `archprof` command, and no program that uses the library."""
    words = [*sys.orig_argv[1:3], ""]
    return words[:2] == ["-m", "archprof"] or os.path.basename(words[0]) in ("archprof", "archprof.exe")


def watch_command() -> None:
    """Take Ctrl-C over, if this process is the command."""
    if is_command():
        watch()


def watch() -> None:
    """Take Ctrl-C over."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not where it is ignored, as under nohup
        signal.signal(signal.SIGINT, _interrupt)
        sys.unraisablehook = _raise_again


def set_started(is_started: bool) -> None:
    """Whether the command is at its work, which can be interrupted, and may want to put something back."""
    _State.is_started = is_started


@contextmanager
def remove_if_terminated(name: str) -> Iterator[None]:
    """While a file is being written SIGTERM takes it away, and ends the process as it does by itself.

    Only then, for a process at work in C answers no handler of Python's.
    """
    is_ours = threading.current_thread() is threading.main_thread()
    if not is_ours or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return

    def end(number: int, frame: FrameType | None) -> None:
        with suppress(OSError):
            os.unlink(name)
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)

    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _interrupt(number: int, frame: FrameType | None) -> None:
    if _State.is_started and not _is_importing(frame):
        raise KeyboardInterrupt
    with suppress(OSError):
        blanks = " " * (os.get_terminal_size(2).columns - 1) if os.isatty(2) else ""  # over a sign of life
        os.write(2, f"\r{blanks}\rarchprof: interrupted.\n".encode() if blanks else b"archprof: interrupted.\n")
    os._exit(INTERRUPTED)


def _is_importing(frame: FrameType | None) -> bool:
    found = False
    while frame is not None:
        name = frame.f_code.co_filename
        if name.endswith(OF_USERS):
            return False
        found = found or name == IMPORTING
        frame = frame.f_back
    return found


def _raise_again(lost: Any) -> None:
    """Ctrl-C in a callback, which nobody can catch there, comes again outside it."""
    if isinstance(lost.exc_value, KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    else:
        sys.__unraisablehook__(lost)


watch_command()  # the package imports this first, and all else takes a moment
