"""Predictions as tables and JSON, on a hand-built one: rows add up, intervals stay, nothing is called measured."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import builders
import pytest

import archprof
from archprof.analysis.latency import LatencyAnswer, count_samples
from archprof.analysis.latency_json import write_layers
from archprof.analysis.predicted import PredictedTime
from archprof.analysis.tables.layers import tabulate_layers
from archprof.facts.overlays import Outside
from archprof.facts.predicted import LatencyPrediction, PredictedRow, Seconds
from archprof.facts.records import Decoding
from archprof.predicting.runs import add_prediction, predict_on

MS = 1e-3


def row(key: object, p50: float, arithmetic: float, memory: float, launch: float) -> PredictedRow:
    """A row in milliseconds, from half to twice."""
    seconds = Seconds(p50 * MS, p50 * MS / 2, p50 * MS * 2)
    return PredictedRow(key, seconds, arithmetic * MS, memory * MS, launch * MS, p50 * MS)


def predicted(**changes: object) -> LatencyPrediction:
    """10 ms: 4 and 5 in two calls, 1 in the step of the optimizer; the whole is known to within 20 %."""
    profile = builders.profile()
    calls = sorted({op.call for op in profile.ops if op.macs})
    rows = {
        "layers": (row(calls[0], 4, 3, 1, 0), row(calls[1], 5, 0.5, 4, 0.5)),
        "rest": (row(Outside.OPTIMIZER_STEP, 1, 0, 0, 1),),
    }
    known = {
        "device": "NVIDIA T4", "standing": "unseen", "batch": profile.batch, "dtype": profile.dtype,
        "mode": profile.mode, "autocast": None, "eager": True, "compiled": False, "channels_last": False,
        "tf32": (False, True), "whole": Seconds(10 * MS, 8 * MS, 12 * MS), "kernel_seconds": 9 * MS,
        "host_seconds": 1 * MS, "roofline_seconds": 5 * MS,
    }  # fmt: skip
    return LatencyPrediction(**{**known, **rows, **changes})


def answer(**changes: object) -> LatencyAnswer:
    said = {"prices": (), "by": None, **changes}
    return LatencyAnswer(((builders.profile(), predicted()),), **said)


def test_the_rows_add_up_to_the_pass_and_the_total_has_its_own_interval() -> None:
    profile = add_prediction(builders.profile(), predicted())
    table = tabulate_layers(profile, columns=["predicted", "predicted_low", "predicted_high", "predicted_bound"])
    rows = table.records()
    assert sum(one["predicted"] for one in rows) == pytest.approx(10 * MS)
    total = table.record(table.total)
    assert (total["predicted_low"], total["predicted_high"]) == (8 * MS, 12 * MS)
    assert total["predicted_bound"] == "memory"  # 3.5 ms of arithmetic, 5 of memory, 1.5 of launches
    limits = [one["predicted_bound"] for one in rows if one["predicted"]]
    assert limits == ["arithmetic", "memory", "launches"]
    assert table.records()[-1]["layer"] == "(optimizer step)"


def test_a_part_of_the_pass_has_the_sum_of_its_intervals() -> None:
    whole = Seconds(10.0, 9.0, 11.0)
    parts = [PredictedTime(2.0, 1.0, 4.0, 2.0, whole=whole), PredictedTime(3.0, 2.0, 5.0, 0.0, 3.0, whole=whole)]
    part = sum(parts, PredictedTime())
    assert (part.seconds, part.low, part.high, part.bound) == (5.0, 3.0, 9.0, "memory")
    all_of_it = part + PredictedTime(5.0, 1.0, 9.0, 0.0, 0.0, 5.0, whole)
    assert (all_of_it.low, all_of_it.high) == (9.0, 11.0)


@pytest.mark.parametrize("by", ["kind", "stage"])
def test_groups_add_up_too(by: str) -> None:
    table = add_prediction(builders.profile(), predicted()).table(by=by)
    keys = [column.key for column in table.columns]
    assert {"predicted", "predicted_low", "predicted_high", "predicted_bound"} <= set(keys)
    assert sum(one["predicted"] for one in table.records()) == pytest.approx(10 * MS)
    assert sum(one["share_predicted"] or 0 for one in table.records()) == pytest.approx(1)


def test_measured_and_predicted_stand_under_their_own_names() -> None:
    measured = builders.measured()
    both = add_prediction(measured, predicted(layers=predicted().layers, mode=measured.mode))
    table = both.table()
    headers = {column.key: column.header for column in table.columns}
    assert headers["latency"] == "Latency"
    assert headers["predicted"] == "Predicted"
    notes = "\n".join(table.notes)
    assert "Predicted, not measured, on NVIDIA T4: eager" in notes
    plain = measured.table()
    assert [one["latency"] for one in plain.records()] == [one["latency"] for one in table.records()[:-1]]
    assert table.records()[-1]["layer"] == "(optimizer step)"


def test_columns_of_a_prediction_without_one_say_how_to_get_it() -> None:
    table = builders.profile().table(columns=["predicted", "predicted_bound"])
    assert all(one["predicted"] is None and one["predicted_bound"] is None for one in table.records())
    assert any("add --device NAME" in note for note in table.notes)


def test_a_prediction_is_saved_with_its_profile(tmp_path: Path) -> None:
    profile = add_prediction(builders.profile(), predicted(notes=("a note",)))
    profile.save(tmp_path / "x.json")
    assert archprof.load(tmp_path / "x.json").prediction == profile.prediction
    assert archprof.load(tmp_path / "x.json").measurement is None


def test_the_json_has_every_pass_with_its_interval_and_layers() -> None:
    data = json.loads(answer().to_json())
    (one,) = data["predictions"]
    assert {"device", "batch", "dtype", "mode", "eager", "latency_seconds", "layers"} <= one.keys()
    assert one["latency_seconds"] == {"p50": 10 * MS, "low": 8 * MS, "high": 12 * MS}
    assert one["eager"] is True
    times = [layer["latency_seconds"]["p50"] for layer in (*one["layers"], *one["rest"])]
    assert sum(times) == pytest.approx(10 * MS)
    assert [layer["bound"] for layer in one["layers"]] == ["arithmetic", "memory"]
    parts = one["layers"][1]
    seconds = [parts[f"{name}_seconds"] for name in ("arithmetic", "memory", "launch")]
    assert seconds == pytest.approx([0.5 * MS, 4 * MS, 0.5 * MS])
    assert all(layer["path"] for layer in write_layers(builders.profile(), predicted()))


def test_the_cost_of_a_million_is_price_by_hours() -> None:
    """10 ms a pass of n samples, at 3.6 an hour: a million take 1e6 / n x 0.01 s, an hour is 3600 s."""
    batch = builders.profile().batch
    table = answer(prices=(3.6,)).table()
    assert table.records()[0]["cost"] == pytest.approx(1e6 / batch * 0.01 / 3600 * 3.6)
    assert "cost" not in {column.key for column in answer().table().columns}


def test_tokens_are_counted_in_a_phase_of_a_decoder() -> None:
    profile = builders.profile()
    assert count_samples(profile) == profile.batch
    prefill = replace(profile, decoding=Decoding("prefill", 100, (), 0))
    assert count_samples(prefill) == 100 * profile.batch
    assert count_samples(replace(profile, decoding=Decoding("decode", 100, (), 0))) == profile.batch


def test_a_bound_is_called_one() -> None:
    made = LatencyAnswer(((builders.profile(), predicted(standing="bound", device="AMD MI300X")),))
    text = str(made)
    assert "A bound, since nothing like it was ever measured: AMD MI300X" in text
    assert made.table().records()[0]["standing"] == "bound"
    mi300x = predict_on(archprof.profile("lenet5"), "mi300x").table()
    assert any("low is a bound" in note for note in mi300x.notes)
    summary = archprof.predict("lenet5", device="mi300x,t4").table()
    assert sum("bound" in note for note in summary.notes) == 1


def test_what_was_not_counted_makes_times_lower_bounds() -> None:
    made = LatencyAnswer(((builders.profile(), predicted(complete=False)),))
    assert not made.table().complete
    assert "≥" in str(made.table())
    assert any("lower bounds" in note for note in made.table().notes)
    assert made.table().records()[0]["rate"] is None
    assert json.loads(made.to_json())["predictions"][0]["samples_per_second"] is None


def test_every_row_of_every_pass_in_one_table() -> None:
    passes = tuple((builders.profile(), predicted(device=name)) for name in ("NVIDIA T4", "NVIDIA L4"))
    table = LatencyAnswer(passes, (), "kind").table()
    assert [column.key for column in table.columns][:4] == ["device", "batch", "dtype", "kind"]
    rows = table.records()
    assert {one["device"] for one in rows} == {"NVIDIA T4", "NVIDIA L4"}
    assert sum(one["predicted"] for one in rows) == pytest.approx(20 * MS)
