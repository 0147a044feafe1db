"""`archprof check` as CI meets it: exit codes, formats, the step summary."""

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from typer.main import get_command
from typer.testing import CliRunner

import archprof
from archprof.cli import app

# cifar_vgg has 1,894,490 parameters: row R2 of the lectures.
KEPT = ["check", "cifar_vgg", "--max-params", "1894490"]
BROKEN = ["check", "cifar_vgg", "--max-params", "1894489"]


def run(words):
    return CliRunner().invoke(app, words)


def test_a_value_on_its_limit_is_kept():
    result = run(KEPT)
    assert result.exit_code == 0
    assert "ok" in result.stdout


def test_one_more_breaks_it_and_says_by_how_much():
    result = run(BROKEN)
    assert result.exit_code == 3
    assert "broken" in result.stdout
    assert "1 of 1 limits not kept" in result.stdout
    assert result.stdout.endswith("\n")


def test_github_annotates_and_adds_to_the_summary(tmp_path, monkeypatch):
    summary = tmp_path / "summary.md"
    summary.write_text("before\n", encoding="utf-8")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    result = run([*BROKEN, "--format", "github"])
    assert result.exit_code == 3
    assert re.search(r"^::error ", result.stdout, re.MULTILINE)
    text = summary.read_text(encoding="utf-8")
    assert text.startswith("before\n")
    assert "cifar_vgg" in text


def test_junit_file(tmp_path):
    path = tmp_path / "budget.xml"
    result = run([*BROKEN, "-o", str(path)])
    assert result.exit_code == 3
    tree = ElementTree.parse(path).getroot()
    assert tree.find(".//failure") is not None


def test_json_has_raw_numbers():
    text = run([*BROKEN, "--format", "json"]).stdout
    assert "1894490" in json.dumps(json.loads(text))


def test_a_baseline_is_kept_by_its_own_model_and_broken_by_a_larger(tmp_path):
    path = tmp_path / "base.json"
    archprof.profile("cifar_vgg").save(path)
    assert run(["check", "cifar_vgg", "--baseline", str(path)]).exit_code == 0
    assert run(["check", "cifar_vgg_bn", "--baseline", str(path)]).exit_code == 3
    assert run(["check", "cifar_vgg_bn", "--baseline", str(path), "--tolerance", "79%"]).exit_code == 3
    assert (
        run(["check", "cifar_vgg_bn", "--baseline", str(path), "--tolerance", "80%"]).exit_code == 0
    )  # the outputs of the norms: +79.6% activation memory


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["check", "cifar_vgg", "--max-params", "many"], ["many", "4.1G"]),
        (["check", "cifar_vgg", "--max-latency", "5ms"], ["latency", "measured"]),
        (["check", "cifar_vgg"], ["nothing to check"]),
        ([*KEPT, "--format", "csv"], ["csv", "junit"]),
        ([*KEPT, "-o", "x.zip"], ["x.zip", ".xml"]),
    ],
)
def test_clear_errors(words, parts):
    result = run(words)
    assert result.exit_code in (1, 2)
    for part in parts:
        assert part in result.stderr


def test_every_option_of_the_action_exists():
    known = {name for option in get_command(app).commands["check"].params for name in option.opts}
    action = (Path(__file__).parents[2] / ".github/actions/archprof/action.yml").read_text(encoding="utf-8")
    used = set(re.findall(r"(?<![\w-])(--[a-z][a-z-]+)", action.split("words=()")[1]))
    assert used
    assert used <= known
