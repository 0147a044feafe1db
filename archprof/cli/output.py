"""How commands answer: a format, a terminal or a file, and errors told in words."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import typer

from archprof import files
from archprof.cli.boundary import error_boundary as error_boundary  # where commands look for it
from archprof.cli.boundary import write_message
from archprof.errors import ArchprofError, UsageError
from archprof.wording import spell_commands_in_json

if TYPE_CHECKING:
    from archprof.analysis.table import Table


JSON_START = "{\n"
"""Of every JSON that is written, and of no table: its title is one line."""


class Answer(Protocol):
    """What a library function returns that answers with several tables."""

    def table(self) -> Table: ...
    def tables(self) -> tuple[Table, ...]: ...
    def to_json(self) -> str: ...


TABLE_SUFFIXES = {".txt": "text", ".csv": "csv", ".md": "md", ".json": "json", ".tex": "latex"}
"""Every format that a table is written in, by the suffix of its files."""

TABLE_FORMATS = (*TABLE_SUFFIXES.values(),)

PAGE_SUFFIXES = {**TABLE_SUFFIXES, ".html": "html"}
"""For commands whose answer can be a page too."""


def choose_format(
    format: str | None,
    output: Path | None,
    suffixes: Mapping[str, str] = TABLE_SUFFIXES,
    formats: Iterable[str] | None = None,
) -> str:
    """The format that was asked for in words, or by the suffix of the output file, which must be writable.

    `formats`: where some have no suffix of their own.
    """
    formats = formats or suffixes.values()
    allowed = f"Formats: {', '.join(formats)}. Suffixes: {', '.join(suffixes)}."
    if format is not None and format not in formats:
        raise UsageError(f"There is no format {format!r} here.", allowed)
    if output is None:
        return format or "text"
    files.check_writable(output)
    if format is None and output.suffix not in suffixes:
        raise UsageError(f"The suffix of {output} names no format.", allowed, "Name one with --format.")
    return format or suffixes[output.suffix]


def write_table(table: Table, form: str, output: Path | None) -> None:
    """Print a table, in the width and colours of the terminal if there is one, or write it to a file."""
    write_text(render_table(table, form, output), output)


def render_table(table: Table, form: str, output: Path | None) -> str:
    """The table in a format of `TABLE_FORMATS`; text that is printed is laid out for the terminal."""
    if form == "text":
        return table.to_text() if output else render_for_terminal(table)
    from archprof.render.formats import table_as

    return table_as(form, table)


def write_answer(answer: Answer, form: str, output: Path | None) -> None:
    """Write an answer of several tables: all of them as text, the whole as JSON, and the first in any other format."""
    if form == "json":
        write_text(answer.to_json(), output)
    elif form == "text":
        shown = render_for_terminal if output is None else lambda table: table.to_text()
        write_text("\n".join(map(shown, answer.tables())), output)
    else:
        write_table(answer.table(), form, output)


def write_text(text: str, output: Path | None) -> None:
    """Print `text`, or write it to a file and say so."""
    try:
        if output is None:
            sys.stdout.write(spell_commands_in_json(text) if text.startswith(JSON_START) else text)
            sys.stdout.flush()
        else:
            files.write_whole(output, text)
            write_message(f"Wrote {output}\n")
    except BrokenPipeError:  # the reader (head, a pager) has seen enough
        raise typer.Exit from None
    except OSError as error:
        raise ArchprofError(f"{output or 'The output'} cannot be written: {error.strerror}.") from error


def render_for_terminal(table: Table) -> str:
    """Text as wide as the terminal and in its colours; plain in a pipe."""
    from archprof.render.text import render_text

    unicode = "utf" in (sys.stdout.encoding or "").lower()
    return render_text(table, width=terminal_width(), color=wants_colour(), unicode=unicode)


def wants_colour() -> bool:
    """Whether the output is a terminal that shows colours, and its user wants them."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def terminal_width() -> int | None:
    """Columns of the terminal, or of `COLUMNS`; `None` in a pipe: as wide as it needs to be."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() or os.environ.get("COLUMNS") else None
