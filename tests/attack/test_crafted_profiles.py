"""A saved file that was damaged is refused in words, or can be used for all that a whole one can."""

from __future__ import annotations

import json
import os
from random import Random

import builders
import pytest
import torch
from attack.mutations import damage_json, damage_text, list_places
from torch import nn

import archprof
from archprof.analysis.contradictions import refuse_contradictions
from archprof.budgets.limits import parse_limit
from archprof.budgets.pyproject import read_settings
from archprof.budgets.verdicts import check_profile
from archprof.errors import ArchprofError, ProfileFileError
from archprof.facts import store
from archprof.facts.records import Profile
from archprof.predicting.devices import load_calibration

CALIBRATION = {
    "schema": 1, "device": "cpu", "name": "A processor", "copy_bytes_per_second": {"p50": 3e10, "low": 1, "high": 4e10},
    "matmul_flop_per_second": {"float32": {"p50": 1e12, "low": 9e11, "high": 2e12}}, "matmul_size": {"float32": 4096},
    "launch_seconds": {"p50": 1e-6, "low": 1e-6, "high": 2e-6}, "mark_seconds": 1e-7, "environment": {"torch": "2.14"},
}  # fmt: skip
SETTINGS = """
[tool.archprof]
max-params = "25M"
max-peak = "200MiB"
tolerance = "1%"
allow-incomplete = true
[[tool.archprof.check]]
model = "net.py:Net(width=2)"
input = ["3x224x224", "mask=bool[1,128]"]
batch = 4
train = true
max-params = 1000
max-macs = "4.1G"
baseline = "reports/net.json"
tolerance = 0.02
[[tool.archprof.check]]
model = "vgg16"
"""

MAKERS = {
    "convolutions": lambda: archprof.profile("lenet5"),
    "trained": lambda: archprof.profile(
        "conv3-8 bn relu pool2 flatten linear-10", "3x16x16", train=True, optimizer="adamw"
    ),
    "attention": lambda: archprof.profile(
        nn.Sequential(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), nn.GRU(8, 4)), torch.zeros(1, 5, 8)
    ),
    "measured": builders.measured,
    "measured on a GPU": builders.on_gpu,
    "stopped": builders.stopped,
}


def use(profile: Profile, whole: Profile) -> None:
    """All that is asked of a saved profile."""
    for by in ("layer", "stage", "kind", "op"):
        table = profile.table(by=by)
        for answer in (table.to_text, table.to_csv, table.to_markdown, table.to_json, table.to_latex):
            answer()
    profile.to_json()
    comparison = archprof.compare(whole, profile)
    comparison.to_text(100)
    comparison.to_json()
    most = {"params": "1M", "macs": "1G", "flops": "1", "activation": "1MiB", "peak": "1MiB"}
    check_profile(profile, [parse_limit(metric, text, metric) for metric, text in most.items()]).table.to_text()


def attack_profiles(kind: str, count: int) -> None:
    whole = MAKERS[kind]()
    text = whole.to_json()
    places = list_places(json.loads(text))
    for seed in range(count):
        damaged = damage_json(text, places, Random(f"{kind} {seed}"))
        try:
            use(store.from_json(damaged), whole)
        except ArchprofError:
            continue
        except Exception as error:
            raise AssertionError(f"mutation {seed} of {kind!r}") from error


@pytest.mark.parametrize("kind", MAKERS)
def test_a_damaged_profile_is_refused_or_can_be_used(kind: str) -> None:
    attack_profiles(kind, 60)


@pytest.mark.slow
@pytest.mark.parametrize("kind", MAKERS)
def test_ten_thousand_damaged_profiles(kind: str) -> None:
    attack_profiles(kind, 10_000 // len(MAKERS))


def attack_calibrations(tmp_path, count: int) -> None:
    text, path = json.dumps(CALIBRATION), tmp_path / "device.json"
    places = list_places(CALIBRATION)
    refused = 0
    for seed in range(count):
        rng = Random(seed)
        damaged = damage_json(text, places, rng) if seed % 2 else damage_text(text, rng)
        path.write_bytes(damaged.encode("utf-8", "surrogatepass"))
        try:
            device = load_calibration(path)
        except ArchprofError:
            refused += 1
            continue
        assert all(figure.value > 0 for figure in device.figures.values()), f"mutation {seed}"
    assert 0 < refused < count


def test_a_damaged_calibration_is_refused_or_can_be_used(tmp_path) -> None:
    attack_calibrations(tmp_path, 500)


@pytest.mark.slow
def test_ten_thousand_damaged_calibrations(tmp_path) -> None:
    attack_calibrations(tmp_path, 10_000)


def attack_settings(tmp_path, count: int) -> None:
    path = tmp_path / "pyproject.toml"
    refused = 0
    for seed in range(count):
        path.write_text(damage_text(SETTINGS, Random(seed)), encoding="utf-8")
        try:
            read_settings(tmp_path)
        except ArchprofError:
            refused += 1
        except Exception as error:
            raise AssertionError(f"mutation {seed}") from error
    assert 0 < refused < count


def test_damaged_settings_are_refused_or_can_be_used(tmp_path) -> None:
    attack_settings(tmp_path, 500)


@pytest.mark.slow
def test_ten_thousand_damaged_settings(tmp_path) -> None:
    attack_settings(tmp_path, 10_000)


@pytest.mark.parametrize(
    "text", ["x = " + "[" * 100_000, "x = 9" * 5_000, "[tool.archprof]\nmax-params = " + "9" * 5000]
)
def test_settings_that_a_parser_cannot_take_are_refused(text: str, tmp_path) -> None:
    (tmp_path / "pyproject.toml").write_text(f"{text}\n# archprof")
    with pytest.raises(ArchprofError):
        read_settings(tmp_path)


@pytest.mark.parametrize("load", [archprof.load, load_calibration], ids=["profile", "calibration"])
def test_a_file_that_never_ends_or_is_too_large_is_refused_by_its_size(load, tmp_path) -> None:
    sparse = tmp_path / "large.json"
    with sparse.open("wb") as file:
        file.truncate(10 * 2**30)
    endless = tmp_path / "endless.json"
    endless.symlink_to("/dev/zero")
    for path in (sparse, endless) if os.path.exists("/dev/zero") else (sparse,):
        with pytest.raises(ArchprofError, match=r"more than .* MiB"):
            load(path)


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("macs", "many", r"ops\[0\]\.signature\.macs is a text"),
        ("bytes_read", -5, r"ops\[0\]\.signature\.bytes_read is -5"),
        ("flops", 2**100, r"ops\[0\]\.signature\.flops is a number out of range"),
        ("args", [[[]]] * 3, None),
        ("args", {"a": 1}, r"ops\[0\]\.signature\.args is an object"),
        ("status", "guessed", r"ops\[0\]\.signature\.status is a text, and none of counted, zero, unknown"),
    ],
)
def test_a_refusal_names_the_place(column: str, value: object, words: str | None) -> None:
    data = json.loads(builders.profile().to_json())
    data["signatures"]["rows"][0][data["signatures"]["columns"].index(column)] = value
    if words is None:
        store.from_json(json.dumps(data))
        return
    with pytest.raises(ProfileFileError, match=words):
        store.from_json(json.dumps(data))


def test_a_fault_of_our_own_is_no_fault_of_a_file() -> None:
    """The same ops contradict each other in what was read and in what was made here."""

    def follow(profile: Profile) -> object:
        return profile.ops[len(profile.ops)]

    made = builders.profile()
    with pytest.raises(ProfileFileError, match="cannot be followed: IndexError"):
        refuse_contradictions(follow)(store.from_json(made.to_json()))
    with pytest.raises(IndexError):
        refuse_contradictions(follow)(made)
