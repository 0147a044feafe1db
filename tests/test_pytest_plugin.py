"""The fixture `archprof_check`, in a pytest of its own; and `archprof.check`, which it shares with the command."""

import subprocess
import sys

import pytest

import archprof
from archprof.errors import UnknownName, UsageError

pytest_plugins = ["pytester"]

NET = """
import torch.nn as nn

class Net(nn.Sequential):
    def __init__(self, width=4):
        super().__init__(nn.Conv2d(3, width, 3, padding=1), nn.Flatten(), nn.Linear(width * 64, 10))
"""
"""On 3x8x8: 4*28 + 2570 = 2,682 parameters; 64*4*27 + 2560 = 9,472 MACs."""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with the model, the current one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(NET)
    return tmp_path


@pytest.fixture
def run_tests(pytester):
    """Run these tests with the plugin, beside the model; whether it is installed as an entry point does not matter."""

    def run(tests, pyproject=""):
        pytester.path.joinpath("net.py").write_text(NET)
        pytester.path.joinpath("pyproject.toml").write_text(pyproject)
        pytester.makepyfile(tests)
        return pytester.runpytest_inprocess("-p", "no:archprof", "-p", "archprof.pytest_plugin")

    return run


def test_the_fixture_passes_and_fails_by_the_limits(run_tests):
    result = run_tests(
        """
        def test_small(archprof_check):
            archprof_check("net.py:Net", max_params="2,682", max_macs=9472, inputs="3x8x8")

        def test_large(archprof_check):
            archprof_check("net.py:Net", max_params="2,681", max_macs="1G", inputs="3x8x8")
        """
    )
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            "*AssertionError:*",
            "*net.py:Net against its limits*",
            "*parameters *2,682 *2,681 *1 (<0.1%)*max-params 2,681*broken*",
            "*MACs *9,472 *1.00 G *ok*",
            "*Most of it: 2 (2,570, 95.8%),*",
        ]
    )


def test_the_fixture_takes_a_module_and_names_what_it_does_not_know(run_tests):
    result = run_tests(
        """
        import pytest, torch
        from archprof import UnknownName

        def test_module(archprof_check):
            net = torch.nn.Linear(4, 2)
            archprof_check(net, (1, 4), max_params=10, max_macs=8)
            with pytest.raises(AssertionError, match="Linear against its limits"):
                archprof_check(net, torch.zeros(1, 4), max_params=9)

        def test_slip(archprof_check):
            with pytest.raises(UnknownName, match="Near it: max-params"):
                archprof_check(torch.nn.Linear(4, 2), (1, 4), max_parms=10)
        """
    )
    result.assert_outcomes(passed=2)


def test_the_fixture_without_limits_checks_what_pyproject_says(run_tests):
    result = run_tests(
        """
        def test_listed(archprof_check):
            archprof_check("net.py:Net")

        def test_for_all(archprof_check):
            archprof_check("net.py:Net(width=8)", inputs="3x8x8")
        """,
        "[tool.archprof]\nmax-params = 3000\n"
        "[[tool.archprof.check]]\nmodel = 'net.py:Net'\ninput = '3x8x8'\nmax-params = 2_682\n",
    )
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*parameters*5,354*3,000*2,354 (78.5%)*pyproject.toml: max-params = 3000*"])


def test_loading_the_plugin_loads_nothing_heavy():
    heavy = ("torch", "numpy", "pandas", "rich", "typer", "hypothesis")
    code = f"import sys, archprof.pytest_plugin; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_run_gives_a_verdict_a_model_in_order(here):
    verdicts = archprof.check(["net.py:Net", "net.py:Net(width=8)"], max_params="3k", max_macs=None, inputs="3x8x8")
    assert [(v.model, v.ok, len(v.checks)) for v in verdicts] == [
        ("net.py:Net", True, 1),
        ("net.py:Net(width=8)", False, 1),
    ]


def test_run_against_a_baseline(here):
    archprof.profile("net.py:Net", "3x8x8").save("net.json")
    assert archprof.check("net.py:Net", inputs="3x8x8", baseline="net.json")[0].ok
    (wider,) = archprof.check("net.py:Net(width=5)", inputs="3x8x8", baseline="net.json", tolerance="1%")
    assert {each.limit.metric for each in wider.broken} == {"params", "macs", "flops", "activation", "peak"}
    assert archprof.check("net.py:Net(width=5)", inputs="3x8x8", baseline="net.json", tolerance="30%")[0].ok
    assert archprof.check("net.json", baseline="net.json")[0].ok
    for options in ({"batch": 2}, {"dtype": "float16"}, {"train": True}):
        with pytest.raises(UsageError, match=r"net\.py:Net and its baseline were traced otherwise"):
            archprof.check("net.py:Net", inputs="3x8x8", baseline="net.json", **options)


LISTED = """
[tool.archprof]
max-macs = "1G"
[[tool.archprof.check]]
model = "net.py:Net"
input = ["3x8x8"]
max-params = "2,682"
[[tool.archprof.check]]
model = "net.py:Net"
input = ["[2,3,8,8]"]
max-params = "1"
"""


def test_run_without_a_model_checks_all_that_pyproject_lists(here, monkeypatch):
    (here / "pyproject.toml").write_text(LISTED)
    verdicts = archprof.check()
    assert [(v.ok, [each.limit.metric for each in v.checks]) for v in verdicts] == [
        (True, ["macs", "params"]), (False, ["macs", "params"]),
    ]  # fmt: skip
    assert [v.ok for v in archprof.check(max_params="1M")] == [True, True]
    (here / "deep").mkdir()
    monkeypatch.chdir(here / "deep")
    assert [v.ok for v in archprof.check()] == [True, False]


def test_what_run_refuses(here):
    with pytest.raises(UsageError, match=r"No model was named.*\n.*\n\[\[tool.archprof.check\]\]"):
        archprof.check()
    with pytest.raises(UsageError, match=r"nothing to check net.py:Net against"):
        archprof.check("net.py:Net", inputs="3x8x8")
    with pytest.raises(UsageError, match="One baseline was given for 2 models"):
        archprof.check(["a.json", "b.json"], baseline="c.json")
    with pytest.raises(UnknownName, match="Near it: max-params"):
        archprof.check(["net.py:Net"], max_parms=3)
    with pytest.raises(UsageError, match="needs a measured profile"):
        archprof.check(["gone.py:Net"], max_latency="5ms")
    (here / "pyproject.toml").write_text(LISTED)
    with pytest.raises(UsageError, match="input, batch was given without a model"):
        archprof.check(inputs="3x8x8", batch=2)
