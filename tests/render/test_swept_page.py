"""The page of a sweep as text: every row, the front worked by hand, nothing that a name could do to it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

import archprof
from archprof.analysis.report.swept_scatter import build_swept_scatter, find_swept_front
from archprof.cli import app
from archprof.errors import ArchprofError
from archprof.facts.swept import Cell, SweptRow, fail_row, start_row
from archprof.facts.swept_files import write_swept
from archprof.render.page.swept_page import render_swept, render_swept_page

POINTS = {"a": (1, 9.0), "b": (2, 5.0), "c": (3, 7.0), "d": (4, 2.0), "e": (1, 9.5), "f": (8, 2.0)}
"""MACs in G, and error: a, b and d are beaten by none."""


def row(name: str, macs: int | None, error: float | None = None, **more: object) -> SweptRow:
    made = replace(start_row(Cell(name, dtype="float32"), name, {}), status="ok", complete=True, params=10)
    return replace(made, macs=macs and macs * 10**9, top5_error=error, **more)


def rows() -> list[SweptRow]:
    return [row(name, *point) for name, point in POINTS.items()]


def names_of_front(some: list[SweptRow]) -> list[str]:
    scatter = build_swept_scatter(some)
    assert scatter is not None
    return [some[i].model for i in find_swept_front(some, range(len(some)), scatter.across, scatter.upwards)]


def test_the_front_by_hand() -> None:
    assert names_of_front(rows()) == ["a", "b", "d"]


def test_a_lower_bound_is_on_no_front() -> None:
    some = [replace(one, complete=one.model != "b") for one in rows()]
    assert names_of_front(some) == ["a", "c", "d"]


def test_settings_are_what_varies() -> None:
    some = [*rows(), *(replace(one, batch=8, key=f"{one.key}8", macs=one.macs * 8) for one in rows())]
    scatter = build_swept_scatter(some)
    assert scatter is not None
    assert scatter.settings == ("batch 1", "batch 8")
    assert scatter.setting_of == (0,) * 6 + (1,) * 6
    assert (scatter.across.key, scatter.upwards.key) == ("macs", "top5_error")


def test_without_errors_parameters_stand_upwards() -> None:
    scatter = build_swept_scatter([row("a", 1), row("b", 2)])
    assert scatter is not None
    assert scatter.upwards.key == "params"
    assert build_swept_scatter([row("a", 1, params=None), row("b", 2, params=None)]) is None


def test_the_page_holds_every_row_and_the_first_picture(tmp_path: Path) -> None:
    some = [*rows(), fail_row(row("slow", None), "time limit", "It took more than 3 s.")]
    page = render_swept_page(some, "Runs")
    assert re.findall(r"<tr id=runs-\d+><th>(\w+)", page) == [one.model for one in some]
    assert "It took more than 3 s." in page
    drawn = re.search(r'd="([^"]+)"[^>]*class="c0 dots"', page)
    assert drawn is not None
    assert drawn[1].count("h0") == len(POINTS)
    assert re.findall(r"<a href=#runs-\d+>(\w+)</a>", page) == ["a", "b", "d"]
    assert not re.search(r"(src|href)=.?https?:", page)
    assert render_swept_page(some, "Runs") == page


def test_places_by_hand() -> None:
    """MACs from 1 to 8 G on a plain axis with a twentieth of room on each side: 2 G stand at (1 + 0.35) / 7.7."""
    page = render_swept_page(rows(), "Runs")
    drawn = re.search(r'd="([^"]+)"[^>]*class="c0 dots"', page)
    assert drawn is not None
    across = [float(x) for x in re.findall(r"M([\d.]+) ", drawn[1])]
    assert across[1] == pytest.approx(68 + (700 - 68) * 1.35 / 7.7, abs=0.06)


def test_names_do_nothing_to_the_page() -> None:
    name = '</script><script>alert(1)</script>,"x" \x1b[31m'
    some = [replace(one, model=name, why=name, note=name, source=name, inputs=name) for one in rows()]
    page = render_swept_page(some, name, command=name)
    assert "<script>alert" not in page
    assert page.count("<script") == 2
    assert "\x1b" not in page


def test_nothing_but_failures_is_a_page() -> None:
    page = render_swept_page([fail_row(row("x", None), "error", "No.")], "Runs")
    assert "class=sheet" in page
    assert "<figure" not in page


def test_many_rows_stay_a_page_that_opens() -> None:
    """4,113 rows, as of timm at three settings, in less than 3 MB."""
    many = [
        row(f"timm:vit_base_patch16_{i}.augreg_in21k", 1 + i, live_bytes=i * 977, device_used_bytes=2**31 + i, flops=i,
            activation_bytes=i * 1013, allocated_bytes=i * 1009, predicted_seconds=i / 7777, device="NVIDIA T4",
            predicted_low=i / 8888, predicted_high=i / 6666, standing="unseen")
        for i in range(4113)
    ]  # fmt: skip
    assert len(render_swept_page(many, "Runs").encode()) < 3_000_000


def test_the_command_and_the_function_write_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_swept("runs.csv", rows())
    archprof.report("runs.csv", "a.html", title="Mine")
    assert "<title>Mine</title>" in Path("a.html").read_text()
    assert Path("a.html").read_text() == render_swept("runs.csv", "Mine")
    done = CliRunner().invoke(app, ["report", "runs.csv", "-o", "b.html"])
    assert done.exit_code == 0
    assert "<title>Sweep: runs.csv</title>" in Path("b.html").read_text()
    both = CliRunner().invoke(app, ["report", "runs.csv", "vgg16", "-o", "c.html"])
    assert both.exit_code == 2
    assert not Path("c.html").exists()


def test_a_file_without_rows_has_no_page(tmp_path: Path) -> None:
    write_swept(tmp_path / "none.csv", [])
    with pytest.raises(ArchprofError, match="holds no row"):
        render_swept(tmp_path / "none.csv")
    with pytest.raises(ArchprofError, match="cannot be read"):
        render_swept(tmp_path / "missing.csv")


def test_a_page_needs_no_torch(tmp_path: Path) -> None:
    import subprocess
    import sys

    write_swept(tmp_path / "runs.csv", rows())
    code = (
        "import sys; from archprof.render.page.swept_page import render_swept; "
        f"render_swept({str(tmp_path / 'runs.csv')!r}); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
