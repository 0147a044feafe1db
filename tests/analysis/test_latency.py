"""Measured rows: sums, intervals, shares and the gap to the whole, in numbers worked out on paper."""

from __future__ import annotations

import dataclasses
import re
import statistics

import builders
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archprof import units
from archprof.analysis import elapsed
from archprof.analysis.compare import comparison
from archprof.analysis.elapsed import Elapsed
from archprof.analysis.metrics import METRICS
from archprof.analysis.tables.layers import tabulate_layers
from archprof.facts.measured import Timing
from archprof.facts.overlays import Outside

MS = 1e-3


MEASURED_KEYS = {metric.key for metric in METRICS if metric.measured}


def cells(answer, key):
    """The values of a column by the names of the rows."""
    at = [column.key for column in answer.columns].index(key)
    return {row.name: row.cells[at] for row in answer.lines()}


def test_every_row_of_the_table_by_hand():
    answer = tabulate_layers(builders.measured())
    assert cells(answer, "latency") == pytest.approx(
        {
            "block": 33.0402 * MS, "block.conv1": 10.04 * MS, "block.relu": 0.0002 * MS, "block.conv2": 20 * MS,
            "block.relu #2": 1 * MS, "block (own)": 2 * MS, "fc": 5 * MS, "aux": 0, "(between layers)": 0.5 * MS,
            "(unattributed)": 1.46 * MS, "Total": 40.0002 * MS,
        }
    )  # fmt: skip
    shares = cells(answer, "share_latency")
    assert shares["block.conv2"] == pytest.approx(20 / 40.0002)
    assert shares["Total"] == 1
    assert shares["aux"] is None


def test_the_interval_of_a_sum_is_that_of_what_its_rows_took_together():
    """Rounds of the block: 10.04 + 0.0002 + 20 + 1 + 2, 9.95 + 0.0001 + 18 + 1 + 2, 10.15 + 0.0003 + 21 + 1 + 2."""
    answer = tabulate_layers(builders.measured())
    assert cells(answer, "low")["block"] == pytest.approx(30.9501 * MS)
    assert cells(answer, "high")["block"] == pytest.approx(34.1503 * MS)
    assert cells(answer, "low")["block.conv1"] == pytest.approx(9.95 * MS)


def test_the_sum_of_medians_is_never_outside_its_interval():
    """Three rows that are slow in one round each: every round takes 20, the medians add up to 30."""
    rows = [elapsed.convert_timing(builders.timing(0, *rounds)) for rounds in ((0, 10, 10), (10, 0, 10), (10, 10, 0))]
    total = sum(rows)
    assert total.rounds == pytest.approx((0.02, 0.02, 0.02))
    assert (total.low, total.seconds, total.high) == pytest.approx((0.02, 0.03, 0.03))


@given(st.lists(st.lists(st.lists(st.floats(0, 1), min_size=1, max_size=5), min_size=1, max_size=7), max_size=6))
def test_sums_keep_their_order_and_their_parts(rows):
    timings = [Timing(0, tuple(map(tuple, rounds))) for rounds in rows]
    total = sum((elapsed.convert_timing(timing) for timing in timings), Elapsed())
    assert total.low <= total.seconds <= total.high
    assert total.seconds == pytest.approx(
        sum(statistics.median(map(statistics.median, timing.rounds)) for timing in timings)
    )
    assert total.least == pytest.approx(sum(min(map(min, timing.rounds)) for timing in timings))


@pytest.mark.parametrize("by", ["layer", "kind", "stage"])
@pytest.mark.parametrize("top", [None, 2])
def test_the_rows_that_are_no_subtotals_add_up_to_the_total(by, top):
    answer = tabulate_layers(builders.measured(), by=by, top=top)
    for key in ("latency", "share_latency"):
        values = [record[key] or 0 for record in answer.records()]
        assert sum(values) == pytest.approx(answer.record(answer.total)[key])


def test_sort_and_top_go_by_time_and_the_rest_stays_last():
    names = [row.name for row in tabulate_layers(builders.measured(), sort="latency").rows]
    assert names[:3] == ["block.conv2", "block.conv1", "fc"]
    assert names[-2:] == ["(between layers)", "(unattributed)"]
    top = [row.name for row in tabulate_layers(builders.measured(), top=1).rows]
    assert top == ["block.conv2", "(6 other rows)", "(between layers)", "(unattributed)"]
    assert tabulate_layers(builders.profile(), top=1).rows[0].name == "block.conv2"  # by MACs
    kinds = [row.name for row in tabulate_layers(builders.measured(), by="kind").rows]
    assert kinds[:4] == ["Conv2d", "Linear", "Residual", "ReLU"]


def test_what_is_less_than_a_mark_can_tell_is_printed_so():
    """A mark costs 1 us, so 3 us can be told; the relu takes 0.2 us, less than the column's last digit of 10 us."""
    answer = tabulate_layers(builders.measured(), columns=["latency"])
    assert [row.name for row in answer.rows if row.below_resolution] == ["block.relu"]
    assert " <0.01\n" in answer.to_text()
    assert cells(answer, "latency")["block.relu"] == pytest.approx(2e-7)  # data formats have what was measured
    finer = builders.LATENCY._replace(layers=(builders.timing(3, 0.0002, 0.0002, 0.0002),), rest=())
    assert "<3.00" in tabulate_layers(builders.measured(latencies=(finer,)), columns=["latency"]).to_text()


def test_numbers_are_cut_to_their_interval():
    answer = tabulate_layers(builders.measured(), columns=["latency", "low", "high"])
    printed = [line.split() for line in answer.to_text().splitlines()]
    assert ["├─", "conv1", "10.04", "9.95", "10.15"] in printed
    assert ["├─", "conv2", "20.0", "18.0", "21.0"] in printed
    assert ["fc", "5.00", "5.00", "5.00"] in printed
    assert " 10.04 |" in answer.to_markdown()
    assert "block.conv2 & 20.0 & 18.0 & 21.0" in answer.to_latex()


@pytest.mark.parametrize(
    ("value", "within", "text"),
    [
        (12.345, 0.08, "12.35"), (12.345, 0.3, "12.3"), (12.345, 3, "12"), (132.4, 30, "130"), (132.4, 300, "100"),
        (0.5, 3, "0.5"), (12.345, 0, "12.35"), (-1.26, 0.5, "-1.3"), (0, 5, "0"), (12.345, 1e-9, "12.345"),
    ],
)  # fmt: skip
def test_digits_below_the_interval_are_not_printed(value, within, text):
    assert units.UnitScale("s", 1, 2).format(value, within) == text


def test_points_stand_below_each_other():
    """As a reader sees them: 10.04, 20.0 and 5.00 have their decimal points at one place."""
    lines = tabulate_layers(builders.measured(), columns=["latency"]).to_text().splitlines()
    numbers = [line for line in lines if line.split()[-1:] and re.fullmatch(r"<?\d+\.\d+", line.split()[-1])]
    assert len(numbers) == 10
    assert len({line.rindex(".") for line in numbers}) == 1


def test_the_gap_is_of_the_rows_but_the_unattributed():
    """10.04 + 0.0002 + 20 + 1 + 2 + 5 + 0.5 = 38.5402 ms of 40."""
    assert elapsed.compute_gap(builders.measured()) == pytest.approx(38.5402 / 40 - 1)
    notes = " ".join(tabulate_layers(builders.measured()).notes)
    assert "Sum of the rows 38.54 ms, the whole model without marks 40.0 [39.0, 41.0] ms: gap -3.6%." in notes
    assert "Latency on Test CPU, threads: 2: wall clock" in notes
    assert "median of 3 rounds (3 passes)" in notes
    assert "5 passes to warm up, the first 120.00 ms" in notes


def test_what_was_not_measured_says_so():
    assert elapsed.compute_gap(builders.profile()) is None
    assert elapsed.find_model_time(builders.profile()) is None
    assert not MEASURED_KEYS & {column.key for column in tabulate_layers(builders.profile()).columns}
    asked = tabulate_layers(builders.profile(), columns=["latency"])
    assert set(cells(asked, "latency").values()) == {None}
    assert "--measure cpu" in asked.notes[-1]


def test_a_whole_without_rows_is_a_whole():
    """What is compiled has no borders between its modules."""
    alone = builders.LATENCY._replace(layers=(), rest=())
    answer = tabulate_layers(builders.measured(latencies=(alone,)))
    assert set(cells(answer, "latency").values()) == {None}
    assert "The rows were not timed; the whole model takes 40.0 [39.0, 41.0] ms." in answer.notes


def test_an_attributed_latency_says_so_in_its_head_and_below():
    split = builders.measured(latencies=(builders.LATENCY._replace(attributed=True),))
    timed, answer = tabulate_layers(builders.measured()), tabulate_layers(split)
    heads = {column.key: column.header for column in answer.columns}
    assert (heads["latency"], heads["share_latency"], heads["low"]) == ("Attributed", "Attributed", "Low")
    assert "Attributed" not in {column.header for column in timed.columns}
    assert any("wall clock at the borders of each compiled kernel," in note for note in answer.notes)
    assert any("wall clock at the borders of each call," in note for note in timed.notes)
    assert cells(answer, "latency") == cells(timed, "latency")
    # No mark stood at the border of a row, so that no row is too short to be told from one.
    assert any(elapsed.below_resolution for elapsed in elapsed.collect_row_times(builders.measured()))
    assert not any(elapsed.below_resolution for elapsed in elapsed.collect_row_times(split))


def test_kernels_that_rows_share_are_not_counted():
    ways = [way._replace(attributed=True) for way in builders.on_gpu().measurement.latencies]
    assert elapsed.count_kernels(builders.on_gpu(latencies=tuple(ways))) is None
    assert "n_kernels" not in {column.key for column in tabulate_layers(builders.on_gpu(latencies=tuple(ways))).columns}


def test_interrupted_is_said_also_without_a_number():
    for ways, said in (((builders.LATENCY,), "Interrupted: these numbers"), ((), elapsed.NOTHING_MEASURED)):
        answer = tabulate_layers(builders.measured(latencies=ways, interrupted=True))
        assert any(note.startswith(said) for note in answer.notes)


def test_methods_stand_in_columns_of_their_own():
    """4 ms in context, 10 ms as users run it, of which kernels take 3 ms: 70 % is waiting. Three kernels a row."""
    answer = tabulate_layers(builders.on_gpu())
    at = {key: cells(answer, key) for key in ("latency", "eager", "kernel", "launch_bound", "n_kernels")}
    assert {key: column["fc"] for key, column in at.items()} == pytest.approx(
        {"latency": 0.004, "eager": 0.010, "kernel": 0.003, "launch_bound": 0.7, "n_kernels": 3}
    )
    assert at["latency"]["Total"] == pytest.approx(0.012)
    assert at["eager"]["Total"] == pytest.approx(0.030)
    assert at["launch_bound"]["Total"] == pytest.approx(0.7)
    assert at["n_kernels"]["Total"] == 9


def test_measured_memory_is_of_a_call_with_its_parts_and_is_no_sum():
    answer = tabulate_layers(builders.measured(), columns=["peak_measured"])
    assert cells(answer, "peak_measured") == {
        "block": 3072, "block.conv1": 1024, "block.relu": None, "block.conv2": None, "block.relu #2": None,
        "block (own)": None, "fc": 40, "(between layers)": None, "(unattributed)": None, "Total": 4096,
    }  # fmt: skip


def test_the_predicted_peak_stands_beside_the_measured_one():
    """Live bytes above those before the pass: this one drops nothing, and makes three maps of 1 KiB and ten numbers."""
    answer = tabulate_layers(builders.measured())
    shown = {key: cells(answer, key) for key in ("peak_measured", "peak_predicted", "peak_off")}
    assert shown["peak_predicted"]["fc"] == 3 * 1024 + 10 * 4
    for name, off in shown["peak_off"].items():
        measured, predicted = shown["peak_measured"][name], shown["peak_predicted"][name]
        assert off == (None if measured is None or predicted is None else predicted / measured - 1)
    assert shown["peak_predicted"]["Total"] == max(one for one in shown["peak_predicted"].values() if one)


def test_ops_have_no_latency_and_the_table_says_so():
    answer = tabulate_layers(builders.measured(), by="op")
    assert not MEASURED_KEYS & {column.key for column in answer.columns}
    assert answer.notes[-1].startswith("Latency is measured by layer")


# Side by side


def slower(times):
    """The same profile, its whole and its rows so many times as long."""
    way = builders.LATENCY
    layers, rest = (tuple(stretched(one, times) for one in rows) for rows in (way.layers, way.rest))
    return builders.measured(latencies=(way._replace(layers=layers, rest=rest, whole=stretched(way.whole, times)),))


def stretched(timing, times):
    return timing._replace(rounds=tuple(tuple(times * sample for sample in samples) for samples in timing.rounds))


def test_latency_in_the_summary_and_in_the_aligned_rows():
    compared = comparison.compare([builders.measured(), dataclasses.replace(slower(2), model="other")])
    summary = [
        dict(zip([c.key for c in compared.summary.columns], row.cells, strict=True)) for row in compared.summary.rows
    ]
    assert [row["latency"] for row in summary] == pytest.approx([0.040, 0.080])
    assert [row["latency_ratio"] for row in summary] == pytest.approx([1, 2])
    for aligned in (compared.stages, compared.layers):
        records = [record for record in aligned.records() if record["latency_a"] and not aligned_under(aligned, record)]
        ratios = {record["part"]: record["latency_ratio_b"] for record in records}
        assert ratios.pop("(unattributed)") is None  # what no row explains is no work to compare
        assert [*ratios.values()] == pytest.approx([2] * len(ratios))
        for letter, times in (("a", 1), ("b", 2)):
            total = aligned.record(aligned.total)[f"latency_{letter}"]
            assert total == pytest.approx(times * 40.0002 * MS)
            assert sum(record[f"latency_{letter}"] or 0 for record in aligned.records()) == pytest.approx(total)


def aligned_under(aligned, record):
    return any(row.below_resolution for row in aligned.rows if row.cells[0] == record["part"])


@pytest.mark.parametrize("other", [{"threads": 1}, {"device_name": "Other CPU"}])
def test_no_ratio_of_two_devices_or_numbers_of_threads(other):
    assert elapsed.are_comparable([builders.measured(), builders.measured()])
    assert not elapsed.are_comparable([builders.measured(), builders.measured(**other)])
    assert not elapsed.are_comparable([builders.measured(), builders.profile()])


def test_no_ratio_of_what_two_methods_measured():
    compared = comparison.compare([builders.measured(), dataclasses.replace(builders.on_gpu(), model="other")])
    columns = [column.key for column in compared.summary.columns]
    assert [row.cells[columns.index("latency")] for row in compared.summary.rows] == pytest.approx([0.040, 0.012])
    assert {row.cells[columns.index("latency_ratio")] for row in compared.summary.rows} == {None}
    assert comparison.NO_LATENCY_RATIO in compared.summary.notes
    assert not any(column.key.startswith("latency") for column in compared.layers.columns)


@pytest.mark.parametrize(
    ("times", "said"),
    [
        (3, "takes 3.00x the time of net (A) (120 [117, 123] ms against 40.0 [39.0, 41.0] ms)"),
        (1.04, "cannot be told apart in time"),
    ],
)
def test_the_findings_say_no_more_than_the_intervals(times, said):
    found = [one.text for one in comparison.compare([builders.measured(), slower(times)]).findings]
    assert any(said in text for text in found), found


def test_no_finding_is_a_ratio_of_unstable_times():
    """Rounds of 36 to 44 ms and of 90 to 110: the one is slower, and whether 2 or 3 times nobody knows."""

    def unstable(*milliseconds):
        whole = builders.timing(Outside.WHOLE, *milliseconds)
        return builders.measured(latencies=(builders.LATENCY._replace(whole=whole),))

    found = [one.text for one in comparison.compare([unstable(40, 36, 44), unstable(100, 90, 110)]).findings]
    (said,) = [text for text in found if "ms against" in text]
    assert "takes longer than" in said
    assert "unstable" in said
    assert "x the time" not in said
