"""The arithmetic of the validation script, which is run where a GPU is; its processes are played here."""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
from pathlib import Path

import builders
import pytest

from archprof.facts.measured import Latency, Measurement, Timing
from archprof.facts.overlays import Outside
from archprof.facts.ran import Ran
from archprof.facts.records import Layer, Profile
from archprof.measuring import run
from gpu import checks, rehearsed, validate

ROWS = (("", 0), ("a", 0), ("a.b", 0), ("c", 0))


def latency(method: str, rows: tuple[float, ...], whole: float, overhead: float | None = None) -> Latency:
    layers = tuple(Timing(call, ((seconds,),)) for call, seconds in enumerate(rows))
    rest = (Timing(Outside.UNATTRIBUTED, ((whole - sum(rows),),)),)
    return Latency(method, layers, rest, Timing(Outside.WHOLE, ((whole,),)), overhead)  # type: ignore[arg-type]


def profile(**methods: tuple[float, ...]) -> Profile:
    """Methods by name: the seconds of four rows and the whole."""
    overheads = {"gpu": 1e-6, "eager": 5e-6}
    latencies = tuple(latency(name, row[:4], row[4], overheads.get(name)) for name, row in methods.items())
    layers = tuple(Layer(path, "Module", path.count(".") + bool(path), call) for path, call in ROWS)
    measurement = Measurement(Ran("cuda", "NVIDIA H200"), "forward", latencies)
    return builders.make_profile("net", (), 1, "forward", "float32", layers, (), (), (), overlays=(measurement,))


GPU = (0.0, 100e-6, 200e-6, 10e-6, 320e-6)
KERNEL = (0.0, 98e-6, 180e-6, 9e-6, 320e-6)
EAGER = (0.0, 110e-6, 210e-6, 40e-6, 400e-6)


@pytest.fixture
def measured() -> Profile:
    return profile(gpu=GPU, kernel=KERNEL, eager=EAGER)


def test_closure_holds_the_rows_against_the_whole(measured):
    check = checks.closure("net", measured)
    assert check.reached == pytest.approx(10 / 320)
    assert not check.ok  # 3.1 % against 3 %
    assert check.more == "-0.6 % with marks"  # 310 us and 8 marks of 1 us against 320


def test_nesting_finds_the_child_whose_rows_exceed_it(measured):
    check = checks.nesting("net", measured, {"a": 250e-6, "c": 1e-6})
    assert check.reached == pytest.approx(300 / 250 - 1)
    assert (check.more, check.ok) == ("a", False)
    assert checks.nesting("net", measured, {"a": 299e-6}).ok


def test_methods_are_compared_on_long_layers(measured):
    apart, wrong = checks.methods("net", measured)
    assert apart.reached == pytest.approx((0.02 + 0.1) / 2)  # of a and a.b
    assert apart.more == "2 layers"
    assert wrong.reached == 0
    backwards = profile(gpu=GPU, kernel=EAGER, eager=KERNEL)
    assert list(checks.methods("net", backwards))[1].reached == 2


def test_processes_are_compared_on_long_layers(measured):
    again = profile(gpu=(0.0, 101e-6, 196e-6, 20e-6, 320e-6))
    check = checks.repeated("net", measured, again)
    assert check.reached == pytest.approx((0.01 + 0.02) / 2)
    assert check.more == "worst 2.0 %"


def test_overhead_is_a_share_of_the_pass(measured):
    gpu, eager = checks.overhead("net", measured)
    assert (gpu.reached, gpu.ok, gpu.more) == (1e-6, True, "2.5 % of the pass")
    assert (eager.target, eager.more) == (None, "10.0 % of the pass")


@pytest.mark.parametrize(("slope", "intercept"), [(0.5e-9, 2e-6), (0.6e-9, 0.0)])
def test_a_line_is_found_again(slope, intercept):
    found = checks.line(validate.SLEEPS, [intercept + slope * cycles for cycles in validate.SLEEPS])
    assert found == pytest.approx((slope, intercept), rel=1e-6, abs=1e-12)
    assert validate.SLEEPS[-1] / validate.SLEEPS[0] == 1000


def test_sleeping_layers_are_held_against_a_long_sleep():
    found = {"reference": 0.5e-9}
    for method, slope in (("gpu", 0.505e-9), ("kernel", 0.52e-9), ("eager", 0.9e-9)):
        found |= {f"{method} slope": slope, f"{method} intercept": 2e-6}
    assert [check.ok for check in checks.sleeping(found)] == [True, False, True]


def test_a_line_says_what_was_not_reached(measured):
    found = [checks.closure("net", measured), *checks.overhead("net", measured)]
    first, second, third = map(checks.say_check, found)
    assert first.split()[:7] == ["closure", "net", "3.0", "%", "3.1", "%", "NOT"]
    assert second.endswith("ok          2.5 % of the pass")
    assert "5.0 us" in third


@pytest.fixture
def asked(tmp_path) -> argparse.Namespace:
    return argparse.Namespace(save=tmp_path / "reports", seconds=1.0, rehearse=False, resume=False)


@pytest.fixture
def started(measured, monkeypatch) -> list[list[str]]:
    """The words of the processes, which are played: what they would write is there."""
    words: list[list[str]] = []

    def play(command: list[str], check: bool) -> None:
        what, *rest = command[command.index("--one") + 1 :]
        words.append([what, *rest[:-1]])
        if what == "measure":
            dataclasses.replace(measured, model=rest[0]).save(rest[-1])
            return
        numbers = [f"{method} {part}" for method in ("gpu", "kernel", "eager") for part in ("slope", "intercept")]
        known = {"sleep": dict.fromkeys(["reference", *numbers], 1e-9), "parents": {"a": 300e-6}}
        if rest[0] == "vgg16":
            raise subprocess.CalledProcessError(1, command)
        Path(rest[-1]).write_text(json.dumps(known[what]))

    monkeypatch.setattr(subprocess, "run", play)
    monkeypatch.setitem(run.DEVICE_CLASSES, "cuda", rehearsed.Rehearsed)
    return words


def test_the_whole_script_runs(asked, started, capsys):
    """Everything is read, said and kept, also where the process of one check fails."""
    assert not validate.validate(asked.save, asked)
    said = (asked.save / "validation-rehearsed.txt").read_text()
    assert capsys.readouterr().out == said
    assert len(said.splitlines()) == 1 + 3 + 6 * 7 + 2 * 6  # of vgg16 the parents and what follows are missing
    assert said.count("failed") == 2
    assert "NOT REACHED" in said
    assert {path.name for path in asked.save.glob("*.json")} == {
        f"{m}-b{b}-{d}-rehearsed.json" for m in validate.SAVED for b in (1, 64) for d in ("float32", "bfloat16")
    }
    assert len([one for one in started if one[0] == "measure"]) == 16 - 2 + 16 - 6  # six were measured for the checks


def test_what_was_kept_is_not_measured_again_when_it_goes_on(asked, started):
    validate.validate(asked.save, asked)
    started.clear()
    asked.resume = True
    validate.validate(asked.save, asked)
    assert [one[1:3] for one in started if one[0] == "measure" and one[1] == "alexnet"] == []
    assert len([one for one in started if one == ["measure", "resnet50", "1", "float32"]]) == 1  # the second


def test_a_check_is_said_before_the_next_is_made(tmp_path, capsys):
    def made():
        yield checks.Check("one", "net", 1, 0, "us")
        assert "one" in capsys.readouterr().out
        assert "one" in (tmp_path / "x").read_text()

    assert validate.tell(made(), tmp_path / "x")
