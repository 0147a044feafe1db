"""Markdown for the terminal: the text as wide as asked, blocks and tables as they stand, links by their words."""

from __future__ import annotations

import io
import re
from typing import ClassVar

from rich.console import Console, ConsoleOptions, RenderResult
from rich.markdown import CodeBlock, Heading, Markdown, MarkdownElement
from rich.text import Text
from rich.theme import Theme

LOCAL_LINK = re.compile(r"\[([^\]]+)\]\((?!https?:)[^)]*\)")
"""A link to another file of the repository, which a terminal cannot follow."""

STYLES = Theme(
    {
        "markdown.h1": "bold underline",
        "markdown.h2": "bold",
        "markdown.code": "cyan",
        "markdown.item.bullet": "dim",
        "markdown.table.header": "bold",
        "markdown.table.border": "dim",
    }
)


class _Heading(Heading):
    """A heading at the left margin."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self.text


class _Block(CodeBlock):
    """A block of code or output without frame or padding, so that 80 columns of output take 80 columns."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(str(self.text).rstrip("\n"), overflow="fold")


class _Page(Markdown):
    elements: ClassVar[dict[str, type[MarkdownElement]]] = {
        **Markdown.elements,
        "heading_open": _Heading,
        "fence": _Block,
        "code_block": _Block,
    }


def render_markdown(text: str, *, width: int, color: bool) -> str:
    """The Markdown `text` as it is shown in a terminal of `width` columns; it ends in one newline.

    Without `color` there are no ANSI codes at all, neither colours nor bold.
    """
    out = io.StringIO()
    console = Console(
        file=out,
        width=width,
        force_terminal=color,
        color_system="standard" if color else None,
        theme=STYLES,
        highlight=False,
    )
    console.print(_Page(LOCAL_LINK.sub(r"\1", text), hyperlinks=False))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()).strip("\n") + "\n"
