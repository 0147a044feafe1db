"""Where in the user's own code an error arose."""

from __future__ import annotations

import traceback
from pathlib import Path

import torch

OTHER_CODE = (str(Path(torch.__file__).parent), str(Path(__file__).parents[1]), "<")
"""How the paths of files start that are torch's, archprof's or none."""


def find_own_line(error: BaseException) -> str | None:
    """The last line of code that is neither torch's nor archprof's: "net.py, line 12"."""
    frames = traceback.walk_tb(error.__traceback__)
    own = [(frame.f_code.co_filename, line) for frame, line in frames]
    own = [(file, line) for file, line in own if not file.startswith(OTHER_CODE)]
    return f"{Path(own[-1][0]).name}, line {own[-1][1]}" if own else None
