"""Names that come from files (devices, sweeps, plans, settings, runs, weights) steer nothing, and are no markup."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import torch
from attack.hostile_words import SIGNS
from attack.mutations import list_places
from attack.test_crafted_profiles import CALIBRATION
from attack.test_damaged_files import PLAN, RUN, make_rows
from attack.test_words import assert_visible, run
from PIL import Image
from typer.testing import Result

import archprof
from archprof.analysis.tables.swept import tabulate_swept
from archprof.facts.swept import SweptRow, column_types
from archprof.facts.swept_files import read_swept, write_swept

MARKUP = '</script></title><x-y onload="z">|`[a](javascript:z)\\href{z}'
NAMES = {
    "signs": SIGNS, "markup": MARKUP, "formula": '=HYPERLINK("http://x","y")', "order": "::error::x",
    "word": "##[error]x", "long": "a" * 10_000, "nothing": "\0", "turned": "\u202ea\u2066b",
    "lines": "a\r\nb\x85c\u2028d", "surrogate": "\ud800",
}  # fmt: skip

Write = Callable[[str], object]
"""Writes a file that says the name somewhere."""

TABLE_FORMATS = ("text", "csv", "md", "json", "latex")
NET = "net.json"


class Tags(HTMLParser):
    """Every element of a page with its attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def assert_no_markup(page: str) -> None:
    for tag, attributes in Tags(page).found:
        assert tag != "x-y"
        assert not any(name.startswith("on") for name in attributes)
        assert not (attributes.get("href") or "").startswith("javascript:")
    assert all(sign.isprintable() or sign in "\n\t\xa0" for sign in page)


def assert_is_data(text: str, form: str) -> None:
    """What a format says of a name is text in it."""
    if form in ("html", "svg"):
        assert_no_markup(text)
        return
    assert_visible(text)
    if form == "md":
        assert "<x-y" not in text
        assert not re.search(r"(?<!\\)\]\(javascript", text)
        lines = [line for line in text.splitlines() if line.startswith("|")]
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) <= 2  # one table, or two
    if form == "json":
        json.loads(text)
    if form == "latex":
        typeset = [line for line in text.splitlines() if not line.startswith("%")]
        assert not any(r"\href" in line for line in typeset)


def assert_plain(result: Result, form: str) -> None:
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    assert "not foreseen" not in result.stderr
    assert_visible(result.stderr)
    if result.stdout:
        assert_is_data(result.stdout, form)


@cache
def net_json() -> str:
    return archprof.profile("lenet5", train=True).to_json()


def write_calibration(name: str) -> None:
    Path("x.json").write_text(json.dumps({**CALIBRATION, "name": name}))


def write_dtype(name: str) -> None:
    rates = {"float32": {"p50": 1e12}, name: {"p50": 1e12}}
    Path("x.json").write_text(json.dumps({**CALIBRATION, "matmul_flop_per_second": rates, "device": name}))


def write_sweeps(name: str) -> None:
    """Every text of a sweep is the name, and a foreign column."""
    texts = {
        key: name for key, (kind, _) in column_types().items() if kind is str and key not in ("status", "key", "mode")
    }
    rows = [SweptRow(**{**row.to_record(), **texts}) for row in make_bare_rows()]
    write_swept("x.csv", [*rows, SweptRow(**{**rows[0].to_record(), "key": name, "extra": {name or "x": name}})])


def make_bare_rows() -> list[SweptRow]:
    return [row for row in make_rows() if not row.extra]


def write_run(name: str) -> None:
    """Every text of a run is the name."""
    data = json.loads(RUN)
    for place in list_places(data):
        holder = data
        for key in place[:-1]:
            holder = holder[key]
        if place and isinstance(holder[place[-1]], str) and "columns" not in place:
            holder[place[-1]] = name
    Path("run").mkdir()
    Path("run/run.json").write_text(json.dumps(data))


def write_settings(line: str) -> Write:
    """TOML in which NAME is the name as a text."""

    def write(name: str) -> None:
        said = json.dumps(name.encode("utf-8", "backslashreplace").decode()).replace("\x7f", "\\u007f")
        Path("pyproject.toml").write_text(f"[tool.archprof]\n{line.replace('NAME', said)}\n", encoding="utf-8")
        Path(NET).write_text(net_json())

    return write


def write_plan(rules: Callable[[str], Any]) -> Write:
    return lambda name: Path("x.json").write_text(json.dumps(rules(name)))


def write_weights(name: str) -> None:
    torch.save({name: torch.zeros(2), f"a.{name}": torch.zeros(2)}, "x.pt")
    from safetensors.torch import save_file

    save_file({name.encode("utf-8", "backslashreplace").decode(): torch.zeros(2)}, "x.safetensors")


def write_configuration(name: str) -> None:
    Path("x.json").write_text(json.dumps({"model_type": name, "architectures": [name], "hidden_act": name}))
    known = {"model_type": "llama", "hidden_act": name, "num_hidden_layers": 1, "rope_scaling": {"rope_type": name}}
    Path("z.json").write_text(json.dumps(known))


def write_images(name: str) -> None:
    clean = name.replace("/", "").replace("\0", "").encode("utf-8", "backslashreplace").decode()[:200] or "x"
    for folder in (clean, "b"):
        (Path("images") / folder).mkdir(parents=True)
        Image.new("L", (8, 8)).save(Path("images") / folder / f"{clean}.png")
    (Path("images") / "b" / f"{clean}x.png").write_text("no image")


def write_profile(name: str) -> None:
    """Every text of a profile that may be any text is the name."""
    data = json.loads(net_json())
    data |= {"model": name, "notes": [name]}
    data["environment"] |= {"torch": name, "device_name": name, "details": {name: name}, name: name}
    renamed = re.compile(r"\bclassifier\b|\bReLU\b|\bLeNet5?\b")
    Path("x.json").write_text(renamed.sub(lambda _: json.dumps(name.replace(".", ""))[1:-1], json.dumps(data)))


FILES: dict[str, tuple[Write, list[str]]] = {
    "calibration": (write_calibration, ["predict net.json --device x.json", "memory net.json --device x.json",
                                        "shard net.json --mesh dp=2 --device x.json", "devices x.json"]),
    "dtype": (write_dtype, ["predict net.json --device x.json", "predict net.json --device x.json --by layer"]),
    "sweep": (write_sweeps, [
        "report x.csv -o y.html", "sweep lenet5 -o x.csv --format FORMAT", "compare x.csv net.json"]),
    "run": (write_run, ["report run -o y.html", "table run", "train lenet5 --data digits --resume -o run"]),
    "pattern": (write_plan(lambda name: {name: "colwise"}), ["shard net.json --mesh tp=2 --plan x.json"]),
    "style": (write_plan(lambda name: {"classifier.0": name}), ["shard net.json --mesh tp=2 --plan x.json"]),
    "option": (write_plan(lambda name: {**PLAN, "classifier.4": {"style": "colwise", name: name, "output": name}}),
               ["shard net.json --mesh tp=2 --plan x.json"]),
    "key": (write_settings("NAME = 1"), ["check", "report net.json -o y.html"]),
    "model": (write_settings("max-params = 5\n[[tool.archprof.check]]\nmodel = NAME"),
              ["check", "check --format junit"]),
    "baseline": (write_settings('[[tool.archprof.check]]\nmodel = "net.json"\nbaseline = NAME'), ["check"]),
    "limit": (write_settings("max-params = NAME"), ["check", "check net.json --max-macs 1"]),
    "limited device": (write_settings('max-latency = "1ms"\ndevice = NAME'), ["check net.json"]),
    "input": (write_settings('max-params = 5\n[[tool.archprof.check]]\nmodel = "lenet5"\ninput = [NAME]'), ["check"]),
    "weights": (write_weights, ["table x.safetensors", "table x.pt", "probe lenet5 --weights x.pt",
                                "probe lenet5 --weights x.safetensors"]),
    "configuration": (write_configuration, ["table hf:x.json", "table hf:z.json"]),
    "images": (write_images, ["probe lenet5 --batch 2 --data folder:images"]),
    "profile": (write_profile, [
        *(f"{what} --format FORMAT" for what in (
            "table x.json", "table x.json --by op", "table x.json --by kind", "memory x.json", "graph x.json",
            "predict x.json --device t4 --by layer", "shard x.json --mesh fsdp=2", "compare net.json x.json",
            "check x.json --max-params 1")),
        "check x.json --max-params 1 --format junit", "check x.json --max-params 1 --format github",
        "report x.json -o y.html", "report x.json net.json -o y.html", "memory x.json -o y.html",
        "memory x.json -o y.svg", "graph x.json -o y.svg", "inputs x.json --where NAME=1x1"]),
}  # fmt: skip


def list_commands(kind: str) -> Iterator[tuple[str, str]]:
    """Each command of a kind with the format that it answers in, and the formats of tables where it names none."""
    for words in FILES[kind][1]:
        if "FORMAT" in words:
            yield from ((words.replace("FORMAT", form), form) for form in TABLE_FORMATS)
        else:
            yield words, "text"


PAIRS = [
    pytest.param(kind, name, marks=[pytest.mark.slow] * (name not in ("signs", "markup")))
    for kind in FILES
    for name in NAMES
]


@pytest.mark.parametrize(("kind", "name"), PAIRS)
def test_a_name_in_a_file_is_data(kind: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path(NET).write_text(net_json())
    FILES[kind][0](NAMES[name])
    for words, form in list_commands(kind):
        result = run(*words.replace("NAME", NAMES[name]).split(" "))
        own = "\n::error title=" if "github" in words else ""  # the one command that is meant
        assert_plain(result, form) if not own else assert_visible(result.stdout.replace("::error title=", ""))
        for page in Path().glob("y.*"):
            assert_no_markup(page.read_text(encoding="utf-8"))
            page.unlink()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("form", ["csv", "md", "latex", "text"])
def test_a_row_of_a_sweep_is_data(name: str, form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_sweeps(NAMES[name])
    table = tabulate_swept(read_swept("x.csv"))
    answers = {"csv": table.to_csv, "md": table.to_markdown, "latex": table.to_latex, "text": table.to_text}
    assert_is_data(answers[form](), form)
