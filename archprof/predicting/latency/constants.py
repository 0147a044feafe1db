"""The fitted constants, which `tests/prediction/fit_latency.py` writes to archprof/data/latency.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any


@cache
def load_constants() -> Mapping[str, Any]:
    """All of them, by name; see the guide's topic on latency for what each one is."""
    text = files("archprof.data").joinpath("latency.json").read_text(encoding="utf-8")
    found: Mapping[str, Any] = json.loads(text)
    return found
