"""What a docstring or comment names in backticks is there: a constant that was renamed has its new name there too."""

from __future__ import annotations

import re
from pathlib import Path

import archprof

PACKAGE = Path(archprof.__file__).parent
SOURCES = {str(path.relative_to(PACKAGE)): path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py")}

OF_OTHERS = {"MODEL", "COLUMNS", "GITHUB_STEP_SUMMARY"}
"""What the command line and the environment call so."""


def find_named_constants(source: str) -> set[str]:
    """Names in capitals that stand alone between backticks."""
    return set(re.findall(r"(?<!`)`([A-Z][A-Z0-9_]*[A-Z])`(?!`)", source))


def find_defined_names(source: str) -> set[str]:
    """Names that are assigned to, as a variable, attribute or member of an enumeration."""
    found = re.findall(r"^\s*(\w+(?:, \w+)*)(?:: [^=]+)? = ", source, re.MULTILINE)
    return {name for names in found for name in names.split(", ")}


def test_constants_in_backticks_are_there() -> None:
    defined = set[str]().union(*map(find_defined_names, SOURCES.values())) | OF_OTHERS
    assert {file: lost for file, source in SOURCES.items() if (lost := find_named_constants(source) - defined)} == {}


def test_a_name_that_is_gone_is_seen() -> None:
    assert find_named_constants('"""See `SETTINGS` and `Mixed`."""') == {"SETTINGS"}
    assert find_defined_names("    LENGTH_SETTINGS: dict[str, int] = {}") == {"LENGTH_SETTINGS"}
