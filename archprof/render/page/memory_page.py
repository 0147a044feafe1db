"""What fills memory, as a file of its own: the picture alone, or a page with the picture and its tables."""

from __future__ import annotations

from archprof.analysis.memory import MemoryAnswer
from archprof.analysis.report.memory_areas import MemoryAreas, build_memory_areas
from archprof.errors import ArchprofError
from archprof.facts.records import Profile
from archprof.render.page import svg
from archprof.render.page.assets import read_asset
from archprof.render.page.html_table import render_html_table
from archprof.render.page.markup import coord, escape_text, tag, to_xml
from archprof.render.page.memory_svg import (
    TITLE,
    colour_of,
    describe_areas,
    draw_inside,
    explain_area,
    render_memory_figure,
)
from archprof.render.page.run_page import fill_page
from archprof.render.page.text_width import fit_text

PAD, HEAD_HEIGHT, LINE_HEIGHT = 16.0, 30.0, 18.0
TITLE_SIZE = 15


def draw_memory_alone(profile: Profile) -> str:
    """The picture as an SVG file: with its title, its key, its own colours and a ground.

    Raises:
        ArchprofError: fewer than two ops ran.
    """
    areas = build_memory_areas(profile)
    if areas is None:
        raise ArchprofError(f"{profile.model} ran fewer than two ops: there is no way of memory to draw.")
    height = HEAD_HEIGHT + svg.CHART_HEIGHT + LINE_HEIGHT * len(areas.names)
    words = fit_text(f"{profile.model}: {TITLE[0].lower()}{TITLE[1:]}", svg.CHART_WIDTH, TITLE_SIZE, bold=True)
    inner = tag("text", escape_text(words), x=0, y=15, class_="head")
    inner += tag("g", draw_inside(areas), transform=f"translate(0 {coord(HEAD_HEIGHT)})") + _draw_key(areas)
    width, height = svg.CHART_WIDTH + 2 * PAD, height + 2 * PAD
    style = tag("style", read_asset("page.css").partition("*{")[0] + read_asset("memory_alone.css"))
    said = tag("title", escape_text(describe_areas(areas)))
    ground = tag("rect", width=width, height=height, class_="paper")
    moved = tag("g", inner, transform=f"translate({coord(PAD)} {coord(PAD)})")
    drawing = tag(
        "svg", said + style + ground + moved, xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {coord(width)} {coord(height)}", width=width, height=height, role="img", class_="chart",
    )  # fmt: skip
    return to_xml(drawing)


def _draw_key(areas: MemoryAreas) -> str:
    """One line per category under the picture, in the order of the areas from the top down."""
    lines = []
    for place, index in enumerate(reversed(range(len(areas.names)))):
        y = HEAD_HEIGHT + svg.CHART_HEIGHT + LINE_HEIGHT * place
        square = tag("rect", x=svg.LEFT_MARGIN, y=y, width=10, height=10, class_=colour_of(index))
        lines.append(square + tag("text", explain_area(areas, index), x=svg.LEFT_MARGIN + 16, y=y + 9))
    return "".join(lines)


def render_memory_page(answer: MemoryAnswer) -> str:
    """The page: the picture, and every table that the command prints. It needs no script."""
    first, *others = answer.tables()
    figure = render_memory_figure(answer.profile, "fig-memory")
    picture = tag("section", figure, id="over-a-step") if figure else ""
    tables = "".join(
        tag("section", render_html_table(table, f"t{place}"), id=f"table-{place}")
        for place, table in enumerate(others, 1)
    )
    asked = f"batch {answer.profile.batch}, {answer.profile.mode} pass in {answer.profile.dtype}"
    return fill_page(first.title, "memory", asked, render_html_table(first, "t0"), picture + tables)
