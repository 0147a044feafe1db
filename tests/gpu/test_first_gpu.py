"""The script for the first minutes on a GPU, as far as it goes without one."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

import archprof
from archprof.measuring import run as measuring
from gpu import checks, first_gpu, limited, rehearsed, smoke, validate

ROOT = Path(__file__).parents[2]


def test_every_command_for_a_gpu_that_is_shown_is_tried():
    pages = [ROOT / "README.md", *(ROOT / "archprof" / "guide").glob("*.md")]
    shown = {
        words
        for page in pages
        for words in re.findall(r"archprof ((?:[^`\n]*--cuda|calibrate)[^`\n#]*)", page.read_text(encoding="utf-8"))
    }
    assert len(shown) > 4
    assert {shlex.split(words)[0] for words in shown} <= {words[0] for words in smoke.list_commands(False)}
    assert {words.strip() for words in shown} - {"calibrate"} <= set(smoke.COMMANDS)


def test_every_option_that_measures_is_tried():
    words = {word for line in smoke.COMMANDS for word in shlex.split(line)}
    assert {"--compile", "--channels-last", "--train", "--amp", "--no-amp", "--batch", "auto", "--dtype"} <= words


@pytest.fixture
def run(tmp_path):
    def run_python(code: str, seconds: float = 60) -> limited.Ended:
        return limited.run_limited([sys.executable, "-c", code], seconds, tmp_path / "log", tmp_path)

    return run_python


def test_a_command_that_is_late_is_interrupted_and_keeps_what_it_wrote(run):
    ended = run("import time; print('here', flush=True); time.sleep(60)", 3)
    assert (ended.late, ended.ok) == (True, False)
    assert ended.seconds < 30
    assert ended.log.read_text().startswith("here\n")
    assert ended.describe().startswith("late ")


def test_one_that_does_not_listen_is_killed_with_its_children(run, tmp_path, monkeypatch):
    monkeypatch.setattr(limited, "LAST_SECONDS", 0.3)
    code = (
        "import signal, subprocess, sys, time; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); time.sleep(60)"
    )
    ended = run(code, 2)
    assert (ended.late, ended.exit_code) == (True, -9)
    assert ended.seconds < 30


def test_how_a_command_ends_is_told(run):
    assert run("print(1)").ok
    ended = run("print(1); exit(3)")
    assert (ended.exit_code, ended.late, ended.ok) == (3, False, False)
    assert ended.describe().startswith("exit code 3")


def steps(tmp_path: Path, words: list[str]) -> list[str]:
    given = first_gpu.parse_words([str(tmp_path), *words])
    return [f"{step.name} {step.seconds:g}" for step in first_gpu.list_steps(tmp_path, given)]


def test_each_step_has_a_limit():
    assert sum(first_gpu.LIMITS.values()) < 15 * 60


def test_steps_are_chosen(tmp_path):
    assert steps(tmp_path, ["--harvest", "x.py"]) == [f"{name} {most}" for name, most in first_gpu.LIMITS.items()]
    assert steps(tmp_path, ["--steps", "validate=7,smoke"]) == ["smoke 110", "validate 7"]
    with pytest.raises(SystemExit, match="Steps: smoke, tests"):
        steps(tmp_path, ["--steps", "all"])


def test_a_step_that_fails_stops_none_and_all_is_packed(tmp_path):
    given = first_gpu.parse_words([str(tmp_path)])
    commands = {"one": "exit(1)", "two": "open('two/x', 'w').write('y')"}
    made = [first_gpu.Step(name, [sys.executable, "-c", code], 60) for name, code in commands.items()]
    folder = tmp_path / "gpu"
    folder.mkdir()
    first_gpu.run_steps(folder, made, tmp_path / "x.tar.gz")
    assert [(row["step"], row["exit_code"]) for row in json.loads((folder / "steps.json").read_text())] == [
        ("one", 1), ("two", 0),
    ]  # fmt: skip
    with tarfile.open(tmp_path / "x.tar.gz") as packed:
        assert {"gpu/steps.json", "gpu/two/x", "gpu/one.log"} <= set(packed.getnames())
    assert given.pack is None


@pytest.fixture
def rehearsal(monkeypatch) -> None:
    monkeypatch.setitem(measuring.DEVICE_CLASSES, "cuda", rehearsed.Rehearsed)


@pytest.mark.usefixtures("rehearsal")
def test_what_a_process_of_the_checks_does(tmp_path, monkeypatch):
    """On the processor, every line between the GPU and the checks is run."""
    monkeypatch.setattr(validate, "SLEEPS", validate.SLEEPS[:5])
    monkeypatch.setattr(validate, "REFERENCE", 10_000_000)
    for words in (["measure", "lenet5", "2", "float32"], ["parents", "lenet5", "2"], ["sleep"]):
        validate.work([*words, str(tmp_path / words[0])], 0.1)
    parents, sleep = (json.loads((tmp_path / name).read_text()) for name in ("parents", "sleep"))
    profile = archprof.load(tmp_path / "measure")
    assert profile.batch == 2
    assert set(parents) == {"features", "classifier"}
    assert min(parents.values()) > 0
    assert 1e-9 <= sleep["reference"] < 1e-7  # a cycle is a nanosecond; the machine may have other work
    subjects = [*checks.methods("net", profile), checks.closure("net", profile), *checks.sleeping(sleep)]
    assert all(check.reached >= 0 for check in subjects)


@pytest.mark.slow
def test_it_is_rehearsed(tmp_path):
    """One command, the measurements of the checks, and a harvest, in processes of their own."""
    harvest = tmp_path / "harvest.py"
    harvest.write_text("import sys; open(f'{sys.argv[1]}/got', 'w').write(' '.join(sys.argv[2:]))")
    words = ["--rehearse", "--quick", "--steps", "smoke,validate,harvest", "--harvest", str(harvest)]
    script = [sys.executable, str(ROOT / "tests" / "gpu" / "first_gpu.py"), str(tmp_path / "out")]
    done = subprocess.run([*script, *words], capture_output=True, text=True, timeout=600)
    ends = {row["step"]: row for row in json.loads((tmp_path / "out" / "steps.json").read_text())}
    assert list(ends) == ["smoke", "validate", "harvest"]
    assert (ends["smoke"]["exit_code"], ends["harvest"]["exit_code"]) == (0, 0), done.stdout
    assert (tmp_path / "out" / "harvest" / "got").read_text() == " ".join(first_gpu.HARVEST_SECONDS)
    said = (tmp_path / "out" / "reports" / "validation-rehearsed.txt").read_text()
    assert "failed" not in said
    assert said.count("closure") == 2  # how near they come is no matter of a processor with other work
    assert len(list((tmp_path / "out" / "reports").glob("lenet5-*-rehearsed.json"))) == 4
