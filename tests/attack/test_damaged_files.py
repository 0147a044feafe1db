"""Plans, sweeps, runs, predictions and devices in damaged files: refused in words, or of use as whole ones."""

from __future__ import annotations

import csv
import io
import json
import tempfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from random import Random
from typing import Any

import pytest
from attack.mutations import ODD_VALUES, damage_bytes, damage_json, damage_text, list_places
from attack.test_crafted_profiles import CALIBRATION, use

import archprof
from archprof.analysis.report.page import build_report
from archprof.analysis.tables.run import tabulate_run
from archprof.analysis.tables.swept import tabulate_swept
from archprof.errors import ArchprofError, UsageError
from archprof.facts import store
from archprof.facts.records import Profile
from archprof.facts.swept import SweptRow
from archprof.facts.swept_files import import_pyarrow, read_swept, write_swept
from archprof.facts.trained import load_run
from archprof.predicting.runs import predict_on
from archprof.render.page.html import render_page
from archprof.render.page.run_page import render_run_page
from archprof.render.page.swept_page import render_swept_page
from archprof.sweeping.journal import HEAD, Outlet

PLAN = {
    "features.*": "replicate", "classifier.0": "colwise", "classifier.2": {"style": "rowwise", "output": "replicate"},
    "classifier.4": {"style": "colwise", "input": "shard(1)", "desired": "replicate", "output": "shard(-1)"},
}  # fmt: skip
TOML = """
"features.*" = "replicate"
"classifier.0" = "colwise"
"classifier.2" = {style = "rowwise", output = "replicate"}
["classifier.4"]
style = "colwise"
output = "shard(-1)"
"""
RUN = """{"data": "digits", "recipe": "lecture", "optimizer": "adam", "batch": 8, "seed": 0, "epochs": 1, "schema": 1,
"ran": {"archprof": "0.1.0", "device": "cpu", "dtype": "float32", "threads": 2}, "stopped": {"1.safetensors": "2"},
"notes": ["a note"], "models": [{"name": "net", "params": 12, "weights": "1.safetensors",
"epochs": {"columns": ["number", "loss", "accuracy", "held_out_loss", "held_out_accuracy", "seconds"],
"rows": [[0, null, null, 2.3, 0.1, 0.0], [1, 1.5, 0.5, 1.2, 0.6, 3.0]]},
"flows": [{"epoch": 0, "gradients": [["0.weight", 0.5, 2.0], ["1.weight", null, 2]], "spread": [["0", 0.4]]},
{"epoch": 1, "gradients": [["0.weight", 0.1, 2.0]], "spread": []}],
"filters": {"name": "0.weight", "before": [[[[0.0, 1.0], [0.5, 0.25]]]], "after": [[[[0.0, 1.0], [0.5, 0.75]]]]}}]}
"""


@cache
def trace() -> Profile:
    return archprof.profile("lenet5")


@cache
def saved() -> str:
    """Its name as a file of its own."""
    path = Path(tempfile.mkdtemp()) / "lenet5.json"
    trace().save(path)
    return str(path)


def show(table: Any) -> None:
    for answer in (table.to_text, table.to_csv, table.to_markdown, table.to_json, table.to_latex):
        answer()


def use_plan(path: Path) -> None:
    show(archprof.shard(saved(), mesh="tp=2", plan=str(path)).table())


def use_sweep(path: Path) -> None:
    rows = read_swept(path)
    show(tabulate_swept(rows))
    render_swept_page(rows, "x")
    write_swept(path, rows)
    assert read_swept(path) == rows


def use_journal(path: Path) -> None:
    """Each line is a row, or is said to be none."""
    with Outlet(path.with_suffix("")) as outlet:
        rows, damaged = [*outlet.rows.values()], outlet.damaged
    path.unlink()
    if damaged:
        raise ArchprofError(f"{damaged} lines are no rows")
    write_swept(path.with_suffix(""), rows)
    use_sweep(path.with_suffix(""))
    path.with_suffix("").unlink()


def use_run(path: Path) -> None:
    run = load_run(path.parent)
    show(tabulate_run(run))
    render_run_page(run)
    run.save(path.parent)
    assert load_run(path.parent).models == run.models


def use_profile(path: Path) -> None:
    loaded = store.load(path)
    use(loaded, trace())
    render_page(build_report([loaded]))


def use_device(path: Path) -> None:
    show(archprof.predict(saved(), device=str(path)).table())
    for ask in (archprof.predict_memory, partial(archprof.shard, mesh="dp=2")):
        with suppress(UsageError):  # how much memory it has is not in the file
            show(ask(saved(), device=str(path)).table())


def make_rows() -> list[SweptRow]:
    plain = SweptRow(
        "lenet5", 1, "float32", "forward", None, None, None, "NVIDIA T4", "cpu", False, False, 61706, 61706, 416520,
        852370, 58408, 288552, 8811008, 1753219072, 2e-4, 1e-4, 3e-4, "unseen", 1e-4, 1e-4, 2e-4, 68992, "A processor",
        7.5, "ok", True, None, None, 7.4, None, "local", "vm:1", 1, "0.1.0", "2.14.1", "archprof 0.1.0", "a",
    )  # fmt: skip
    other = replace(plain, batch=2, macs=833040, measured_seconds=2e-4, key="b", extra={"mine": "text"})
    failed = SweptRow("x", 2, None, "train", "sgd", "float16", "3x4", None, None, True, False, why="no", key="c")
    return [plain, other, failed]


Make = Callable[[Path, int], None]
"""Writes one damaged file, by the number of the damage."""


def make_json(value: Any) -> Make:
    text, places = json.dumps(value), list_places(value)

    def make(path: Path, seed: int) -> None:
        rng = Random(seed)
        damaged = damage_json(text, places, rng) if seed % 2 else damage_text(text, rng)
        path.write_bytes(damaged.encode("utf-8", "surrogatepass"))

    return make


def make_text(text: str) -> Make:
    def make(path: Path, seed: int) -> None:
        path.write_bytes(damage_text(text, Random(seed)).encode("utf-8", "surrogatepass"))

    return make


def make_cells(path: Path, seed: int) -> None:
    """A sweep in CSV of which a cell, a head or a row is another."""
    rng = Random(seed)
    write_swept(path, make_rows())
    table = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8"))))
    for _ in range(rng.randint(1, 3)):
        row = rng.choice(table)
        row[rng.randrange(len(row))] = str(rng.choice((*ODD_VALUES, "nan", "True", "1e400", "-0", "٣", "1_000", "0x1")))
    with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        csv.writer(file).writerows(table)


def make_columns(path: Path, seed: int) -> None:
    """A sweep in Parquet of which a column has other values, another type or another name."""
    rng = Random(seed)
    columns = {name: [row.to_record().get(name) for row in make_rows()] for name in make_rows()[0].to_record()}
    for _ in range(rng.randint(1, 3)):
        name, kind = rng.choice([*columns]), rng.choice((int, float, str, bytes, list, dict, bool))
        values = {
            int: [rng.choice((0, -1, 2**62)) for _ in range(3)], float: [rng.choice((0.0, 1e308, float("nan")))] * 3,
            str: [str(rng.choice(ODD_VALUES[:18])) for _ in range(3)], bytes: [b"\xff\0"] * 3, list: [[1], None, [2]],
            dict: [{"a": 1}] * 3, bool: [True, None, False],
        }[kind]  # fmt: skip
        if rng.random() < 0.2:
            columns[rng.choice(("", "\x1b[31m", "x", "key"))] = columns.pop(name)
        else:
            columns[name] = values
    pyarrow = import_pyarrow()
    pyarrow.parquet.write_table(pyarrow.table(columns), path)


def make_damaged_bytes(path: Path, seed: int) -> None:
    whole = path.with_name(f"whole{path.suffix}")
    if not whole.exists():
        write_swept(whole, make_rows())
    path.write_bytes(damage_bytes(whole.read_bytes(), Random(seed)))


def make_journal(path: Path, seed: int) -> None:
    """Rows on their way, of which one is damaged and its checksum is right."""
    rng, text = Random(seed), json.dumps(make_rows()[1].to_record())
    said = damage_json(text, list_places(json.loads(text)), rng) if seed % 2 else damage_text(text, rng)
    line = said.encode("utf-8", "surrogatepass").replace(b"\n", b"")
    path.write_bytes(HEAD + b"%08x %s\n" % (zlib.crc32(line), line))


@cache
def predicted_json() -> Any:
    return json.loads(predict_on(archprof.profile("conv3-4 relu flatten linear-2", "3x8x8"), "t4").to_json())


@cache
def probed_json() -> Any:
    found = archprof.probe("conv3-4 relu flatten linear-2", "3x8x8", batch=2, optimizer="sgd(lr=0.1)")
    return json.loads(found.to_json())


ATTACKS: dict[str, tuple[str, Callable[[], Make], Callable[[Path], None]]] = {
    "plan": ("plan.json", lambda: make_json(PLAN), use_plan),
    "plan in toml": ("plan.toml", lambda: make_text(TOML), use_plan),
    "cells": ("x.csv", lambda: make_cells, use_sweep),
    "columns": ("x.parquet", lambda: make_columns, use_sweep),
    "csv": ("x.csv", lambda: make_damaged_bytes, use_sweep),
    "parquet": ("x.parquet", lambda: make_damaged_bytes, use_sweep),
    "journal": ("x.csv.journal", lambda: make_journal, use_journal),
    "run": ("run.json", lambda: make_json(json.loads(RUN)), use_run),
    "prediction": ("x.json", lambda: make_json(predicted_json()), use_profile),
    "probe": ("x.json", lambda: make_json(probed_json()), use_profile),
    "device": ("x.json", lambda: make_json(CALIBRATION), use_device),
}


def attack(kind: str, folder: Path, count: int) -> None:
    name, begin, use_it = ATTACKS[kind]
    make, refused = begin(), 0
    for seed in range(count):
        make(folder / name, seed)
        try:
            use_it(folder / name)
        except ArchprofError as error:
            str(error)
            refused += 1
        except Exception as error:
            raise AssertionError(f"mutation {seed} of {kind!r}") from error
    assert 0 < refused < count


@pytest.mark.parametrize("kind", ATTACKS)
def test_a_damaged_file_is_refused_or_can_be_used(kind: str, tmp_path: Path) -> None:
    attack(kind, tmp_path, 40)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ATTACKS)
def test_ten_thousand_damaged_files(kind: str, tmp_path: Path) -> None:
    attack(kind, tmp_path, 10_000)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("1.5, 0.5", '"x", 0.5', r"models\[0\]\.epochs\[1\]\.loss is a text"),
        ("1.5, 0.5", "NaN, 0.5", r"models\[0\]\.epochs\[1\]\.loss is"),
        ('"net"', "[]", r"models\[0\]\.name is a list"),
        ("[0.5, 0.75]", "[0.5]", "the picture of net is of filters of several sizes"),
        ("[[[[0.0, 1.0], [0.5, 0.25]]]]", "[]", "the picture of net is of filters of several sizes"),
    ],
)
def test_a_run_that_was_damaged_is_refused_by_the_place(old: str, new: str, words: str, tmp_path: Path) -> None:
    assert RUN.count(old) == 1
    (tmp_path / "run.json").write_text(RUN.replace(old, new))
    with pytest.raises(ArchprofError, match=words):
        load_run(tmp_path)


@pytest.mark.parametrize("gradient", ["-0.5", "1e-320", "0"])
def test_what_has_no_place_along_a_logarithmic_axis_is_not_drawn(gradient: str, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(RUN.replace('["0.weight", 0.5, 2.0]', f'["0.weight", {gradient}, 1e29]'))
    assert "Gradient flow of net" in render_run_page(load_run(tmp_path))


def test_a_count_of_a_sweep_that_nothing_has_is_refused(tmp_path: Path) -> None:
    write_swept(tmp_path / "x.csv", [replace(make_rows()[0], macs=10**31)])
    with pytest.raises(ArchprofError, match="macs is '1000"):
        read_swept(tmp_path / "x.csv")
