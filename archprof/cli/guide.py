"""`archprof guide`: the manual, a topic at a time."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from archprof.cli.help import Purpose, Question
from archprof.cli.output import error_boundary, terminal_width, wants_colour, write_text
from archprof.errors import UnknownName

PAGES = Path(__file__).parents[1] / "guide"
"""A Markdown file per topic: a title, one line that says what it is about, and the text."""

WIDEST = 100
"""Columns of text on a terminal that has more: longer lines read badly."""


def guide(
    topic: Annotated[str, typer.Argument(metavar="[TOPIC]", help="A topic; without one, all are listed.")] = "",
) -> None:
    """The manual: its topics, or the text of one; in a pipe it is plain Markdown."""
    with error_boundary(debug=False):
        write_text(read_topic(topic) if topic else _list_topics(), None)


def find_topics() -> dict[str, Path]:
    """The file of each topic, by name."""
    return {path.stem: path for path in sorted(PAGES.glob("*.md"))}


def _list_topics() -> str:
    """The topics, each with the line that its file says of itself."""
    widest = max(map(len, find_topics()))
    lines = [f"{name:<{widest}}  {_read_summary(path)}" for name, path in find_topics().items()]
    return "\n".join([*lines, "", "archprof guide TOPIC shows one."]) + "\n"


def _read_summary(path: Path) -> str:
    """The line under the title."""
    return path.read_text(encoding="utf-8").splitlines()[2]


def read_topic(topic: str) -> str:
    """The text of a topic: as it stands in a pipe, laid out on a terminal."""
    pages = find_topics()
    if topic not in pages:
        raise UnknownName("topic of the guide", topic, pages, "archprof guide lists what each is about.")
    text = pages[topic].read_text(encoding="utf-8")
    if not sys.stdout.isatty():
        return text
    from archprof.render.terminal_markdown import render_markdown

    return render_markdown(text, width=min(terminal_width() or WIDEST, WIDEST), color=wants_colour())


QUESTIONS = (Question(guide, Purpose.LOOK_UP, "archprof guide tables"),)
