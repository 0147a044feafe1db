"""The process behind the `archprof` command: the only place that changes how the interpreter runs and ends."""

from __future__ import annotations

import gc
import io
import os
import sys
from contextlib import suppress

from archprof import interrupts


def main() -> None:
    """Run one command and leave at once.

    The process lives for one command and holds nothing that needs an orderly end: the collector would only
    walk through torch's own objects (0.2 s), and so would the interpreter on its way out (0.3 s).
    """
    interrupts.watch()
    gc.disable()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # signs that the terminal's encoding lacks are spelled out
    code = _run()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
    os._exit(code)


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
