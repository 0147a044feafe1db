"""The process behind the `archprof` command: the only place that changes how the interpreter runs and ends."""

from __future__ import annotations

import gc
import io
import os
import sys
import warnings
from contextlib import suppress
from typing import Any

from archprof import interrupts
from archprof.wording import make_lines_visible


def main() -> None:
    """Run one command and leave at once.

    The process lives for one command and holds nothing that needs an orderly end: the collector would only
    walk through torch's own objects (0.2 s), and so would the interpreter on its way out (0.3 s).
    """
    interrupts.watch()
    gc.disable()
    warnings.showwarning, sys.excepthook = _show_warning, _show_fault
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # signs that the terminal's encoding lacks are spelled out
    code = _run()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
    os._exit(code)


def _show_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, file: Any = None, line: Any = None
) -> None:
    _write_visibly(warnings.formatwarning(message, category, filename, lineno))


def _show_fault(*fault: Any) -> None:
    """The traceback of `--debug`, and of what no command foresaw."""
    import traceback

    _write_visibly("".join(traceback.format_exception(*fault)))


def _write_visibly(text: str) -> None:
    """What a user's own code says through Python is text like any other name."""
    with suppress(OSError):
        sys.stderr.write(make_lines_visible(text))


def _run() -> int:
    """Run the command; its exit code."""
    from archprof.cli import app

    try:
        app(prog_name="archprof")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


if __name__ == "__main__":
    main()
