"""`[tool.archprof]`: what is read, from which file, and what is refused."""

import os
import sys
from fractions import Fraction
from pathlib import Path

import pytest

from archprof.budgets.limits import Limit
from archprof.budgets.pyproject import SETTINGS_FILE, CheckJob, Settings, read_settings
from archprof.errors import ArchprofError, UnknownName, UsageError

WHOLE = """
[project]
name = "mine"

[tool.archprof]
max-params = "25M"
max-peak = "200MiB"
tolerance = "1%"
allow-incomplete = true

[[tool.archprof.check]]
model = "net.py:Net(width=2)"
input = ["3x224x224", "mask=bool[1,128]"]
batch = 4
dtype = "float16"
train = true
causal = "half"
max-params = 1000
max-macs = "4.1G"
baseline = "reports/net.json"
tolerance = 0.02
allow-incomplete = false

[[tool.archprof.check]]
model = "vgg16"
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def settings(folder, text):
    (folder / SETTINGS_FILE).write_text(text, encoding="utf-8")
    return read_settings(folder)


def test_the_whole_of_it(folder):
    shared = (
        Limit("params", 25_000_000, "pyproject.toml: max-params = 25M"),
        Limit("peak", 200 * 2**20, "pyproject.toml: max-peak = 200MiB"),
    )
    own = (
        Limit("params", 1000, "pyproject.toml: max-params = 1000"),  # goes before the one for all models
        shared[1],
        Limit("macs", 4_100_000_000, "pyproject.toml: max-macs = 4.1G"),
    )
    options = {
        "inputs": ["3x224x224", "mask=bool[1,128]"],
        "batch": 4,
        "dtype": "float16",
        "train": True,
        "causal": "half",
    }
    assert settings(folder, WHOLE) == Settings(
        CheckJob(None, {}, shared, None, Fraction(1, 100), True),
        (
            CheckJob("net.py:Net(width=2)", options, own, "reports/net.json", Fraction(2, 100), False),
            CheckJob("vgg16", {}, shared, None, Fraction(1, 100), True),
        ),
    )


@pytest.mark.parametrize("text", ["", "[project]\nname = 'archprof-user'\n", "[tool.ruff]\nline-length = 88\n"])
def test_a_file_that_says_nothing_of_archprof(text, folder):
    assert settings(folder, text) == Settings()


def test_the_nearest_file_that_has_settings(folder):
    deep = folder / "a" / "b"
    deep.mkdir(parents=True)
    (folder / SETTINGS_FILE).write_text("[tool.archprof]\nmax-macs = 1\n")
    assert [limit.most for limit in read_settings(deep).shared.limits] == [1]
    (folder / "a" / SETTINGS_FILE).write_text("[tool.archprof]\nmax-macs = 2\n")
    assert [limit.most for limit in read_settings(deep).shared.limits] == [2]
    (deep / SETTINGS_FILE).write_text("[project]\nname = 'part'\n")
    assert [limit.most for limit in read_settings(deep).shared.limits] == [2]


def test_paths_are_relative_to_the_folder_of_the_file(folder, monkeypatch):
    (folder / "deep").mkdir()
    monkeypatch.chdir(folder / "deep")
    (folder / SETTINGS_FILE).write_text(
        WHOLE + '[[tool.archprof.check]]\nmodel = "saved.json"\n'
        '[[tool.archprof.check]]\nmodel = "mine.nets:Net"\nbaseline = "/var/net.json"\n'
        '[[tool.archprof.check]]\nmodel = "torchvision:resnet18"\n'
    )
    jobs = read_settings(Path()).jobs
    up = f"..{os.sep}"
    assert [job.model for job in jobs] == [
        f"{up}net.py:Net(width=2)", "vgg16", f"{up}saved.json", "mine.nets:Net", "torchvision:resnet18",
    ]  # fmt: skip
    assert [job.baseline for job in jobs] == [
        os.path.join("..", "reports", "net.json"),
        None,
        None,
        "/var/net.json",
        None,
    ]


CHECK = "[[tool.archprof.check]]\nmodel = 'vgg16'\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[tool.archprof]\nmax-parms = '1M'", r"in \[tool.archprof\] of .* called 'max-parms'.\nNear it: max-params"),
        ("[tool.archprof]\nmodel = 'vgg16'", r"called 'model'"),
        ("[tool.archprof]\nchecks = []", r"called 'checks'.\nNear it: check"),
        (CHECK + "inputs = '3x4x4'", r"no key in \[\[tool.archprof.check\]\] number 1 .*'inputs'.\nNear it: input"),
        (CHECK + CHECK + "max_macs = '1G'", r"number 2 .*'max_macs'.\nNear it: max-macs"),
    ],
)  # fmt: skip
def test_unknown_keys_are_errors_with_near_misses(text, said, folder):
    with pytest.raises(UnknownName, match=said):
        settings(folder, text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[tool.archprof]\nmax-params = 2.5", r"max-params = 2.5 in .* wrong type.\n.* is a text or a whole number"),
        ("[tool.archprof]\nmax-params = true", "wrong type"),
        ("[tool.archprof]\ntolerance = false", "tolerance is a text or a number"),
        ("[tool.archprof]\nallow-incomplete = 1", "allow-incomplete is true or false"),
        (CHECK + "input = 224", "input is a text or a list of texts"),
        (CHECK + "input = ['3x4x4', 3]", "input is a text or a list of texts"),
        (CHECK + "batch = '4'", "batch is a whole number"),
        (CHECK + "batch = true", "batch is a whole number"),
        (CHECK + "baseline = 3", "baseline is a text"),
        ("[[tool.archprof.check]]\nmodel = ['vgg16']", "model is a text"),
        ("[[tool.archprof.check]]\nmax-macs = '1G'", r"number 1 of pyproject.toml names no model.\n.*net.py:Net"),
        ("[tool.archprof]\ncheck = 'vgg16'", r"so is each \[\[tool.archprof.check\]\]"),
        ("[tool.archprof.check]\nmodel = 'vgg16'", r"so is each \[\[tool.archprof.check\]\]"),
        ("[tool]\narchprof = 3", "It is a table"),
        ("[tool.archprof]\nmax-params = '25q'", "pyproject.toml: max-params = 25q: '25q' cannot be read"),
        ("[tool.archprof]\nmax-params = -5", "'-5' cannot be read"),
        ("[tool.archprof]\nmax-activation = 60", "A size is a number with B, KiB"),
        ("[tool.archprof]\nmax-latency = 5", "A time is a number"),
        ("[tool.archprof]\ntolerance = '1'", "is no tolerance"),
    ],
)  # fmt: skip
def test_wrong_values_are_errors(text, said, folder):
    with pytest.raises(UsageError, match=said):
        settings(folder, text)


@pytest.mark.parametrize("text", ["[tool.archprof\n", "[tool.archprof]\nmax-params = 25M\n"])
def test_a_file_that_is_not_toml(text, folder):
    with pytest.raises(ArchprofError, match=r"pyproject.toml cannot be read: "):
        settings(folder, text)


def test_a_file_that_is_not_text(folder):
    (folder / SETTINGS_FILE).write_bytes(b"\xff\xfe[tool.archprof]")
    with pytest.raises(ArchprofError, match=r"pyproject.toml cannot be read: "):
        read_settings(folder)


def test_a_python_without_a_parser(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "tomllib", None)
    monkeypatch.setitem(sys.modules, "tomli", None)
    assert settings(folder, "[tool.ruff]\n") == Settings()
    with pytest.raises(ArchprofError, match=r"3\.10 needs the package tomli"):
        settings(folder, WHOLE)


def test_tomli_stands_in(folder, monkeypatch):
    parser = pytest.importorskip("tomllib", reason="this Python has no tomllib to lend to tomli")
    monkeypatch.setitem(sys.modules, "tomllib", None)
    monkeypatch.setitem(sys.modules, "tomli", parser)
    assert settings(folder, WHOLE).jobs
