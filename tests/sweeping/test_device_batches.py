"""The largest batch on each GPU: the next does not fit, by hand and by a search that tries otherwise."""

from __future__ import annotations

import json
from typing import Any

import pytest
from torch import nn
from typer.testing import CliRunner

import archprof
from archprof import cli
from archprof.predicting.devices import resolve_device
from archprof.predicting.memory import LAZY_CONTEXT_BYTES
from archprof.predicting.memory_capacity import find_capacity
from archprof.sweeping import device_batches

MIB = 1 << 20


def on_each_device(model: Any, inputs: Any = None, **options: Any) -> dict[str, device_batches.OnDevice]:
    answer = archprof.predict_memory(model, inputs, device="all", **options)
    return {one.verdict.device: one for one in answer.devices or ()}


def test_the_largest_batch_by_hand() -> None:
    """n MiB go in and out of a ReLU, each in a segment of its own in steps of 2 MiB."""
    answer = archprof.predict_memory(nn.ReLU(), "262144", batch=16, device="all")
    assert answer.devices is not None
    assert len(answer.devices) > 30
    for (_, capacity, _), largest in answer.devices:
        expected = 2 * ((capacity - LAZY_CONTEXT_BYTES) // (4 * MIB))
        assert (
            largest == (expected, True) if expected < device_batches.MOST_BATCH else (device_batches.MOST_BATCH, False)
        )


@pytest.mark.parametrize("options", [{}, {"train": True, "optimizer": "adamw"}])
def test_it_is_what_fit_finds(options: dict[str, object]) -> None:
    found = on_each_device("alexnet", **options)
    for name in ("t4", "4090"):
        rows = archprof.fit("alexnet", over="batch", device=name, **options).records()
        largest = found[resolve_device(name).name].largest
        assert largest is not None
        assert largest.exact
        said = int([row["setting"] for row in rows if row["fits"] == "yes"][-1].removeprefix("batch "))
        # Segments fall as they fall: what a run needs may fall from one batch to the next: two edges.
        if said != largest.batch:
            assert [fits("alexnet", name, batch, **options) for batch in (said, said + 1)] == [True, False]
        assert [fits("alexnet", name, largest.batch + more, **options) for more in (0, 1)] == [True, False]


def fits(model: str, device: str, batch: int, **options: object) -> bool:
    """Whether a batch goes through, as predicted."""
    needed = archprof.predict_memory(model, batch=batch, device=device, **options).prediction.needed_bytes
    return needed.value <= find_capacity(resolve_device(device))


@pytest.mark.parametrize("name", ["NVIDIA H100 NVL", "NVIDIA T4"])
def test_the_next_does_not_fit_by_the_workspaces_of_the_device(name: str) -> None:
    largest = on_each_device("alexnet", batch=64, train=True)[name].largest
    assert largest is not None
    used = [
        archprof.predict_memory("alexnet", batch=batch, train=True, device=name).prediction.needed_bytes.value
        for batch in (largest.batch, largest.batch + 1)
    ]
    assert used[0] <= find_capacity(resolve_device(name)) < used[1]


def test_large_models_get_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = on_each_device("alexnet", batch=8)
    monkeypatch.setattr(device_batches, "AFFORDABLE_OPS", 0)
    answer = archprof.predict_memory("alexnet", batch=8, device="all")
    for one in answer.devices or ():
        known = exact[one.verdict.device].largest
        assert known is not None
        assert one.largest is not None
        assert 0.9 * known.batch <= one.largest.batch <= known.batch
        assert not one.largest.exact
    assert not answer.table().complete
    assert any("archprof fit finds it" in note for note in answer.table().notes)
    monkeypatch.setattr(device_batches, "MOST_OPS", 0)
    few = on_each_device("alexnet", batch=8)
    assert {one.largest for one in few.values()} == {(16, False)}  # the two that are traced in any case


def test_exact_inputs_have_no_other_batch() -> None:
    answer = archprof.predict_memory(nn.ReLU(), (4, 4), device="all")
    assert {one.largest for one in answer.devices or ()} == {None}
    assert "The inputs are exact, so that there is no other batch." in answer.table().notes


def test_weights_that_do_not_fit_leave_no_batch() -> None:
    net = nn.Linear(2**17, 2**16, bias=False, device="meta")  # 32 GiB
    found = on_each_device(net, "131072")
    assert found["NVIDIA T4"].largest == (0, True)
    assert found["NVIDIA T4"].verdict.word == "does not fit"
    assert found["NVIDIA H200 SXM"].largest is not None
    assert found["NVIDIA H200 SXM"].largest.batch > 0


def test_the_command_writes_both() -> None:
    words = ["memory", "lenet5", "--device", "all"]
    told = json.loads(CliRunner().invoke(cli.app, [*words, "--format", "json"]).stdout)["devices"]
    assert {"device", "capacity", "verdict", "largest_batch", "largest_batch_is_exact"} == told[0].keys()
    shown = CliRunner().invoke(cli.app, words).stdout
    assert "NVIDIA H100 SXM5 80GB" in shown
    assert "65,536" in shown
