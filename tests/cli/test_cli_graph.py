"""`archprof graph`: a drawing by the suffix of the file, else a table in any format."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

import archprof


def test_a_drawing_and_a_table(command: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert command("graph", "resnet18", "-o", "x.svg").exit_code == 0
    text = Path("x.svg").read_text("utf-8")
    assert ElementTree.fromstring(text).tag.endswith("svg")
    assert text == archprof.graph("resnet18").to_svg()
    rows = list(csv.DictReader(io.StringIO(command("graph", "resnet18", "--format", "csv").stdout)))
    assert [row["block"] for row in rows][:2] == ["conv1", "layer1.0–1"]
    assert sum(int(row["macs"]) for row in rows) == archprof.profile("resnet18").totals.macs


def test_depth(command: Callable) -> None:
    shown = command("graph", "resnet18", "--depth", "1").stdout
    assert "layer1 " in shown
    assert "layer1.0" not in shown.split("Live bytes")[0]
    refused = command("graph", "resnet18", "--depth", "0")
    assert refused.exit_code == 2
    assert "Allowed: 1 and more." in refused.stderr


def test_a_saved_profile_is_drawn_without_torch(tmp_path: Path) -> None:
    archprof.profile("lenet5").save(tmp_path / "lenet5.json")
    script = (
        "import sys, archprof\n"
        f"drawing = archprof.load({str(tmp_path / 'lenet5.json')!r}).graph().to_svg()\n"
        "assert '</svg>' in drawing\n"
        "assert not {'torch', 'plotly'} & set(sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_tables_import_nothing_of_it() -> None:
    script = (
        "import sys, archprof\n"
        "str(archprof.profile('lenet5').table())\n"
        "assert not [name for name in sys.modules if 'network' in name and name.startswith('archprof')]\n"
        "assert 'archprof.render.page.strip_svg' not in sys.modules\n"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
