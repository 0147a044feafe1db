"""`--device` of table, graph, compare and report: predicted times beside what was counted, under their own name."""

from __future__ import annotations

from pathlib import Path

import builders
import pytest

import archprof
from archprof.analysis.compare.comparison import compare
from archprof.analysis.network.network import build_network
from archprof.analysis.report import page
from archprof.predicting.runs import predict_on

MODELS = ("lenet5", "alexnet")


@pytest.fixture(scope="module")
def profiles() -> list[archprof.Profile]:
    return [archprof.profile(name) for name in MODELS]


def test_a_table_has_the_time_of_the_pass_as_its_total() -> None:
    table = archprof.table("lenet5", device="t4")
    (whole,) = archprof.predict("lenet5", device="t4").predictions
    total = table.record(table.total)
    assert total["predicted"] == pytest.approx(whole.whole.p50)
    assert (total["predicted_low"], total["predicted_high"]) == (whole.whole.low, whole.whole.high)
    counted = archprof.table("lenet5")
    assert not {column.key for column in counted.columns} & {"predicted", "predicted_low"}
    assert counted.record(counted.total)["macs"] == total["macs"]


def test_a_graph_has_a_lane_of_predicted_times() -> None:
    network = archprof.graph("lenet5", device="t4")
    lane = next(lane for lane in network.lanes if lane.key == "latency")
    (whole,) = archprof.predict("lenet5", device="t4").predictions
    assert lane.is_predicted
    assert (lane.title, lane.source) == ("Predicted", "predicted on NVIDIA T4")
    assert sum(lane.values) == pytest.approx(whole.whole.p50)


def test_what_was_measured_comes_before_what_was_predicted() -> None:
    both = predict_on(builders.measured(), "t4")
    lane = next(lane for lane in build_network(both).lanes if lane.key == "latency")
    assert not lane.is_predicted


def test_a_comparison_has_the_ratio_of_predicted_times(profiles: list[archprof.Profile]) -> None:
    compared = archprof.compare(*profiles, device="t4")
    times = [archprof.predict(profile, device="t4").predictions[0].whole.p50 for profile in profiles]
    rows = compared.summary.records()
    assert [row["predicted"] for row in rows] == times
    assert rows[1]["predicted_ratio"] == pytest.approx(times[1] / times[0])
    total = compared.stages.record(compared.stages.total)
    assert (total["predicted_a"], total["predicted_b"]) == pytest.approx(times)
    said = " ".join(finding.text for finding in compared.findings)
    assert "predicted on NVIDIA T4" in said


def test_no_ratio_of_times_on_two_devices(profiles: list[archprof.Profile]) -> None:
    compared = compare([predict_on(profiles[0], "t4"), predict_on(profiles[1], "h100")])
    assert [row["predicted_ratio"] for row in compared.summary.records()] == [None, None]
    assert not any(column.key.startswith("predicted") for column in compared.stages.columns)


def test_times_whose_intervals_meet_cannot_be_told_apart(profiles: list[archprof.Profile]) -> None:
    compared = compare([predict_on(profiles[0], "t4")] * 2)
    said = [finding.text for finding in compared.findings if "predicted on" in finding.text]
    assert all("cannot be told apart in predicted time" in text for text in said)
    assert said


def test_a_page_of_predicted_times_says_so(profiles: list[archprof.Profile], tmp_path: Path) -> None:
    report = page.build_report(profiles, device="t4")
    assert report.badge == "predicted"
    tile = next(tile for tile in report.models[0].tiles if tile.key == "latency")
    assert tile.value == archprof.predict(profiles[0], device="t4").predictions[0].whole.p50
    assert "predicted on NVIDIA T4" in tile.note
    assert {"predicted", "predicted_bound"} <= {column.key for column in report.models[0].table.columns}
    chart = next(chart for chart in report.models[1].charts if chart.key == "roofline")
    assert chart.title.startswith("Roofline, predicted: ")
    *kinds, roof = chart.points
    assert chart.names[-1] == "roof of NVIDIA T4"
    assert len(kinds) > 1
    assert max(rate for points in kinds for _, rate, _ in points) <= max(rate for _, rate, _ in roof)
    archprof.report(profiles[:1], tmp_path / "x.html", device="t4", plotly="none")
    assert "predicted on NVIDIA T4" in (tmp_path / "x.html").read_text(encoding="utf-8")


def test_a_page_of_both_is_of_neither(profiles: list[archprof.Profile]) -> None:
    assert page.build_report([builders.measured(), predict_on(profiles[0], "t4")]).badge == "counted"
    assert page.build_report([predict_on(profiles[0], "t4")]).badge == "predicted"
    assert page.build_report([predict_on(builders.measured(), "t4")]).badge == "measured"


@pytest.mark.parametrize("device", ["t4,h100", "nothing", ""])
def test_one_device_that_is_known_before_any_work(device: str) -> None:
    for ask in (archprof.table, archprof.graph):
        with pytest.raises(archprof.UsageError):
            ask("no_such_model", device=device)
    with pytest.raises(archprof.UsageError):
        archprof.compare("no_such_model", "neither", device=device)
