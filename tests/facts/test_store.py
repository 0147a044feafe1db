"""What is saved is what is loaded, and nothing else is taken for a profile."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import builders
import pytest
import torch

import archprof
from archprof.errors import ArchprofError, ProfileFileError
from archprof.facts import store
from archprof.facts.records import Profile, Signature, Window

PROFILES: dict[str, Callable[[], Profile]] = {
    "plain": builders.profile, "unknown ops": builders.with_unknown, "stopped": builders.stopped,
    "trained": builders.trained, "hostile names": builders.hostile,
    "measured": builders.measured,
    "measured on a GPU": builders.on_gpu,
    "compiled": lambda: builders.measured(latencies=(builders.LATENCY._replace(attributed=True),)),
}  # fmt: skip


@pytest.mark.parametrize("kind", PROFILES)
def test_what_is_loaded_is_what_was_saved(kind: str, tmp_path: Path) -> None:
    profile = PROFILES[kind]()
    profile.save(tmp_path / "a.json")
    loaded = archprof.load(tmp_path / "a.json")
    assert loaded == profile
    assert loaded.totals == profile.totals
    assert loaded.to_json() == (tmp_path / "a.json").read_text()


def test_types_survive_json() -> None:
    base = builders.profile()
    window = Window((3, 3), (1, 1), (1, 1), (2, 2), 4, True)
    ops = (builders.change_op(base.ops[0], window=window), *base.ops[1:])
    loaded = store.from_json(builders.profile(ops=ops).to_json())
    assert loaded.ops[0].window == window
    assert isinstance(loaded.ops[0].window, Window)
    assert isinstance(loaded.ops[0].inputs, tuple)
    assert isinstance(loaded.tensors[0].spec.shape, tuple)
    hash((loaded.ops, loaded.tensors, loaded.storages, loaded.layers))


def test_the_public_interface() -> None:
    data = json.loads(builders.with_unknown().to_json())
    assert data["schema"] == 2
    assert data["totals"]["complete"] is False
    assert {"params", "trainable_params", "buffers", "macs", "flops", "activation_elements"} < data["totals"].keys()
    assert data["totals"]["activation_bytes"].keys() == {"float32", "float16", "bfloat16"}
    layer = data["layers"][2]
    assert (layer["path"], layer["kind"], layer["depth"], layer["call"]) == ("block.conv1", "Conv2d", 2, 0)
    assert (layer["input_shapes"], layer["output_shapes"]) == ([[1, 3, 8, 8]], [[1, 4, 8, 8]])
    assert (layer["macs"], layer["flops"], layer["params"]) == (6912, 14080, 112)
    assert layer["receptive_field"]["size"] is layer["latency_seconds"] is None
    assert layer["receptive_field"]["reason"]
    assert data["layers"][-1]["call"] is None
    assert [op["op"] for op in data["unknown_ops"]] == ["aten.mystery"]


def test_latency_of_the_public_interface() -> None:
    data = json.loads(builders.measured().to_json())
    found = {(layer["path"], layer["call"]): layer["latency_seconds"] for layer in data["layers"]}
    latency = {"p50": 0.01004, "p90": 0.01015, "low": 0.00995, "high": 0.01015, "samples": 3}
    assert found[("block.conv1", 0)] == pytest.approx(latency)
    assert found[("aux", None)] is None
    assert json.loads(builders.profile().to_json())["overlays"] == []


def changed(change: Callable[[dict[str, Any]], Any], profile: Profile | None = None) -> str:
    data = json.loads((profile or builders.profile()).to_json())
    change(data)
    return json.dumps(data)


def put(*keys: Any, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(data: dict[str, Any]) -> None:
        place: Any = data
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value

    return change


MEASURED = builders.measured()
MACS = Signature._fields.index("macs")

CORRUPT: dict[str, tuple[str, str]] = {
    "empty": ("", "not JSON"),
    "truncated": (builders.profile().to_json()[:-200], "not JSON"),
    "binary": ("\x00\x01", "not JSON"),
    "too deep": ("[" * 100_000, "not JSON"),
    "a list": ("[1]", "not a profile"),
    "another object": ('{"a": 1}', "not a profile"),
    "schema of words": ('{"schema": "one"}', "not a profile"),
    "schema of a truth value": (changed(put("schema", value=True)), "not a profile"),
    "older schema": (changed(put("schema", value=0)), "schema 0"),
    "newer schema": (changed(put("schema", value=99)), "schema 99"),
    "no layers": (changed(lambda data: data.pop("layers")), "corrupt"),
    "layers of another kind": (changed(put("layers", value={"a": 1})), "not in accord"),
    "no calls": (changed(lambda data: data.pop("calls")), "corrupt"),
    "an op of no call": (changed(put("ops", "rows", 0, 1, value=99)), "corrupt"),
    "an op with a missing column": (changed(lambda data: data["ops"]["rows"][0].pop(0)), "corrupt"),
    "an op of unknown tensors": (changed(put("ops", "rows", 0, 3, value=[99])), "corrupt"),
    "an op of an unknown signature": (changed(put("ops", "rows", 0, 0, value=99)), "corrupt"),
    "counts that are words": (changed(put("signatures", "rows", 0, MACS, value="many")), "corrupt"),
    "a module that holds itself": (changed(put("modules", "rows", 2, 2, value=2)), "corrupt"),
    "a call of no module": (changed(put("calls", "rows", 2, 0, value=99)), "corrupt"),
    "a call made by a later one": (changed(put("calls", "rows", 2, 1, value=3)), "corrupt"),
    "a second call without a first": (changed(put("calls", "rows", 2, 2, value=1)), "corrupt"),
    "a parameter of no module": (changed(put("parameters", "rows", 0, 1, value=99)), "corrupt"),
    "a parameter in no storage": (changed(put("parameters", "rows", 0, 6, value=99)), "corrupt"),
    "two parameters of one name": (changed(put("parameters", "rows", 1, 0, value="block.conv1.trained")), "corrupt"),
    "a storage of an unknown dtype": (changed(put("storages", "rows", 1, 1, value="float3")), "corrupt"),
    "a storage of a later op": (changed(put("storages", "rows", 1, 3, value=99)), "corrupt"),
    "a measured layer that is none": (
        changed(put("overlays", 0, "latencies", 0, "layers", 0, 0, value=99), MEASURED),
        "corrupt",
    ),
    "a layer measured twice": (
        changed(put("overlays", 0, "latencies", 0, "layers", 1, 0, value=1), MEASURED),
        "corrupt",
    ),
    "a round without samples": (
        changed(put("overlays", 0, "latencies", 0, "whole", 1, 0, value=[]), MEASURED),
        "corrupt",
    ),
    "no rounds": (changed(put("overlays", 0, "latencies", 0, "whole", 1, value=[]), MEASURED), "corrupt"),
    "samples that are words": (
        changed(put("overlays", 0, "latencies", 0, "whole", 1, 0, 0, value="1"), MEASURED),
        "corrupt",
    ),
    "memory in words": (changed(put("overlays", 0, "memory", 0, 1, value="much"), MEASURED), "corrupt"),
    "an unknown field of a measurement": (changed(put("overlays", 0, "colour", value="red"), MEASURED), "corrupt"),
    "an overlay of another kind": (changed(put("overlays", 0, "kind", value="guessed"), MEASURED), "corrupt"),
    "an overlay that is none": (changed(put("overlays", value=[1]), MEASURED), "corrupt"),
    "a measured row of nothing": (
        changed(put("overlays", 0, "latencies", 0, "rest", 0, 0, value="lunch"), MEASURED),
        "corrupt",
    ),
    "edited totals": (changed(put("totals", "macs", value=1)), "not in accord"),
    "edited params": (changed(put("totals", "params", value=1)), "not in accord"),
    "an edited op": (changed(put("signatures", "rows", 0, MACS, value=1)), "not in accord"),
    "an edited layer": (changed(put("layers", 2, "params", value=1)), "not in accord"),
    "an edited storage": (changed(put("storages", "rows", 1, 0, value=4)), "not in accord"),
}


@pytest.mark.parametrize("kind", CORRUPT)
def test_anything_else_is_refused_in_words(kind: str, tmp_path: Path) -> None:
    text, words = CORRUPT[kind]
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ProfileFileError, match=words) as caught:
        archprof.load(tmp_path / "a.json")
    assert str(tmp_path / "a.json") in str(caught.value)


def test_what_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "latin.json").write_bytes(b'{"model": "\xff"}')
    for path in (tmp_path / "missing.json", tmp_path, tmp_path / "latin.json"):
        with pytest.raises(ProfileFileError, match="cannot be read"):
            archprof.load(path)


def test_a_byte_order_mark_is_no_harm(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("\ufeff" + builders.profile().to_json(), encoding="utf-8")
    assert archprof.load(tmp_path / "a.json") == builders.profile()


def test_a_path_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(ArchprofError, match="no folder"):
        builders.profile().save(tmp_path / "missing" / "a.json")


def test_a_failed_save_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    builders.profile().save(path)
    monkeypatch.setattr(store.json, "dumps", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        builders.trained().save(path)
    monkeypatch.undo()
    assert archprof.load(path) == builders.profile()


def test_profile_of_a_json_is_the_saved_one(tmp_path: Path) -> None:
    builders.profile().save(tmp_path / "a.json")
    assert archprof.profile(str(tmp_path / "a.json")) == builders.profile()


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_json_is_strict(number: float) -> None:
    with pytest.raises((ProfileFileError, ValueError)):
        store.from_json(changed(put("totals", "macs", value=number)))


def test_a_profile_shows_itself_in_one_line():
    assert repr(builders.profile()).count("\n") == 0
    net = archprof.profile(torch.nn.Linear(3, 2), (4, 3))
    assert repr(net) == "<Profile of Linear: [4,3]; batch 1; forward pass in float32; 8 params, 24 MACs>"


def test_reading_leaves_the_collector_as_it_was() -> None:
    """What others froze, as before a fork, stays so; what was read is collected like anything else."""
    text = archprof.profile("lenet5").to_json()
    assert gc.get_freeze_count() == 0
    store.from_json(text)
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0
    gc.freeze()
    try:
        store.from_json(text)
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()
