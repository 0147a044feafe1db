"""Alignment: every row of every model exactly once, in its order, over random models."""

from collections import Counter
from itertools import pairwise
from unittest.mock import patch

import builders
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import archprof
from archprof.analysis.compare import align, sequences
from archprof.analysis.compare.comparison import compare
from archprof.analysis.compare.sequences import align_sequences
from archprof.analysis.view import ProfileView
from archprof.facts.records import Layer, Storage, Tensor, TensorSpec

SHAPES = [(1, 3, 32, 32), (1, 8, 16, 16), (1, 8, 15, 15), (1, 8, 8, 8), (1, 8, 1, 1), (1, 8), (1, 17, 8), ()]


@st.composite
def profiles(draw):
    """A model of random layers: nested, called again, never called, without an output, with unknown ops."""
    layers, ops, tensors, storages = [Layer("", "Net", 0, 0)], [], [], []
    calls = Counter[str]()
    for number in range(draw(st.integers(0, 12))):
        depth = draw(st.integers(1, layers[-1].depth + 1))
        spec = TensorSpec(draw(st.sampled_from(SHAPES)), "float32")
        path = draw(st.sampled_from(["a", "b", "c.0", "c.1", f"d.{number}", f"uncalled.{number}"]))
        layers.append(
            Layer(
                path=path,
                kind=draw(st.sampled_from(["Conv2d", "ReLU", "Linear"])),
                depth=depth,
                call=None if path.startswith("uncalled") else calls[path],
                outputs=(spec,) if draw(st.booleans()) else (),
                params=0 if calls[path] else draw(st.sampled_from([0, 0, 7, 100])),
            )
        )
        calls[path] += 1
        if layers[-1].call is not None and draw(st.booleans()):
            storages.append(Storage(spec.nbytes, "float32", "activation", len(ops), None))
            tensors.append(Tensor(spec, len(storages) - 1))
            macs = draw(st.sampled_from([0, 5, 1000, None]))
            call = sum(layer.call is not None for layer in layers) - 1
            status = "unknown" if macs is None else "counted"
            flops = None if macs is None else 2 * macs
            made = (len(tensors) - 1,)
            ops.append(builders.make_op("aten.mm", call, "forward", (), made, macs, flops, 0, 4, status))
    model = draw(st.sampled_from(["one", "two"]))
    built = builders.make_profile(
        model, ("3",), 1, "forward", "float32", tuple(layers), tuple(ops), tuple(tensors), tuple(storages)
    )
    built.check()
    return built


several = st.lists(profiles(), min_size=2, max_size=4)


def every_row_once(sides, aligned):
    for model, side in enumerate(sides):
        assert sorted(row[model] for row in aligned if row[model] is not None) == sorted(side.rows)
    assert all(any(at is not None for at in row) for row in aligned)


@given(several)
@settings(max_examples=150, deadline=None)
def test_every_row_of_every_model_stands_in_exactly_one_line(models):
    sides = [ProfileView(profile) for profile in models]
    by_path = align.align_by_path(sides)
    every_row_once(sides, by_path)
    for model, side in enumerate(sides):
        assert [row[model] for row in by_path if row[model] is not None] == list(side.rows)
    every_row_once(
        sides, [row for stage in align.align_stages(sides) for row in align.align_rows_in_stage(sides, stage)]
    )


@given(several)
@settings(max_examples=150, deadline=None)
def test_what_stands_beside_each_other_belongs_together(models):
    sides = [ProfileView(profile) for profile in models]
    for row in align.align_by_path(sides):
        keys = {side.call_key(at) for side, at in zip(sides, row, strict=True) if at is not None}
        assert len(keys) == 1
    for stage in align.align_stages(sides):
        for row in align.align_rows_in_stage(sides, stage):
            kinds = {side.layer(at).kind for side, at in zip(sides, row, strict=True) if at is not None}
            assert len(kinds) == 1


@given(several, st.sampled_from(["path", "stage", "auto"]))
@settings(max_examples=150, deadline=None)
def test_the_tables_add_up_to_each_model(models, by):
    comparison = compare(models, by=by)
    for table in (comparison.stages, comparison.layers):
        for letter, profile in zip("abcd", models, strict=False):
            for key in ("params", "macs"):
                column = [record[f"{key}_{letter}"] for record in table.records()]
                total = table.record(table.total)[f"{key}_{letter}"]
                assert sum(value or 0 for value in column) == total == getattr(profile.totals, key)
        assert table.complete == all(profile.totals.complete for profile in models)


@given(profiles(), st.sampled_from(["path", "stage"]))
@settings(max_examples=100, deadline=None)
def test_a_model_beside_itself_is_equal_everywhere(model, by):
    comparison = compare([model, model], by=by)
    for row in [*comparison.stages.records(), *comparison.layers.records()]:
        assert (row["params_a"], row["macs_a"]) == (row["params_b"], row["macs_b"])
        assert row["macs_ratio_b"] in (1.0, None)
    assert not any(row.name.startswith(("+ ", "- ")) for row in comparison.layers.rows)


@given(several)
@settings(max_examples=50, deadline=None)
def test_subtotals_are_the_sums_of_the_rows_below(models):
    for by in ("path", "stage"):
        table = compare(models, by=by).layers
        for at, row in enumerate(table.rows):
            if row.subtotal:
                below = []
                for part in table.rows[at + 1 :]:
                    if not part.depth:
                        break
                    below.append(table.record(part)["params_a"] or 0)
                assert (table.record(row)["params_a"] or 0) == sum(below)


words = st.lists(st.sampled_from("abcd"), max_size=7)


def longest(a, b):
    """Length of the longest common subsequence, by trying both ways out of every mismatch."""
    if not a or not b:
        return 0
    if a[0] == b[0]:
        return 1 + longest(a[1:], b[1:])
    return max(longest(a[1:], b), longest(a, b[1:]))


@given(words, words)
@settings(deadline=None)
def test_two_sequences_are_matched_as_well_as_can_be(a, b):
    merged = align_sequences([a, b], lambda x, y: float(x == y))
    assert sum(None not in row for row in merged) == longest(a, b)


@given(words, words)
@settings(deadline=None)
def test_long_sequences_keep_their_order_and_hold_every_part_once(a, b):
    """What is done for long ones, done for short ones: cut at letters that both have once, little tried between."""
    with patch.multiple(sequences, EXACT_PAIRS=0, NEAR_PAIRS=1):
        merged = align_sequences([a, b], lambda x, y: float(x == y), lambda x: x)
    for model, sequence in enumerate((a, b)):
        assert [row[model] for row in merged if row[model] is not None] == list(range(len(sequence)))
    assert all(a[i] == b[j] for i, j in merged if None not in (i, j))


@given(st.permutations(range(8)), st.permutations(range(8)))
@settings(deadline=None)
def test_long_sequences_of_names_are_matched_as_well_as_can_be(a, b):
    with patch.multiple(sequences, EXACT_PAIRS=0, NEAR_PAIRS=1):
        merged = align_sequences([a, b], lambda x, y: float(x == y), lambda x: x)
    assert sum(None not in row for row in merged) == longest(a, b)


def test_names_that_are_equal_by_chance_do_not_lead_astray():
    """One name at the head of the one and at the end of the other would leave nothing else to match."""
    a, b = [("x", 0), *(("a", i) for i in range(60))], [*(("b", i) for i in range(60)), ("x", 0)]
    score = lambda left, right: 1.0 + (left == right) if "x" not in left + right else 0.5 * (left == right)  # noqa: E731
    with patch.multiple(sequences, EXACT_PAIRS=0, NEAR_PAIRS=600):
        merged = align_sequences([a, b], score, lambda part: part)
    assert sum(None not in row for row in merged) == 60


@given(st.lists(words, min_size=1, max_size=4))
@settings(deadline=None)
def test_merging_keeps_every_order(sequences):
    merged = align_sequences(sequences, lambda x, y: float(x == y))
    for model, sequence in enumerate(sequences):
        assert [row[model] for row in merged if row[model] is not None] == list(range(len(sequence)))


def chain(*sizes):
    """Leaves with a parameter each, at these sizes."""
    leaves = [
        Layer(f"l{i}", "Leaf", 1, 0, (), (TensorSpec((1, 4, size, size), "float32"),), 1)
        for i, size in enumerate(sizes)
    ]
    return builders.make_profile("chain", (), 1, "forward", "float32", (Layer("", "Net", 0, 0), *leaves), (), (), ())


@pytest.mark.parametrize(
    ("sizes", "stages"),
    [
        ([56, 28, 56, 28, 28], [("56x56", (1, 3)), ("28x28", (2, 4, 5))]),  # the shortcut first, then the block
        ([56, 28, 56, 28, 56, 28], [("56x56", (1, 3, 5)), ("28x28", (2, 4, 6))]),
        ([56, 28, 14, 28, 56], [("56x56", (1,)), ("28x28", (2,)), ("14x14", (3,)), ("28x28", (4,)), ("56x56", (5,))]),
        ([56, 28, 56, 14], [("56x56", (1,)), ("28x28", (2,)), ("56x56", (3,)), ("14x14", (4,))]),
    ],
)
def test_branches_that_change_resolution_together_are_two_stages(sizes, stages):
    assert [(stage.name, stage.rows) for stage in ProfileView(chain(*sizes)).stages] == stages


@pytest.mark.parametrize(
    ("a", "b", "beside"),
    [
        ([55, 27, 13], [224, 112, 56, 28, 14], [(None, 0), (None, 1), (0, 2), (1, 3), (2, 4)]),
        ([8, 4], [8, 6, 4], [(0, 0), (None, 1), (1, 2)]),
        ([8], [4], [(0, None), (None, 0)]),
    ],
)
def test_stages_stand_beside_those_of_about_their_resolution(a, b, beside):
    assert align.align_stages([ProfileView(chain(*a)), ProfileView(chain(*b))]) == beside


def test_resolution_is_relative_to_the_image():
    """The same net on a larger image has the same stages."""
    small, large = archprof.profile("resnet18", "3x64x64"), archprof.profile("resnet18", "3x160x160")
    sides = [ProfileView(small), ProfileView(large)]
    assert [stage.name for stage in sides[0].stages][:3] == ["32x32", "16x16", "8x8"]
    assert [stage.name for stage in sides[1].stages][:3] == ["80x80", "40x40", "20x20"]
    assert align.align_stages(sides) == [(at, at) for at in range(len(sides[0].stages))]


def test_a_stage_holds_what_the_stage_table_says():
    profile = builders.profile()
    side = ProfileView(profile)
    assert [(stage.name, stage.counts.params, stage.counts.macs) for stage in side.stages] == [
        ("8x8", 112 + 148, 6912 + 9216),
        ("vector", 2570, 2560),
        ("not read", 30, 0),
    ]
    assert all(sum(side.own_counts[i].params for i in stage.rows) == stage.counts.params for stage in side.stages)


def test_the_order_in_a_stage_is_that_in_which_work_ends():
    side = ProfileView(builders.profile())
    assert [side.row_name(row) for row in side.stages[0].rows] == [
        "block.conv1",
        "block.relu",
        "block.conv2",
        "block.relu #2",
        "block (own)",
    ]
    assert all(a < b for a, b in pairwise(side.stages[0].rows[:-1]))


def test_tokens_are_not_set_beside_maps() -> None:
    """197 tokens of ViT-B/16 are no 14x14 map of ResNet-50, though they are about as many."""
    pytest.importorskip("torchvision")
    comparison = archprof.compare(archprof.profile("torchvision:vit_b_16"), archprof.profile("resnet50"))
    [tokens] = [row for row in comparison.stages.records() if "length 197" in row["part"]]
    assert (tokens["part"], tokens["macs_b"]) == ("length 197", None)
    assert not any("197" in finding.text for finding in comparison.findings)
