"""GitHub's annotations, the step summary, JUnit and JSON, read back by a parser each; the action and the hook."""

import json
import os
import re
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import builders
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archprof.budgets.limits import LIMITABLE_METRICS, MEMORY_KEY, Limit, parse_limit
from archprof.budgets.verdict_words import describe_check
from archprof.budgets.verdicts import LimitCheck, Verdict, check_profile
from archprof.render import ci
from archprof.wording import make_visible

ROOT = Path(__file__).parents[2]
UNMEASURED = [key for key, metric in LIMITABLE_METRICS.items() if not metric.measured]
COUNTED = [key for key in UNMEASURED if key != MEMORY_KEY]
"""A baseline is held by what is counted, and not by what is predicted."""


def verdict(model="net", allow_incomplete=False, profile=builders.profile):
    limits = [parse_limit("params", "2k", "max-params 2k"), parse_limit("macs", "20k", "max-macs 20k")]
    return check_profile(
        profile(model=model) if profile is builders.profile else profile(), limits, allow_incomplete=allow_incomplete
    )


def parsed(line):
    """One workflow command as GitHub's runner reads it: split at the first space and the `::`, then unescaped."""
    match = re.fullmatch(r"::(\w+) (.*?)::(.*)", line)
    properties = dict(pair.split("=", 1) for pair in match[2].split(","))
    unescape = [("%3A", ":"), ("%2C", ","), ("%0D", "\r"), ("%0A", "\n"), ("%25", "%")]

    def plain(text):
        for code, char in unescape:
            text = text.replace(code, char)
        return text

    return match[1], {key: plain(value) for key, value in properties.items()}, plain(match[3])


def test_one_annotation_for_each_limit_that_is_not_kept():
    (line,) = ci.render_annotations([verdict()]).splitlines()
    kind, properties, message = parsed(line)
    assert kind == "error"
    assert properties == {"title": "archprof: parameters of net (max-params 2k)"}
    assert message == describe_check(verdict().broken[0])
    assert "89.9%25" in line


def test_an_annotation_stands_at_the_file_of_the_model():
    _, properties, _ = parsed(ci.render_annotations([verdict("nets/a.py:Net(width=2, depth=3)")]).rstrip("\n"))
    assert properties == {
        "file": "nets/a.py",
        "title": "archprof: parameters of nets/a.py:Net(width=2, depth=3) (max-params 2k)",
    }


@given(st.text(st.sampled_from("a%:,\r\n=;0AD325 "), max_size=30), st.text(st.sampled_from("b%:,\r\n0A"), max_size=20))
def test_whatever_a_name_holds_it_is_one_command(model, path):
    broken = LimitCheck(Limit("params", 1, model), 2, False, "broken", ((path, 2),))
    text = ci.render_annotations([Verdict("net.py:" + model, (broken,))])
    assert text.count("\n") == 1
    assert "\r" not in text
    kind, properties, message = parsed(text[:-1])
    assert (kind, properties["file"]) == ("error", "net.py")
    assert properties["title"].endswith(make_visible(f"({model})"))
    assert make_visible(f"Most of it: {path} (2, 100.0%)") in message


def test_what_is_kept_has_no_annotation():
    assert ci.render_annotations([check_profile(builders.profile(), [Limit("params", 2860, "")])]) == ""


def test_the_summary_counts_and_holds_the_tables():
    text = ci.render_step_summary([verdict(), verdict("b|c")])
    assert text.startswith("## archprof: 2 of 4 limits not kept\n\n**net against its limits**\n\n| Metric ")
    assert "**b\\|c against its limits**" in text
    assert re.search(r"\| parameters +\| 2,860 +\| 2,000 +\| 860 \(43.0%\) +\| max-params 2k +\| broken +\|", text)
    assert ci.render_step_summary([check_profile(builders.profile(), [Limit("params", 2860, "")])]).startswith(
        "## archprof: all 1 limits kept\n"
    )


def test_a_junit_report_has_a_suite_a_model_and_a_case_a_limit():
    root = ElementTree.fromstring(ci.render_junit([verdict(), verdict("other")]).encode())
    assert (root.tag, root.get("tests"), root.get("failures"), root.get("errors")) == ("testsuites", "4", "2", "0")
    assert [(suite.tag, suite.get("name"), suite.get("tests"), suite.get("failures")) for suite in root] == [
        ("testsuite", "net", "2", "1"), ("testsuite", "other", "2", "1"),
    ]  # fmt: skip
    cases = [(case.get("classname"), case.get("name"), [child.tag for child in case]) for case in root.iter("testcase")]
    assert cases[:2] == [("net", "parameters, max-params 2k", ["failure"]), ("net", "MACs, max-macs 20k", [])]
    failure = root.find(".//failure")
    assert failure.get("type") == "broken"
    assert failure.get("message") == failure.text == describe_check(verdict().broken[0])


def test_the_limits_of_a_baseline_are_cases_of_different_names():
    held = check_profile(builders.profile(), [], builders.profile())
    names = [case.get("name") for case in ElementTree.fromstring(ci.render_junit([held])).iter("testcase")]
    assert len(set(names)) == len(names) == len(COUNTED)


@pytest.mark.parametrize("name", [*builders.HOSTILE, "\x00\x0b\ud800", "]]>", "a&b<c>\"d'"])
def test_junit_is_xml_whatever_a_name_holds(name):
    broken = LimitCheck(Limit("params", 1, name), 2, False, "broken", ((name, 2),))
    root = ElementTree.fromstring(ci.render_junit([Verdict(name, (broken,))]).encode())
    assert len(list(root.iter("failure"))) == 1
    if name.isprintable():
        assert root[0].get("name") == name
        assert root.find(".//testcase").get("name") == f"parameters, {name}"


def test_a_lower_bound_fails_unless_it_is_allowed():
    unknown = verdict(profile=builders.with_unknown)
    allowed = verdict(profile=builders.with_unknown, allow_incomplete=True)
    types = [
        [f.get("type") for f in ElementTree.fromstring(ci.render_junit([v])).iter("failure")]
        for v in (unknown, allowed)
    ]
    assert types == [["broken", "unknown: lower bound"], ["broken"]]
    assert [len(ci.render_annotations([v]).splitlines()) for v in (unknown, allowed)] == [2, 1]


def test_json_has_the_numbers_in_base_units():
    read = json.loads(ci.render_verdicts_json([verdict()]))
    assert (read["schema"], read["ok"], read["verdicts"][0]["model"]) == (1, False, "net")
    assert read["verdicts"][0]["checks"][0] == {
        "metric": "params", "unit": "count", "value": 2860, "low": None, "high": None, "complete": True,
        "limit": 2000, "baseline": None,
        "over": 860, "source": "max-params 2k", "status": "broken", "passes": False, "refused": None,
        "largest": [
            {"path": "fc", "value": 2570}, {"path": "block.conv2", "value": 148}, {"path": "block.conv1", "value": 112},
        ],
    }  # fmt: skip


ACTION = ROOT / ".github" / "actions" / "archprof" / "action.yml"


def block(text, key, after=""):
    """The lines under the last `key: |` in a YAML text, without their indent."""
    match = re.findall(rf"^( *)(?:- )?{key}: \|\n((?:\1 +.*\n|\n)+)", text, re.MULTILINE)[-1]
    lines = match[1].splitlines()
    indent = min(len(line) - len(line.lstrip()) for line in lines if line.strip())
    return "\n".join(line[indent:] for line in lines) + "\n"


def declared():
    """The inputs that the action declares."""
    part = re.search(r"^inputs:\n((?:  .*\n)+)", ACTION.read_text(), re.MULTILINE)[1]
    return re.findall(r"^  ([a-z-]+):$", part, re.MULTILINE)


def test_the_action_has_the_fields_that_github_asks_for():
    """https://docs.github.com/en/actions/reference/workflows-and-actions/metadata-syntax"""
    text = ACTION.read_text()
    assert {"name", "description", "inputs", "runs"} <= set(re.findall(r"^([a-z]+):", text, re.MULTILINE))
    assert re.search(r"^runs:\n  using: composite\n  steps:\n", text, re.MULTILINE)
    steps = re.split(r"^    - ", text, flags=re.MULTILINE)[1:]
    assert all(re.search(r"^ +run: ", step, re.MULTILINE) and "      shell: bash\n" in step for step in steps)
    assert "\t" not in text
    assert set(re.findall(r"\$\{\{ inputs\.([a-z-]+) \}\}", text)) == set(declared())


def test_the_action_puts_no_input_into_its_scripts():
    """What a caller typed reaches bash in variables only, so that it cannot be run."""
    assert "${{" not in block(ACTION.read_text(), "run")


def test_the_action_is_yaml():
    yaml = pytest.importorskip("yaml", reason="no YAML parser is installed; the fields are checked without one above")
    action = yaml.safe_load(ACTION.read_text())
    assert action["runs"]["using"] == "composite"
    assert set(action["inputs"]) == set(declared())
    assert all(
        isinstance(each["description"], str) and isinstance(each["default"], str) for each in action["inputs"].values()
    )
    assert all(step["shell"] == "bash" and isinstance(step["run"], str) for step in action["runs"]["steps"])
    assert action["runs"]["steps"][-1]["run"] == block(ACTION.read_text(), "run")


def words_of(tmp_path, **given):
    """The words that the action's script calls `archprof` with."""
    stand_in = tmp_path / "archprof"
    stand_in.write_text('#!/bin/sh\nfor word in "$@"; do printf "%s\\n" "$word"; done\nexit 3\n')
    stand_in.chmod(0o755)
    names = (
        "MODELS",
        "INPUT",
        "MAX_PARAMS",
        "MAX_MACS",
        "MAX_FLOPS",
        "MAX_ACTIVATION",
        "MAX_PEAK",
        "MAX_MEMORY",
        "DEVICE",
        "BASELINE",
        "TOLERANCE",
    )
    env = dict.fromkeys(names, "") | {
        "ALLOW_INCOMPLETE": "false",
        "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
    }
    script = block(ACTION.read_text(), "run")
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
        env=env | given, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (3, "")
    return done.stdout.splitlines()


def test_the_action_calls_check_with_what_it_was_given(tmp_path):
    assert words_of(tmp_path) == ["check", "--format", "github", "--"]
    assert words_of(
        tmp_path, MODELS="net.py:Net(width=2, depth=3)\nvgg16\n", INPUT="3x8x8\nmask=bool[1,2]", MAX_PARAMS="25M",
        BASELINE="a b.json", TOLERANCE="1%", ALLOW_INCOMPLETE="true", MAX_PEAK="$(touch gone)",
        MAX_MEMORY="24GiB", DEVICE="RTX 4090",
    ) == [
        "check", "--format", "github", "--input", "3x8x8", "--input", "mask=bool[1,2]", "--max-params", "25M",
        "--max-peak", "$(touch gone)", "--max-memory", "24GiB", "--device", "RTX 4090",
        "--baseline", "a b.json", "--tolerance", "1%", "--allow-incomplete",
        "--", "net.py:Net(width=2, depth=3)", "vgg16",
    ]  # fmt: skip


def test_every_limit_that_needs_no_measurement_is_an_input_and_an_option_of_the_action():
    options = set(re.findall(r"option --(max-[a-z]+) ", block(ACTION.read_text(), "run")))
    expected = {f"max-{metric}" for metric in UNMEASURED}
    assert options == {name for name in declared() if name.startswith("max-")} == expected


def test_the_pre_commit_hook_has_the_fields_that_pre_commit_asks_for():
    """https://pre-commit.com/#creating-new-hooks"""
    text = (ROOT / ".pre-commit-hooks.yaml").read_text()
    fields = dict(re.findall(r"^(?:- |  )([a-z_]+): (.+)$", text, re.MULTILINE))
    assert {"id", "name", "entry", "language"} <= set(fields)
    assert fields["entry"] == "archprof check"
    assert fields["pass_filenames"] == "false"
