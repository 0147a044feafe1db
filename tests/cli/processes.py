"""How these tests start the command as a process."""

from __future__ import annotations

import os
import sys
from pathlib import Path

ARCHPROF = [sys.executable, "-m", "archprof"]

SETTINGS = ("COLUMNS", "NO_COLOR", "TERM", "PYTHONIOENCODING")


def environment(first: Path | None = None, **changes: str) -> dict[str, str]:
    """The environment, without what would change the output here; `first` stands first where modules are looked for."""
    kept = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    places = [str(first)] * (first is not None) + [kept.get("PYTHONPATH", "")]
    return kept | {"PYTHONPATH": os.pathsep.join(filter(None, places))} | changes
