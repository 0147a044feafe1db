"""`archprof guide`: which topics there are, plain Markdown in a pipe, and the same text laid out on a terminal."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.cells import cell_len
from test_cli_terminal import ESCAPE, terminal

from archprof.render.terminal_markdown import render_markdown

PAGES = sorted((Path(__file__).parents[2] / "archprof" / "guide").glob("*.md"))

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


def test_every_topic_is_listed_with_its_line(command: Callable) -> None:
    shown = command("guide").stdout.splitlines()
    assert [line.split()[0] for line in shown[: len(PAGES)]] == [page.stem for page in PAGES]
    for page, line in zip(PAGES, shown[: len(PAGES)], strict=True):
        title, empty, about, after, *_ = page.read_text(encoding="utf-8").splitlines()
        assert title.startswith("# ")
        assert empty == after == ""
        assert line.split(maxsplit=1)[1] == about
    assert max(map(len, shown)) <= 80
    assert shown[len(PAGES) :] == ["", "archprof guide TOPIC shows one."]


@every_page
def test_a_pipe_gets_the_markdown_as_it_stands(page: Path, command: Callable) -> None:
    result = command("guide", page.stem, env={"COLUMNS": "60"})
    assert (result.exit_code, result.stdout) == (0, page.read_text(encoding="utf-8"))


def test_an_unknown_topic_is_answered_with_near_ones(command: Callable) -> None:
    result = command("guide", "measurement")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "no topic of the guide called 'measurement'.\nNear it: measuring" in result.stderr
    assert "archprof guide lists" in result.stderr


@every_page
def test_a_page_fits_80_columns_with_its_blocks_as_they_stand(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    shown = render_markdown(text, width=80, color=False)
    assert not ESCAPE.search(shown)
    assert max(map(cell_len, shown.splitlines())) <= 80
    for block in re.findall(r"^```\w+\n(.*?)\n*```$", text, re.MULTILINE | re.DOTALL):
        assert f"\n{block}\n" in shown


@every_page
def test_a_page_loses_no_word_on_a_terminal(page: Path) -> None:
    """Every word of the text between the blocks is shown, as often as it stands there."""
    text = re.sub(r"^```.*?^```$|<!--.*?-->", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    plain = re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", text)
    said = re.findall(r"[A-Za-z]{3,}", plain)
    shown = re.findall(r"[A-Za-z]{3,}", render_markdown(text, width=200, color=False))
    assert sorted(shown) == sorted(said)


def test_links_show_their_words_alone() -> None:
    shown = render_markdown("See [limits](limits.md), and [torch](https://pytorch.org).\n", width=80, color=False)
    assert shown == "See limits, and torch (https://pytorch.org).\n"


def test_a_terminal_of_80_columns() -> None:
    seen = terminal("guide", "how-it-counts", columns=80)
    assert seen.returncode == 0
    assert seen.text.startswith("\x1b[1")
    lines = ESCAPE.sub("", seen.text).splitlines()
    assert lines[0].strip() == "How it counts"
    assert max(map(cell_len, lines)) <= 80
    assert not any(line.startswith(("#", "|", "```")) for line in lines)


def test_a_wide_terminal_keeps_lines_that_can_be_read() -> None:
    lines = ESCAPE.sub("", terminal("guide", "naming", columns=200).text).splitlines()
    assert 80 < max(map(cell_len, lines)) <= 100


def test_no_colours_where_they_are_not_wanted() -> None:
    seen = terminal("guide", "limits", columns=80, NO_COLOR="1")
    assert "\x1b" not in seen.text
    assert "Where it cannot" in seen.text
