"""The layer tables: every number of a profile built by hand, and sums that hold for any profile."""

import dataclasses

import builders
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archprof.analysis.tables.columns import COLUMN_BY_KEY, GROUPINGS, describe_columns, list_columns
from archprof.analysis.tables.layers import tabulate_layers
from archprof.errors import UnknownName, UsageError
from archprof.facts.records import Layer, Profile, Storage, TensorSpec


def column(answer, key):
    at = [c.key for c in answer.columns].index(key)
    return [row.cells[at] for row in answer.rows]


def shorts(answer):
    return [(row.depth, row.short) for row in answer.rows]


def test_the_tree_shows_sums_for_containers_and_own_work_below_them():
    answer = tabulate_layers(builders.profile())
    assert shorts(answer) == [
        (0, "block"), (1, "conv1"), (1, "relu"), (1, "conv2"), (1, "relu #2"), (1, "(own)"), (0, "fc"), (0, "aux"),
    ]  # fmt: skip
    assert column(answer, "macs") == [16128, 6912, 0, 9216, 0, 0, 2560, 0]
    assert column(answer, "flops") == [33536, 14080, 256, 18688, 256, 256, 5130, 0]
    assert column(answer, "params") == [260, 112, 0, 148, 0, 0, 2570, 30]
    assert column(answer, "act_fp32") == [3072, 1024, 0, 1024, 0, 1024, 40, 0]
    assert column(answer, "act_fp16") == [1536, 512, 0, 512, 0, 512, 20, 0]
    assert column(answer, "output")[-1] is None
    assert [row.subtotal for row in answer.rows] == [True] + [False] * 7
    assert answer.complete


def test_the_total_row_has_the_totals_of_the_profile():
    answer = tabulate_layers(builders.profile())
    totals = answer.record(answer.total)
    assert (totals["params"], totals["macs"], totals["flops"]) == (2860, 18688, 38666)
    assert (totals["act_fp32"], totals["act_fp16"], totals["share_macs"]) == (3112, 1556, 1.0)


@pytest.mark.parametrize(("depth", "names"), [(0, ["(model)"]), (1, ["block", "fc", "aux"])])
def test_depth_folds_deeper_rows_into_the_one_above(depth, names):
    answer = tabulate_layers(builders.profile(), depth=depth)
    assert [row.name for row in answer.rows] == names
    assert sum(column(answer, "macs")) == 18688
    assert not any(row.subtotal for row in answer.rows)


def test_sort_gives_a_flat_list_in_full_names():
    answer = tabulate_layers(builders.profile(), sort="flops")
    assert [row.name for row in answer.rows] == [
        "block.conv2", "block.conv1", "fc", "block", "block.relu", "block.relu #2", "aux",
    ]  # fmt: skip
    assert {(row.depth, row.short, row.subtotal) for row in answer.rows} == {(0, None, False)}


def test_sort_by_a_name_goes_up_and_missing_values_come_last():
    kinds = column(tabulate_layers(builders.profile(), sort="kind"), "kind")
    assert kinds == sorted(kinds)
    assert column(tabulate_layers(builders.profile(), sort="output"), "output")[-1] is None


def test_sort_shows_the_column_that_it_sorts_by():
    assert [c.key for c in tabulate_layers(builders.profile(), columns=["macs"], sort="buffers").columns] == [
        "layer", "buffers", "macs",
    ]  # fmt: skip


def test_top_sums_the_others_in_one_row():
    answer = tabulate_layers(builders.profile(), top=2)
    assert [row.name for row in answer.rows] == ["block.conv2", "block.conv1", "(5 other rows)"]
    assert column(answer, "macs") == [9216, 6912, 2560]
    assert column(answer, "params") == [148, 112, 2600]
    assert [row.name for row in tabulate_layers(builders.profile(), top=6).rows][-1] == "(1 other row)"
    assert len(tabulate_layers(builders.profile(), top=99).rows) == 7


def test_by_kind():
    answer = tabulate_layers(builders.profile(), by="kind", columns=["calls", "macs", "flops", "params", "trainable"])
    assert [row.cells for row in answer.rows] == [
        ("Conv2d", 2, 16128, 32768, 260, 112),
        ("Linear", 1, 2560, 5130, 2600, 2600),
        ("Residual", 1, 0, 256, 0, 0),  # the container's own add
        ("ReLU", 2, 0, 512, 0, 0),
    ]


def test_by_kind_leaves_out_containers_that_did_nothing_of_their_own():
    assert column(tabulate_layers(builders.profile(), by="kind", columns=["macs"]), "kind") == [
        "Conv2d",
        "Linear",
        "ReLU",
    ]


def test_by_op():
    answer = tabulate_layers(builders.profile(), by="op", columns=["calls", "macs", "flops", "bytes_moved"])
    assert {row.cells[0]: row.cells[1:] for row in answer.rows} == {
        "aten.convolution": (2, 16128, 32768, 2 * 768 + 2048),
        "aten.addmm": (1, 2560, 5130, 768 + 40),
        "aten.relu_": (2, 0, 512, 2 * 768),
        "aten.add": (1, 0, 256, 768 + 1024),
    }


def test_the_backward_pass_has_columns_only_where_there_was_one():
    for by in GROUPINGS:
        shown = [
            {c.key for c in tabulate_layers(made, by=by).columns} for made in (builders.profile(), builders.trained())
        ]
        assert shown[1] - shown[0] == {"backward_macs", "backward_flops"}


def test_a_train_profile_also_shows_the_backward_pass():
    answer = tabulate_layers(builders.trained())
    assert column(answer, "backward_macs") == [32256, 13824, 0, 18432, 0, 0, 0, 0]
    assert set(column(tabulate_layers(builders.profile(), columns=["backward_macs"]), "backward_macs")) == {None}


def test_an_unknown_op_makes_its_row_those_above_and_the_total_lower_bounds():
    answer = tabulate_layers(builders.with_unknown())
    assert [row.short for row in answer.rows if "macs" in row.bounds] == ["block", "conv2"]
    assert answer.total.bounds == {"macs", "flops"}
    assert not answer.complete
    assert tabulate_layers(builders.with_unknown(), columns=["params"]).complete
    notes = "\n".join(answer.notes)
    assert "aten.mystery, 1 call, first in block.conv2 (Conv2d) -> 1x10" in notes
    assert "lower bounds" in notes


def test_a_forward_that_stopped_says_where_and_why():
    answer = tabulate_layers(builders.stopped())
    assert [row.short for row in answer.rows if row.bounds] == ["block", "conv2"]
    assert answer.total.bounds == {"macs", "flops", "act_fp32", "act_fp16"}  # what modules hold is known
    assert any(
        "block.conv2 (Conv2d), given 1x4x8x8: RuntimeError: expected 4 channels, got 3" in note for note in answer.notes
    )


def test_notes_state_the_convention_the_input_and_what_was_never_called():
    notes = tabulate_layers(builders.profile()).notes
    assert any(note.startswith("1 MAC = 2 FLOPs") for note in notes)
    assert notes[0] == "Input 3x8x8; batch 1; forward pass in float32."
    assert any("(30): aux" in note for note in notes)
    assert notes[-1] == "Built by hand."


def test_a_module_that_owns_nothing_and_never_ran_has_no_row():
    idle = Layer("spare", "Dropout", 1, None)
    answer = tabulate_layers(builders.profile(layers=(*builders.LAYERS, idle)))
    assert "spare" not in [row.name for row in answer.rows]


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"by": "block"}, UnknownName, "grouping called 'block'"),
        ({"columns": ["mac"]}, UnknownName, "column in a table by layer called 'mac'"),
        ({"sort": "paramz"}, UnknownName, "called 'paramz'"),
        ({"by": "op", "columns": ["params"]}, UnknownName, "column in a table by op called 'params'"),
        ({"depth": -1}, UsageError, "depth is -1"),
        ({"by": "kind", "depth": 1}, UsageError, "by kind"),
        ({"top": 0}, UsageError, "top 0"),
    ],
)
def test_what_cannot_be_asked_is_refused(options, error, said):
    with pytest.raises(error, match=said):
        tabulate_layers(builders.profile(), **options)


def test_an_unknown_column_is_answered_with_the_nearest():
    with pytest.raises(UnknownName) as caught:
        tabulate_layers(builders.profile(), columns=["mac"])
    assert "macs" in caught.value.allowed


def test_the_frame_sums_to_the_totals():
    frame = builders.profile().to_frame()
    assert frame.macs.sum() == 18688
    assert frame.params.sum() == 2860
    assert list(frame.call[frame.layer == "block.relu"]) == [0, 1]
    assert frame.output[0] == ((1, 4, 8, 8),)
    assert frame.output.iloc[-1] is None


@st.composite
def profiles(draw) -> Profile:
    """Any tree of calls with any work on it, whole or not."""
    mode, layers = draw(st.sampled_from(["forward", "train"])), [Layer("", "Net", 0, 0)]
    numbers, sizes = (
        st.integers(0, 10**12),
        st.sampled_from([(), ((1, 4),), ((1, 4, 6, 6),), ((1, 4, 3, 3), (2,)), ((2, 5, 7),)]),
    )
    for i in range(draw(st.integers(0, 12))):
        depth = draw(st.integers(1, layers[-1].depth + 1)) if layers[-1].depth else 1
        shapes = tuple(TensorSpec(shape, "float32") for shape in draw(sizes))
        kind, again = draw(st.sampled_from(["Conv2d", "Block", "ReLU"])), draw(st.integers(0, max(i - 1, 0)))
        call, params = draw(st.sampled_from([0, 0, 0, 1, None])), draw(numbers)
        if call and (
            before := [layer.call for layer in layers if layer.path == f"m{again}" and layer.call is not None]
        ):
            layers.append(Layer(f"m{again}", kind, depth, before[-1] + 1, (), shapes))
        else:
            owned = (params, draw(st.integers(0, params)), *(draw(numbers) for _ in range(3)))
            layers.append(Layer(f"m{i}", kind, depth, call and 0, (), shapes, *owned))
    ops, storages = [], []
    for at in draw(st.lists(st.integers(0, sum(layer.call is not None for layer in layers) - 1), max_size=15)):
        back = mode == "train" and draw(st.booleans())
        status = draw(st.sampled_from(["counted", "unknown"]))
        cost = (draw(numbers), draw(numbers)) if status == "counted" else (None, None)
        name, phase = draw(st.sampled_from(["aten.a", "aten.b"])), "backward" if back else "forward"
        ops.append(builders.make_op(name, at, phase, (), (), *cost, draw(numbers), draw(numbers), status))
        storages.append(
            Storage(4 * draw(numbers), draw(st.sampled_from(["float32", "int64"])), "activation", len(ops) - 1, None)
        )
    made = builders.make_profile("any", (), 1, mode, "float32", tuple(layers), tuple(ops), (), tuple(storages))
    made.check()
    return made


def whole(profile: Profile) -> dict[str, int | None]:
    """The totals that the columns should have, from the profile's own sums and its ops."""
    totals = profile.totals
    return {
        "params": totals.params, "trainable": totals.trainable_params, "buffers": totals.buffers,
        "param_bytes": totals.param_bytes, "macs": totals.macs, "flops": totals.flops,
        "backward_macs": totals.backward_macs, "backward_flops": totals.backward_flops,
        "activation": totals.activation_elements, "activation_bytes": totals.activation_bytes["float32"],
        "act_fp32": totals.activation_bytes["float32"], "act_fp16": totals.activation_bytes["float16"],
        "act_bf16": totals.activation_bytes["bfloat16"], "ops": len(profile.ops),
        "bytes_moved": sum(op.bytes_moved for op in profile.ops),
        "unknown": sum(op.status == "unknown" for op in profile.ops), "predicted": None,
    }  # fmt: skip


def intensity(profile: Profile) -> float | None:
    """FLOPs for each byte moved of the whole profile, from its ops; none where one is not counted."""
    moved = sum(op.bytes_moved for op in profile.ops)
    if not moved or any(op.flops is None for op in profile.ops) or profile.failure:
        return None
    return sum(op.flops or 0 for op in profile.ops) / moved


@settings(max_examples=150, deadline=None)
@given(profiles(), st.sampled_from(list(GROUPINGS)), st.data())
def test_the_rows_of_every_table_add_up_to_the_totals(profile, by, data):
    known = [key for key in list_columns(by) if COLUMN_BY_KEY[key].column.numeric]
    options = {
        "depth": data.draw(st.none() | st.integers(0, 4)) if by == "layer" else None,
        "columns": data.draw(st.none() | st.lists(st.sampled_from(known), min_size=1, unique=True)),
        "sort": data.draw(st.none() | st.sampled_from(list_columns(by))),
        "top": data.draw(st.none() | st.integers(1, 8)),
    }
    answer, expected = tabulate_layers(profile, by=by, **options), whole(profile)
    total, records = answer.record(answer.total), answer.records()
    for key in [c.key for c in answer.columns if c.numeric]:
        values, metric = [record[key] for record in records], COLUMN_BY_KEY[key]
        if metric.adds == "ratio":
            assert metric.measured or total[key] == intensity(profile)
        elif total[key] is None:
            assert set(values) <= {None}
        else:
            assert sum(values) == pytest.approx(total[key], rel=1e-9)
        if metric.adds == "sum" and key != "calls" and not metric.measured:
            assert total[key] == expected[key]


@settings(max_examples=60, deadline=None)
@given(profiles())
def test_a_subtotal_is_the_sum_of_the_rows_under_it(profile):
    answer = tabulate_layers(profile, columns=["params", "flops", "act_fp32"])
    rows = answer.rows
    for i, row in enumerate(rows):
        if row.subtotal:
            end = next((j for j in range(i + 1, len(rows)) if rows[j].depth <= row.depth), len(rows))
            parts = [part.cells[1:] for part in rows[i + 1 : end] if not part.subtotal]
            assert row.cells[1:] == tuple(map(sum, zip(*parts, strict=True)))


def test_every_column_says_what_it_means_in_one_line():
    for key, entry in COLUMN_BY_KEY.items():
        assert entry.key == key
        assert entry.meaning
        assert "\n" not in entry.meaning


def test_the_legend_lists_every_column_that_can_be_asked_for():
    for by in GROUPINGS:
        keys = [line.split()[0] for line in describe_columns(by).splitlines()]
        assert [c.key for c in tabulate_layers(builders.profile(), by=by, columns=keys).columns] == keys
    assert "params" not in describe_columns("op")


def test_columns_chosen_by_the_reader_keep_their_order_of_importance():
    chosen = tabulate_layers(builders.profile(), columns=["act_bf16", "macs"]).columns
    assert [(c.key, c.rank) for c in chosen] == [("layer", -3), ("act_bf16", -2), ("macs", -1)]
    assert all(
        dataclasses.replace(c, rank=COLUMN_BY_KEY[c.key].column.rank) == COLUMN_BY_KEY[c.key].column for c in chosen
    )
