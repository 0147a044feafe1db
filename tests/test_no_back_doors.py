"""What linters do not see: calls by dotted string, and code that reads back text that was made for people."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import archprof

PACKAGE = Path(archprof.__file__).parent
SOURCES = {str(path.relative_to(PACKAGE)): path for path in sorted(PACKAGE.rglob("*.py"))}

USER_NAMES = {"sources/python_file.py", "torchside/private.py"}
"""Imports what the user names, and parts of torch that may be gone."""

DOTTED = re.compile(r"(archprof\.[\w.]+|\w+(\.\w+)+):[A-Za-z_]\w*")
"""The form of "pkg.mod:name"."""

TEXT_FOR_PEOPLE = {"note", "notes", "label", "labels", "title", "sentence", "sentences", "header", "environment"}
"""What holds words for a reader. Their order and number may be asked, but not what they say."""

READING_METHODS = {
    "startswith", "endswith", "partition", "rpartition", "split", "rsplit", "removeprefix", "removesuffix", "find",
    "index", "search", "match", "fullmatch", "get",
}  # fmt: skip


def calls_by_string(tree: ast.AST) -> Iterator[int]:
    """The lines that import by a name in a string, or hold a name of the form "pkg.mod:name"."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _last_name(node.func) in ("import_module", "__import__"):
            yield node.lineno
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and DOTTED.fullmatch(node.value):
            yield node.lineno


def readings_of_text(tree: ast.AST) -> Iterator[int]:
    """The lines that look into text which was made for people."""
    return (node.lineno for node in ast.walk(tree) if _looks_into_text(node))  # type: ignore[attr-defined]


def _looks_into_text(node: ast.AST) -> bool:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return node.func.attr in READING_METHODS and any(map(_is_text, [node.func.value, *node.args]))
    if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.In | ast.NotIn | ast.Eq | ast.NotEq):
        sides = [_is_text(each) for each in (node.left, *node.comparators)]
        return any(sides) and not all(sides)  # a note among notes was said already
    return isinstance(node, ast.Subscript) and _last_name(node.value) == "environment"


def _is_text(node: ast.AST) -> bool:
    name = _last_name(node).lstrip("_").lower()
    return name in TEXT_FOR_PEOPLE or name.endswith("_note")


def _last_name(node: ast.AST) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def find(rule: object, source: str) -> list[int]:
    return sorted(set(rule(ast.parse(source))))  # type: ignore[operator]


@pytest.mark.parametrize("file", SOURCES)
def test_nothing_is_called_by_a_string(file: str) -> None:
    assert file in USER_NAMES or find(calls_by_string, SOURCES[file].read_text()) == []


@pytest.mark.parametrize("file", SOURCES)
def test_no_text_for_people_is_read_back(file: str) -> None:
    assert find(readings_of_text, SOURCES[file].read_text()) == []


@pytest.mark.parametrize(
    ("rule", "line"),
    [
        (calls_by_string, 'importlib.import_module("archprof.analysis.layers")'),
        (calls_by_string, '__import__("archprof.render")'),
        (calls_by_string, 'call("archprof.analysis.layers:table")'),
        (calls_by_string, 'call("capture.measure:run")'),
        (readings_of_text, 'profile.environment["device"] == "cpu"'),
        (readings_of_text, 'profile.environment.get("threads")'),
        (readings_of_text, '"TF32" in note'),
        (readings_of_text, "re.search('live', series.label)"),
        (readings_of_text, "row.label.startswith('(')"),
        (readings_of_text, "[x for x in notes if x.note == 'unstable']"),
    ],
)
def test_the_rules_see_what_they_are_for(rule: object, line: str) -> None:
    assert find(rule, line) == [1]


@pytest.mark.parametrize(
    "line",
    [
        '"a sentence: with a colon"',
        "notes.append('x')",
        "SHARDED_NOTE not in notes",
        "Column(label=label)",
        "len(notes)",
    ],
)
def test_the_rules_let_pass_what_is_none(line: str) -> None:
    assert find(calls_by_string, line) == find(readings_of_text, line) == []
