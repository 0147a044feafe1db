"""How text is said: a shape, so many of a thing, the first of many names; and so that it shows what it is.

No name may steer a terminal, give orders to the CI that reads a log, or be a formula of a spreadsheet.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

COMMAND_SIGNS = re.compile(r"^(\s*)::|##(?=\w*\[)")
"""How a line of a log becomes a command: `::error::` of GitHub at its start, `##[error]` and `##vso[...]` anywhere.

Source: https://docs.github.com/en/actions/reference/workflow-commands-for-github-actions
"""

FORMULA = re.compile(r"'*[=+\-@]")
"""How a cell begins that a spreadsheet computes, or that was kept from it.

Source: https://owasp.org/www-community/attacks/CSV_Injection
"""


def show_shape(shape: Iterable[int], empty: str = "a scalar") -> str:
    """ "1x3x224x224"."""
    return "x".join(map(str, shape)) or empty


def say_many(count: int, thing: str) -> str:
    """ "1 cell", "1,200 cells"."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def split_words(text: str) -> list[str]:
    """The words of "a, b,c"."""
    return [word.strip() for word in text.split(",")]


def name_few(names: Sequence[str], most: int = 3) -> str:
    """ "a, b, c and 4 more"."""
    return ", ".join(names[:most]) + (f" and {len(names) - most:,} more" if len(names) > most else "")


def make_visible(text: str) -> str:
    """The text in one line, with control and invisible characters and the signs of commands spelled out."""
    if not text.isprintable():
        text = "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)
    return COMMAND_SIGNS.sub(_spell_first_sign, text)


def make_lines_visible(text: str) -> str:
    """The same for a text of several lines, which stay apart."""
    return "\n".join(map(make_visible, text.split("\n")))


def spell_commands_in_json(text: str) -> str:
    """JSON of the same meaning in which no text is a command of a CI; of control signs it holds none by itself."""
    return COMMAND_SIGNS.sub(lambda found: "#\\u0023" if found[0] == "##" else found[0], text)


def guard_formula(text: str) -> str:
    """The text of a cell with an apostrophe before it where a spreadsheet would take it for a formula."""
    return f"'{text}" if FORMULA.match(text) else text


def read_guarded(text: str) -> str:
    """The text that `guard_formula` was given."""
    return text[1:] if text[:1] == "'" and FORMULA.match(text) else text


def _spell_first_sign(found: re.Match[str]) -> str:
    return "#\\x23" if found[0] == "##" else f"{found[1]}\\x3a:"
