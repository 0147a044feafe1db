"""The rows of a sweep in files: every value comes back, whatever a model is called, and damage is told by its place."""

from __future__ import annotations

import csv
import math
from dataclasses import replace
from pathlib import Path

import pandas
import pytest

from archprof.errors import ArchprofError, UsageError
from archprof.facts import swept_files
from archprof.facts.swept import Cell, SweptFileError, SweptRow, count_statuses, fail_row, read_cell, start_row
from archprof.facts.swept_files import check_swept_path, read_swept, write_swept

NASTY = [
    'a,"b"',
    "<b>&amp;</b>",
    "two\nlines",
    "wagen\rrück",
    "=1+1",
    "größer ×",
    " spaced ",
    "NA",
    "null",
    "1e5",
    "\ud800",
]

CELL = Cell("vgg16", batch=8, dtype="float32", lengths=(("seq", 4),))
MADE_BY = {"archprof": "1", "torch": "2", "source": "timm 3"}


def row(model: str = "vgg16", **more: object) -> SweptRow:
    made = replace(start_row(replace(CELL, model=model), model, MADE_BY), status="ok", complete=True)
    return replace(made, **more)


@pytest.fixture(params=["runs.csv", "runs.parquet"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if request.param.endswith(".parquet"):
        pytest.importorskip("pyarrow", reason="Parquet needs pyarrow")
    return tmp_path / str(request.param)


def test_every_value_comes_back(path: Path) -> None:
    rows = [
        row("a", params=138357544, macs=15470264320, predicted_seconds=1.5e-3, top5_error=9.618, limit_seconds=30.0),
        row("b", macs=2**80 + 1, params=0, complete=False, note="so", tries=2),
        fail_row(row("c"), "time limit", "It took\n too long."),
    ]
    write_swept(path, rows)
    assert read_swept(path) == rows
    assert read_swept(path)[2].why == "It took too long."
    assert count_statuses(rows) == {"ok": 2, "time limit": 1}


def test_names_of_all_kinds_come_back(path: Path) -> None:
    rows = [row(name, why=name) for name in NASTY[:-1]]
    write_swept(path, [*rows, row(NASTY[-1])])
    back = read_swept(path)
    assert back[:-1] == rows
    assert back[-1].model == "\\ud800"


def test_other_programs_read_what_is_written(path: Path) -> None:
    write_swept(path, [row("a,b", params=7, macs=None), row("c", params=None, predicted_seconds=0.25)])
    frame = pandas.read_csv(path) if path.suffix == ".csv" else pandas.read_parquet(path)
    assert list(frame["model"]) == ["a,b", "c"]
    assert frame["params"][0] == 7
    assert math.isnan(frame["params"][1])
    assert frame["predicted_seconds"][1] == 0.25
    assert list(frame["complete"]) == [True, True]


def test_what_pandas_made_of_it_is_read(path: Path) -> None:
    """It makes floats of whole numbers beside missing ones, and NaN of what is missing."""
    write_swept(path, [row("a", params=7), row("b")])
    frame = pandas.read_csv(path) if path.suffix == ".csv" else pandas.read_parquet(path)
    frame["mine"] = ["x", "y"]
    frame.to_csv(path, index=False) if path.suffix == ".csv" else frame.to_parquet(path)
    back = read_swept(path)
    assert [(one.params, one.device) for one in back] == [(7, None), (None, None)]
    assert [one.extra["mine"] for one in back] == ["x", "y"]
    write_swept(path, [*back, row("c")])
    assert [one.to_record().get("mine") or None for one in read_swept(path)] == ["x", "y", None]


def test_a_file_of_less_columns_is_read(tmp_path: Path) -> None:
    path = tmp_path / "old.csv"
    path.write_text("model,batch,mode,status,key\nvgg16,1,forward,ok,k\nvgg16,1,forward,ok,k\n", "utf-8")
    (only,) = read_swept(path)
    assert (only.model, only.macs, only.key) == ("vgg16", None, "k")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no sweep: it has no column model"),
        ("a,b\n1,2\n", "holds no sweep: it has no column model"),
        ("model,batch,mode,status,key\nvgg16,x,forward,ok,k\n", "Row 1 of .* batch is 'x', which is no whole number"),
        ("model,batch,mode,status,key\nvgg16,1.5,forward,ok,k\n", "batch is '1.5'"),
        ("model,batch,mode,status,key\nvgg16,1,forward,fine,k\n", "status is 'fine'"),
        ("model,batch,mode,status,key\nvgg16,1,forward,ok,\n", "key is missing"),
        ("model,batch,mode,status,key\nvgg16,1,forward\n", "Row 1 of .* more or fewer fields"),
        ("model,batch,mode,status,key,macs\nvgg16,1,forward,ok,k,inf\n", "macs is 'inf'"),
        ('model,batch,mode,status,key\n"vgg16', "cannot be read as CSV"),
    ],
)
def test_damage_is_told_by_its_place(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_text(text, "utf-8")
    with pytest.raises(SweptFileError, match=said):
        read_swept(path)


def test_a_parquet_that_is_none(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="Parquet needs pyarrow")
    path = tmp_path / "runs.parquet"
    path.write_bytes(b"PAR1 no PAR1")
    with pytest.raises(SweptFileError, match="cannot be read as Parquet"):
        read_swept(path)


def test_parquet_without_pyarrow_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(ArchprofError, match=r"pip install 'archprof\[sweep\]'"):
        check_swept_path(tmp_path / "runs.parquet")
    assert check_swept_path(tmp_path / "runs.csv")


@pytest.mark.parametrize("name", ["runs.json", "runs", "runs.CSV.gz"])
def test_a_suffix_of_no_format(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\.parquet, \.csv"):
        check_swept_path(tmp_path / name)


def test_a_key_is_all_that_is_asked_and_what_answers() -> None:
    others = [
        replace(CELL, **change)
        for change in (
            {"model": "vgg19"}, {"inputs": ("3x8x8",)}, {"batch": 1}, {"dtype": None}, {"train": True},
            {"amp": "bfloat16"},
            {"optimizer": "sgd"}, {"lengths": ()}, {"device": "t4"}, {"measure": "cpu"}, {"channels_last": True},
            {"compiled": True},
        )
    ]  # fmt: skip
    keys = [one.make_key(MADE_BY) for one in (CELL, *others)]
    keys += [CELL.make_key(MADE_BY | {name: "other"}) for name in MADE_BY]
    assert len(set(keys)) == len(keys) == 16
    assert read_cell({**CELL.to_record(), "lengths": [["seq", 4]], "inputs": []}).make_key(MADE_BY) == keys[0]


def test_csv_has_base_units_under_the_names_of_the_fields(tmp_path: Path) -> None:
    write_swept(tmp_path / "a.csv", [row(live_bytes=1024, measured_seconds=0.5)])
    with (tmp_path / "a.csv").open(newline="") as lines:
        (read,) = csv.DictReader(lines)
    assert (read["live_bytes"], read["measured_seconds"], read["complete"]) == ("1024", "0.5", "true")
    assert swept_files.is_swept_path("a.csv")
