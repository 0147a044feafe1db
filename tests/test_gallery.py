"""The gallery is what its command makes: pages follow from saved profiles, and those from the models."""

import runpy
from dataclasses import replace
from pathlib import Path

import pytest

import archprof

REPORTS = Path(__file__).parents[1] / "reports"
MAKE = runpy.run_path(str(REPORTS / "make.py"))


@pytest.mark.parametrize("name", MAKE["PAGES"])
def test_a_page_is_what_the_command_makes(name: str) -> None:
    assert MAKE["page"](name) == (REPORTS / f"{name}.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", MAKE["PROFILES"])
def test_a_saved_profile_is_what_a_trace_gives(name: str) -> None:
    model, shape = MAKE["PROFILES"][name]
    saved = archprof.load(REPORTS / f"{name}.json")
    assert replace(archprof.profile(model, shape), ran=saved.ran) == saved


@pytest.mark.parametrize("name", MAKE["DRAWINGS"])
def test_a_drawing_is_what_the_command_makes(name: str) -> None:
    pytest.importorskip("transformers", minversion="5.24")
    assert MAKE["drawing"](name) == (REPORTS / f"{name}.svg").read_text(encoding="utf-8")


def test_the_gallery_is_small_and_whole() -> None:
    files = [path for path in REPORTS.iterdir() if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 3 * 2**20
    pages = {path.stem for path in files if path.suffix == ".html"}
    assert pages == set(MAKE["PAGES"])
