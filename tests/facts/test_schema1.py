"""Files of schema 1, as archprof 0.1 wrote them, still load: two of the gallery and a measured training step."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import archprof
from archprof.errors import ProfileFileError
from archprof.facts import store
from archprof.facts.overlays import Outside

FOLDER = Path(__file__).parent / "schema1"
FILES = sorted(FOLDER.glob("*.json"))


def written(name: str) -> dict[str, Any]:
    return json.loads((FOLDER / f"{name}.json").read_text())


@pytest.mark.parametrize(
    ("name", "params", "macs"),
    [
        ("alexnet-b1-float32", 61_100_840, 714_188_480),  # torchvision's published counts
        ("resnet18-b1-float32", 11_689_512, 1_814_073_344),
        # 3 -> 4 channels, 3x3 without bias: 108, frozen; norm 8; 4 -> 2 with bias: 10; never called, 5 -> 5: 30.
        # Two images of 6x6 positions: 2 * 36 * 4 * 27 MACs, and 2 * 4 * 2.
        ("measured-step", 108 + 8 + 10 + 30, 2 * 36 * 4 * 27 + 2 * 4 * 2),
    ],
)
def test_totals_by_hand(name: str, params: int, macs: int) -> None:
    profile = archprof.load(FOLDER / f"{name}.json")
    assert (profile.totals.params, profile.totals.macs, profile.totals.complete) == (params, macs, True)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_nothing_that_a_reader_sees_changes(path: Path) -> None:
    profile, old = archprof.load(path), json.loads(path.read_text())
    new = json.loads(profile.to_json())
    assert new["schema"] == 2
    assert new["layers"] == old["layers"]
    assert new["totals"] == {**old["totals"], "lower_bounds": []}
    assert new["unknown_ops"] == old["unknown_ops"]
    assert {key: new["environment"][key] for key in old["environment"]} == old["environment"]
    assert store.from_json(profile.to_json()) == profile


def test_what_was_measured_is_keyed_by_call() -> None:
    profile, [old] = archprof.load(FOLDER / "measured-step.json"), written("measured-step")["measurement"]["latencies"]
    assert profile.measurement is not None
    latency = profile.measurement.latency
    assert latency is not None
    names = [(profile.modules[call.module].path, call.number) for call in profile.calls]
    assert [[*names[row.key], row.p50] for row in latency.layers] == [
        [path, call, pytest.approx(rounds[0][0])] for path, call, rounds in old["layers"]
    ]
    assert latency.whole.key is Outside.WHOLE
    assert Outside.OPTIMIZER_STEP in {row.key for row in latency.rest}


def test_words_of_old_become_data() -> None:
    text = (FOLDER / "measured-step.json").read_text()
    for on, allowed in (("on", True), ("True", True), ("off", False), ("False", False)):
        data = json.loads(text)
        data["measurement"] |= {"device": "cuda", "device_name": "NVIDIA H200"}
        data["measurement"]["environment"] |= {"tf32 in cudnn": on, "tf32 in matrix products": "off"}
        ran = store.from_json(json.dumps(data)).measurement.ran
        assert (ran.tf32_cudnn, ran.tf32_matmul, ran.allows_tf32) == (allowed, False, allowed)
    assert archprof.load(FOLDER / "measured-step.json").measurement.ran.threads == 2


@pytest.mark.parametrize("change", ["totals", "ops", "layers"])
def test_an_edited_file_is_refused(change: str) -> None:
    data = written("alexnet-b1-float32")
    if change == "totals":
        data["totals"]["macs"] += 1
    elif change == "ops":
        data["ops"]["rows"][0][5] += 1
    else:
        data["layers"][2]["params"] += 1
    with pytest.raises(ProfileFileError, match="not in accord"):
        store.from_json(json.dumps(data))
