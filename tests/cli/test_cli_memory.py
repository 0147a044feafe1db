"""`archprof memory -o FILE`: a drawing or a page by the suffix, and what is told of other suffixes."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

import archprof

SVG = "{http://www.w3.org/2000/svg}"


def test_a_drawing(command: Callable, tmp_path: Path) -> None:
    """It is XML with an area for each category, and a line in its key with the bytes at the peak."""
    path = tmp_path / "x.svg"
    assert (
        command("memory", "lenet5", "--batch", "64", "--train", "--optimizer", "adamw", "-o", str(path)).exit_code == 0
    )
    root = ElementTree.fromstring(path.read_text("utf-8"))
    answer = archprof.predict_memory("lenet5", batch=64, train=True, optimizer="adamw")
    assert path.read_text("utf-8") == answer.to_svg()
    lines = [one.text or "" for one in root.iter(f"{SVG}text")]
    key = [one for one in lines if one.endswith("at the peak")]
    assert len(key) == len([one for one in root.iter(f"{SVG}path") if one.get("class", "").endswith("bar")])
    assert [one.split(":")[0] for one in key][-2:] == ["inputs", "weights and buffers"]
    assert "optimizer state" in " ".join(key)
    sizes = [
        float(size) * {"KiB": 1, "MiB": 1024}[unit] for size, unit in re.findall(r": ([\d.]+) (\wiB)", " ".join(key))
    ]
    assert sum(sizes) == pytest.approx(answer.live_peak_bytes.value / 1024, rel=0.01)


def test_a_page(command: Callable, tmp_path: Path) -> None:
    path = tmp_path / "x.html"
    assert command("memory", "lenet5", "--train", "--advise", "-o", str(path)).exit_code == 0
    page = path.read_text("utf-8")
    assert "<script" not in page
    titles = (
        "Memory of lenet5",
        "Live bytes over the ops",
        "What fills it",
        "The layers behind it",
        "What would lower it",
    )
    places = [page.index(title) for title in titles]
    assert places == sorted(places)


@pytest.mark.parametrize("name", ["x.png", "x"])
def test_another_suffix_is_refused_before_anything_runs(command: Callable, tmp_path: Path, name: str) -> None:
    refused = command("memory", "no such model", "-o", str(tmp_path / name))
    assert refused.exit_code != 0
    assert "names no format" in refused.stderr
    assert ".html, .svg" in refused.stderr


def test_a_pass_of_one_op_has_no_drawing(command: Callable, tmp_path: Path) -> None:
    """And a page without one."""
    refused = command("memory", "relu", "--input", "4", "-o", str(tmp_path / "x.svg"))
    assert refused.exit_code == 1
    assert "fewer than two ops" in refused.stderr
    assert not (tmp_path / "x.svg").exists()
    assert command("memory", "relu", "--input", "4", "-o", str(tmp_path / "x.html")).exit_code == 0
    assert "<figure" not in (tmp_path / "x.html").read_text("utf-8")
