"""How commands answer: a format, a terminal or a file, and errors told in words."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import typer

from archprof import files
from archprof.errors import ArchprofError, UsageError

if TYPE_CHECKING:
    from archprof.analysis.table import Table


class Format(NamedTuple):
    """How a table is written: the suffix of its files, and its text."""

    suffix: str
    render: Callable[[Table], str]


def format_by_name(form: str) -> Callable[[Table], str]:
    """What writes a table in that format of `render.formats`, which is imported only when it is called."""

    def render(table: Table) -> str:
        from archprof.render.formats import table_as

        return table_as(form, table)

    return render


TABLE_FORMATS = {
    "text": Format(".txt", lambda table: table.to_text()),
    "csv": Format(".csv", format_by_name("csv")),
    "md": Format(".md", format_by_name("md")),
    "json": Format(".json", format_by_name("json")),
    "latex": Format(".tex", format_by_name("latex")),
}
"""Every format that a table is written in, by its name in `--format`."""

TABLE_SUFFIXES = {form.suffix: name for name, form in TABLE_FORMATS.items()}

PAGE_FORMATS = [*TABLE_FORMATS, "html"]
PAGE_SUFFIXES = {**TABLE_SUFFIXES, ".html": "html"}
"""For commands whose answer can be a page too."""


def choose_format(
    format: str | None,
    output: Path | None,
    formats: Iterable[str] = TABLE_FORMATS,
    suffixes: Mapping[str, str] = TABLE_SUFFIXES,
) -> str:
    """The format that was asked for in words, or by the suffix of the output file, which must be writable."""
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
    write_text(
        render_for_terminal(table) if form == "text" and output is None else TABLE_FORMATS[form].render(table), output
    )


def write_text(text: str, output: Path | None) -> None:
    """Print `text`, or write it to a file and say so."""
    try:
        if output is None:
            sys.stdout.write(text)
            sys.stdout.flush()
        else:
            files.write_whole(output, text)
            sys.stderr.write(f"Wrote {output}\n")
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


@contextmanager
def error_boundary(debug: bool) -> Iterator[None]:
    """Errors end the command with what was given, what is allowed and what to try, and with their exit code."""
    try:
        yield
    except ArchprofError as error:
        if debug:
            raise
        sys.stderr.write(f"archprof: {error}\n")
        raise typer.Exit(error.exit_code) from error
    except KeyboardInterrupt:
        sys.stderr.write("archprof: interrupted.\n")
        raise typer.Exit(130) from None
