"""Which grammar each option and argument that takes text has: `fuzz.grammars` reads it without a command around it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

from archprof.cli import QUESTIONS

GRAMMARS = {
    "model": "model", "models": "model", "baseline": "model", "input": "input", "arg": "arg", "settings": "set",
    "phase": "phase", "batch": "batch", "dtype": "dtypes", "amp": "amp", "causal": "causal", "measure": "measured on",
    "device": "devices", "by": "by", "columns": "columns", "sort": "sort", "convention": "convention",
    "format": "format", "output": "output", "optimizer": "optimizer", "checkpoint": "units", "mesh": "mesh",
    "units": "units", "param_dtype": "dtype", "schedule": "schedule", "link": "link", "network": "network",
    "data": "data", "date": "date", "where": "where", "recipe": "recipe", "pattern": "devices pattern",
    "topic": "topic", "tolerance": "tolerance", "max_params": "limit", "max_macs": "limit", "max_flops": "limit",
    "max_activation": "size limit", "max_peak": "size limit", "max_memory": "size limit", "max_latency": "time limit",
}  # fmt: skip
"""By the name of the parameter."""

WITHOUT = {
    "title": "any text is a title",
    "measured": "a path of a file, which attack/test_crafted_profiles damages",
    "plan": "a path of a file, which attack/test_crafted_files damages",
    "weights": "a path of a file",
    "engine": "one of a few words, or an address that is called: attack/test_every_option",
    "balance": "one of two words: attack/test_every_option",
    "over": "one of a few words: attack/test_every_option",
    "least": "one of two words: attack/test_every_option",
    "price": "a number and a word: attack/test_every_option",
}
"""Why an option has none."""


def list_text_options() -> Iterator[tuple[str, str]]:
    """Each command with each of its parameters that takes text or a path."""
    for question in QUESTIONS:
        for name, hint in get_type_hints(question.ask).items():
            if name != "return" and _takes_text(hint):
                yield question.ask.__name__, name


def _takes_text(hint: Any) -> bool:
    return hint in (str, Path) or any(map(_takes_text, get_args(hint)))
