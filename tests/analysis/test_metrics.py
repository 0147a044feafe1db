"""The registry of metrics: arithmetic intensity by hand, and what holds for every entry."""

import json

import builders
import pytest

from archprof.analysis.counts import SUMS, Counts
from archprof.analysis.metrics import METRIC_BY_KEY, METRICS, find_lower_bounds
from archprof.analysis.report.view import PageView
from archprof.analysis.tables.columns import describe_columns
from archprof.analysis.tables.layers import tabulate_layers

BY_LAYER = {
    "block.conv1": 14080 / (768 + 1024),
    "block.relu": 256 / 768,
    "block.conv2": 18688 / (768 + 1024),
    "block.relu #2": 256 / 768,
    "block (own)": 256 / (768 + 1024),
    "fc": 5130 / (768 + 40),
}
"""Of `builders.profile()`: each op reads 768 bytes, and writes 4 for each element of its output."""


def by_name(table):
    return {row.name: row.cells[1] for row in table.rows if not row.subtotal and row.cells[1] is not None}


def intensity(profile, **options):
    return tabulate_layers(profile, columns=["intensity"], **options)


def test_intensity_of_each_layer_by_hand():
    table = intensity(builders.profile())
    assert by_name(table) == pytest.approx(BY_LAYER)
    [subtotal] = [row for row in table.rows if row.subtotal]
    assert subtotal.cells[1] == pytest.approx((14080 + 18688 + 3 * 256) / (5 * 768 + 3 * 1024))
    assert table.total.cells[1] == pytest.approx(38666 / 7720)  # 6 x 768 read and 3 x 1,024 + 40 written


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("stage", {"8x8": (14080 + 18688 + 3 * 256) / (5 * 768 + 3 * 1024), "vector": 5130 / 808}),
        ("kind", {"Conv2d": 32768 / 3584, "Linear": 5130 / 808, "ReLU": 1 / 3, "Residual": 256 / 1792}),
        ("op", {"aten.convolution": 32768 / 3584, "aten.addmm": 5130 / 808, "aten.relu_": 1 / 3, "aten.add": 1 / 7}),
    ],
)
def test_intensity_of_a_group_is_that_of_its_sums(by, expected):
    """Neither a sum nor a mean of the rows: two convolutions of 7.86 and 10.43 have 32,768 FLOPs for 3,584 bytes."""
    table = intensity(builders.profile(), by=by)
    assert by_name(table) == pytest.approx(expected)
    assert table.total.cells[1] == pytest.approx(38666 / 7720)


def test_sorted_by_intensity_the_largest_comes_first():
    names = [row.name for row in intensity(builders.profile(), sort="intensity", top=3).rows]
    assert names[:3] == ["block.conv2", "block.conv1", "fc"]
    rest = intensity(builders.profile(), sort="intensity", top=3).rows[3]
    assert rest.cells[1] == pytest.approx(768 / (3 * 768 + 1024))


@pytest.mark.parametrize("profile", [builders.with_unknown(), builders.stopped()])
def test_a_ratio_of_lower_bounds_is_left_out_and_the_note_says_why(profile):
    table = intensity(profile)
    assert table.total.cells[1] is None
    assert by_name(table)["block.conv1"] == pytest.approx(BY_LAYER["block.conv1"])
    assert "Intensity is left out where an op has no cost rule or the forward stopped" in table.notes[-1]
    assert not any("left out" in note for note in intensity(builders.profile()).notes)


def test_the_backward_pass_is_in_both_sums():
    profile = builders.trained()
    flops, moved = sum(op.flops for op in profile.ops), sum(op.bytes_moved for op in profile.ops)
    assert any(op.phase == "backward" and op.flops for op in profile.ops)
    assert intensity(profile).total.cells[1] == pytest.approx(flops / moved)


def test_intensity_has_its_unit_in_every_format_and_its_line_in_the_legend():
    table = intensity(builders.profile())
    document = json.loads(table.to_json())
    assert document["columns"][1]["unit"] == "flops_per_byte"
    assert document["total"]["intensity"] == pytest.approx(38666 / 7720)
    assert "[FLOP/B]" in table.to_text()
    for by in ("layer", "stage", "kind", "op"):
        assert "arithmetic intensity: FLOPs for each byte moved" in describe_columns(by)


def test_every_sum_is_a_field_of_the_counts_and_has_a_source():
    assert Counts._fields == tuple(metric.key for metric in SUMS)
    assert all(metric.by_row or metric.of_op for metric in SUMS)
    assert all(set(metric.reads) <= set(Counts._fields) for metric in METRICS)
    assert len(METRIC_BY_KEY) == len(METRICS)


@pytest.mark.parametrize("metric", [metric for metric in SUMS if metric.of_op and metric.by_row], ids=lambda m: m.key)
def test_what_rows_and_ops_say_of_one_sum_is_equal(metric):
    """The costs of the rows are summed by the profile, those of the ops by the registry; calls count other things."""
    profile = builders.trained()
    by_op = sum(metric.of_op(op) for op in profile.ops)
    assert metric.key == "calls" or by_op == sum(metric.by_row(PageView(profile)))


def test_what_an_unknown_op_and_a_stop_make_a_lower_bound():
    unknown, stopped = find_lower_bounds(unknown=True, stopped=False), find_lower_bounds(unknown=False, stopped=True)
    predicted = {"predicted", "predicted_low", "predicted_high"}
    assert unknown == {"macs", "flops", "backward_macs", "backward_flops", "depth", "memory", *predicted}
    assert stopped == unknown | {
        "activation", "activation_bytes", "act_fp32", "act_fp16", "act_bf16", "ops", "bytes_moved", "field", "peak",
    }  # fmt: skip
    unsized = find_lower_bounds(unknown=False, stopped=False, unsized=True)
    assert unsized == {"params", "trainable", "buffers", "param_bytes"}
    assert find_lower_bounds(unknown=False, stopped=False) == frozenset()
