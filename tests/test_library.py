"""The library and the command line are one: a function per command, a keyword per option, the same default."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import builders
import pytest
import typer
from torch import nn
from typer.testing import CliRunner

import archprof
from archprof import cli
from archprof.budgets.pyproject import LIMIT_KEYS
from archprof.facts.request import MeasureRequest, PassRequest
from archprof.measuring import run

COMMANDS = typer.main.get_command(cli.app).commands
ASKED = {question.ask.__name__: question.ask for question in cli.QUESTIONS}

OTHER_NAME = {"models": "list_models", "memory": "predict_memory", "devices": "list_devices"}
"""What a command's function is called, where that differs: `archprof.models` are the built-in definitions."""

TEXT_ONLY = {"guide"}
"""Commands that show a text and ask nothing of a model."""

WRITING = {"format", "output", "debug", "convention", "layers"}
"""Options that say how an answer is written, and not what it is."""

OF_THE_PAGE = {("compare", "title")}
"""Options of the page that a comparison is written as: in Python that is `archprof.report`."""

KEYWORD = {"input": "inputs", "arg": "inputs", "cuda": "measure"}
"""The keyword for which an option stands, where it is called otherwise."""

OTHER_DEFAULT = {"arg", "cuda", "cpu", "allow_incomplete"}
"""Options that stand for a value of the keyword, and not for the keyword itself."""

OF_THE_LIBRARY_ONLY = {"path", "folder", "loss", "held_out", "progress"}
"""Where a page is written (an option says how), where pyproject.toml is looked for (a command runs in a folder), and
functions and loaders."""

OF_THE_COMMAND_ONLY = {("probe", "columns")}
"""What the answer shows: in Python that is asked of the profile."""

PASS_OPTIONS = {"batch", "dtype", "train", "causal", "set", "phase", "context", "amp"}

STEP_OPTIONS = {"optimizer", "accumulate", "set_to_none", "checkpoint"}
"""Of whole training steps, which predicting memory needs alone."""


def function_of(command: str) -> Callable[..., Any]:
    return getattr(archprof, OTHER_NAME.get(command, command))


def keywords_of(command: str) -> dict[str, Any]:
    """The keyword for which each option and argument of a command stands, with its default."""
    said = inspect.signature(ASKED[command]).parameters
    options = {max(each.opts, key=len).lstrip("-").replace("-", "_"): each.name for each in COMMANDS[command].params}
    on_device = {("calibrate", "cpu"), ("probe", "cuda"), ("train", "cuda")}
    named = {"device" if (command, name) in on_device else name: own for name, own in options.items()}
    written = WRITING | {name for at, name in OF_THE_COMMAND_ONLY | OF_THE_PAGE if at == command}
    return {name: said[own].default for name, own in named.items() if name not in written}


@pytest.mark.parametrize("command", sorted(COMMANDS.keys() - TEXT_ONLY))
def test_every_option_is_a_keyword_with_the_same_default(command: str) -> None:
    library = inspect.signature(function_of(command)).parameters
    limits = {key.replace("-", "_") for key in LIMIT_KEYS} if "limits" in library else set()
    for name, default in keywords_of(command).items():
        if name in limits:
            continue
        assert KEYWORD.get(name, name) in library, name
        if name not in OTHER_DEFAULT | {"device"} and default is not inspect.Parameter.empty:
            assert str(library[KEYWORD.get(name, name)].default) in (str(default), str(default or ())), name


@pytest.mark.parametrize("command", sorted(COMMANDS.keys() - TEXT_ONLY))
def test_every_keyword_is_an_option(command: str) -> None:
    said = {KEYWORD.get(name, name) for name in keywords_of(command)}
    assert inspect.signature(function_of(command)).parameters.keys() - {"limits"} - OF_THE_LIBRARY_ONLY <= said


def test_the_commands_that_trace_several_models_take_every_option_of_a_pass() -> None:
    for command in ("table", "compare", "report"):
        assert keywords_of(command).keys() >= PASS_OPTIONS
    assert inspect.signature(archprof.profile).parameters.keys() == PASS_OPTIONS | STEP_OPTIONS | {"model", "inputs"}


class Bench:
    """Stands for `measure_model`: notes what it is asked, and answers with a hand-built profile."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []

    def __call__(self, *asked: Any) -> archprof.Profile:
        self.asked.append(asked)
        return builders.measured(mode="train" if asked[2].train else "forward")


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    made = Bench()
    monkeypatch.setattr(run, "measure_model", made)
    return made


def test_measuring_reaches_the_device_as_it_was_asked(bench: Bench, tmp_path: Path) -> None:
    how = {"measure": "cuda", "channels_last": True, "compile": True}
    archprof.table("a", batch=2, train=True, **how)
    archprof.compare("a", "b", dtype="float16", **how)
    archprof.report("a", tmp_path / "a.html", causal="half", plotly="none", **how)
    archprof.epoch("a", 100, batch=8, amp="bfloat16", **how)
    device = MeasureRequest("cuda", channels_last=True, compiled=True)
    assert [(model, request, how) for model, _, request, how in bench.asked] == [
        ("a", PassRequest(batch=2, train=True), device),
        ("a", PassRequest(dtype="float16"), device),
        ("b", PassRequest(dtype="float16"), device),
        ("a", PassRequest(causal="half"), device),
        ("a", PassRequest(batch=8, train=True, amp="bfloat16"), device),
    ]


def test_the_largest_batch_is_asked_of_the_device(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    archprof.measure("a", batch="auto", rounds=3, seconds=2.0)
    assert bench.asked[0][2:4] == (PassRequest(), MeasureRequest("cpu", rounds=3, seconds=2.0, largest_batch=True))


def test_a_table_is_that_of_the_profile() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    shown = archprof.table(net, (5, 3), by="kind", columns=["params", "macs"], top=1)
    assert (
        shown.records() == archprof.profile(net, (5, 3)).table(by="kind", columns=["params", "macs"], top=1).records()
    )
    assert shown.total is not None
    assert shown.total.cells[1:] == (3 * 4 + 4, 5 * 3 * 4)


def test_the_largest_image_inside_a_budget() -> None:
    """conv3 with padding makes n x n maps of 8 channels: n^2 * 8 * 27 MACs; 100 x 100 is 2.16 M."""
    rows = archprof.fit("conv3-8", "3x32x32", max_macs="2.16M").records()
    assert [(row["setting"], row["fits"], row["macs"]) for row in rows] == [
        (f"{n}x{n}", fits, n * n * 8 * 27) for n, fits in ((99, "yes"), (100, "yes"), (101, "no"))
    ]


def test_the_inputs_behind_an_output() -> None:
    """(n - 11) / 4 + 1 is 55 for n from 227 to 230."""
    found = archprof.inputs("alexnet_2012", "features.0=55x55").records()
    assert [row["input"] for row in found] == [f"{n}x{n}" for n in range(227, 231)]


def test_an_epoch_is_its_steps(bench: Bench) -> None:
    """The hand-built step takes 40 ms for one image."""
    (row,) = archprof.epoch(builders.measured(mode="train"), 50).records()
    assert (row["steps"], row["epoch"]) == (50, pytest.approx(50 * 0.040))


def test_a_page_of_what_was_asked(tmp_path: Path) -> None:
    page = tmp_path / "two.html"
    archprof.report([nn.Linear(4, 2), nn.Linear(4, 3)], page, inputs="4", batch=7, title="Two lines", plotly="none")
    assert "<title>Two lines" in page.read_text()
    assert "batch\xa07" in page.read_text()


def test_a_verdict_for_each_model() -> None:
    small, large = archprof.check([nn.Linear(4, 2), nn.Linear(4, 3)], inputs="4", max_params=10, max_macs="1k")
    assert (small.ok, large.ok) == (True, False)
    assert [each.limit.metric for each in large.broken] == ["params"]


def test_the_command_and_the_function_give_the_same(tmp_path: Path) -> None:
    """For each command whose answer is a table, as the JSON that both write."""
    told = {
        ("fit", "conv3-8", "--input", "3x8x8", "--max-macs", "1M"): archprof.fit("conv3-8", "3x8x8", max_macs="1M"),
        ("inputs", "conv3-8/s2", "--where", "conv1=4x4", "--input", "3x8x8"): archprof.inputs(
            "conv3-8/s2", ["conv1=4x4"], inputs=["3x8x8"]
        ),
        ("verify", "lenet5", "--batch", "2"): archprof.verify("lenet5", batch=2),
        ("models", "lenet*"): archprof.list_models("lenet*"),
        ("table", "lenet5", "--by", "kind", "--batch", "3"): archprof.table("lenet5", by="kind", batch=3),
    }
    for words, table in told.items():
        shown = CliRunner().invoke(cli.app, [*words, "--format", "json"])
        assert json.loads(shown.stdout) == json.loads(table.to_json()), words


def test_a_calibration_says_which_device(monkeypatch: pytest.MonkeyPatch) -> None:
    from archprof.measuring import calibrate

    monkeypatch.setattr(calibrate, "calibrate_device", lambda device: device)
    assert archprof.calibrate("cpu").kind == "cpu"
    with pytest.raises(archprof.UsageError, match="Nothing can be measured on 'tpu'"):
        archprof.calibrate("tpu")
