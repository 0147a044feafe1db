"""How large the package is: `python tests/sizes.py` prints its files and functions, and says which are too long.

A reader takes in a file of about a hundred lines at once, and a function of about ten.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from statistics import median, quantiles

PACKAGE = Path(__file__).parents[1] / "archprof"

LONGEST_FILE = 350
"""Lines; no file of the package may have more."""

LONGEST_FUNCTION = 60


def measure_files() -> dict[str, int]:
    """Lines of each Python file of the package, by its path in it."""
    return {
        str(path.relative_to(PACKAGE)): len(path.read_text(encoding="utf-8").splitlines())
        for path in sorted(PACKAGE.rglob("*.py"))
    }


def measure_functions() -> dict[str, int]:
    """Lines of each function and method, by file, line and name."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                name = f"{path.relative_to(PACKAGE)}:{node.lineno} {node.name}"
                found[name] = (node.end_lineno or node.lineno) - node.lineno + 1
    return found


def body_lengths(lengths: dict[str, int]) -> str:
    """ "median 5, 90 % at most 15, longest 59 (cli/table.py:20 table)"."""
    longest = max(lengths, key=lengths.__getitem__)
    tenth = quantiles(lengths.values(), n=10)[-1]
    return f"median {median(lengths.values()):.0f}, 90 % at most {tenth:.0f}, longest {lengths[longest]} ({longest})"


def main() -> int:
    files, functions = measure_files(), measure_functions()
    filled = {name: lines for name, lines in files.items() if lines}
    print(f"{len(files)} files, {sum(files.values()):,} lines: {body_lengths(filled)}")
    print(f"{len(functions)} functions: {body_lengths(functions)}")
    long = {name: lines for name, lines in files.items() if lines > LONGEST_FILE}
    long |= {name: lines for name, lines in functions.items() if lines > LONGEST_FUNCTION}
    for name, lines in long.items():
        print(f"Too long: {name}, {lines} lines")
    return bool(long)


if __name__ == "__main__":
    sys.exit(main())
