"""Python in what a user types: it is read, and never run."""

from __future__ import annotations

import ast
import warnings

UNREADABLE = (ValueError, TypeError, SyntaxError, RecursionError, MemoryError)
"""What Python raises at a text that it cannot read, or that is no literal."""


def parse_expression(text: str) -> ast.expr:
    """The tree of one expression; Python's warnings of its spelling, as of 'C:\\data', go to nobody.

    Raises:
        UNREADABLE: it is none.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(text.lstrip(" \t"), mode="eval").body
