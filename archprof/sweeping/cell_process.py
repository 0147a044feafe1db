"""A process that runs cells one after another, as it is asked on its standard input, a line of JSON each.

What models print goes to the standard error: the answers have a pipe of their own. When whoever asks is gone, the
process ends, whatever it is at.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, TextIO

PATIENCE_SECONDS = 300.0
"""A process that nobody asks for so long gives its memory back."""


def main() -> None:
    """Answer until nobody asks."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    asked: SimpleQueue[dict[str, Any]] = SimpleQueue()
    threading.Thread(target=_listen, args=(sys.stdin, asked), daemon=True).start()
    from archprof.facts.swept import read_cell
    from archprof.sweeping.cell import run_cell
    from archprof.sweeping.versions import list_devices, read_versions

    _answer(answers, {"versions": read_versions(), "devices": list_devices()})
    while True:
        try:
            one = asked.get(timeout=PATIENCE_SECONDS)
        except Empty:
            os._exit(0)
        _enter(one["folder"])
        row = run_cell(read_cell(one["cell"]), one["key"], one["made_by"])
        _answer(answers, {"row": row.to_record()})


def _listen(lines: TextIO, asked: SimpleQueue[dict[str, Any]]) -> None:
    for line in lines:
        asked.put(json.loads(line))
    os._exit(0)


def _enter(folder: str) -> None:
    """Paths of models are those of whoever asks, where that folder is there."""
    if Path(folder).is_dir():
        os.chdir(folder)


def _answer(answers: TextIO, answer: dict[str, Any]) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()
