"""Differences and what explains them, on a profile of which every number can be checked on paper."""

from __future__ import annotations

import builders
import pytest

from archprof.analysis.tables import notes
from archprof.analysis.tables.verify import all_agree, tabulate_verification
from archprof.facts.ran import Ran
from archprof.facts.records import Profile
from archprof.tracing.verify import SourceCount

MACS, PARAMS, AUX = 6912 + 9216 + 2560, 112 + 148 + 2570 + 30, 30


def lines(profile: Profile, *counts: SourceCount) -> list[tuple[object, ...]]:
    return [row.cells for row in tabulate_verification(profile, counts).rows]


def test_a_source_that_says_the_same_agrees():
    compared = tabulate_verification(builders.profile(), [SourceCount("a", PARAMS, MACS, convention="torch")])
    assert [row.cells for row in compared.rows] == [
        ("archprof", None, PARAMS, MACS, None, "complete"),
        ("a", None, PARAMS, MACS, 0, "agrees"),
    ]
    assert all_agree(compared)


def test_a_difference_without_a_rule_is_unexplained():
    compared = tabulate_verification(builders.profile(), [SourceCount("a", PARAMS, MACS + 5)])
    assert [row.cells for row in compared.rows[1:]] == [
        ("a", None, PARAMS, MACS + 5, 5, "differs"),
        ("a", "unexplained", None, None, 5, None),
    ]
    assert not all_agree(compared)


def test_a_rounded_figure_agrees_within_its_rounding_only():
    assert lines(builders.profile(), SourceCount("a", PARAMS, 19_000, rounding=500))[1][4:] == (None, "agrees")
    assert lines(builders.profile(), SourceCount("a", PARAMS, 20_000, rounding=500))[1][4:] == (
        20_000 - MACS,
        "differs",
    )


def test_parameters_of_layers_that_were_never_called_explain_a_smaller_count():
    found = lines(builders.profile(), SourceCount("a", PARAMS - AUX, MACS))
    assert found[1][-1] == "explained"
    assert found[2][1:] == ("not read in this pass: aux", -AUX, None, None, None)
    assert lines(builders.profile(), SourceCount("a", PARAMS - 1, MACS))[1][-1] == "differs"


def with_vector() -> Profile:
    """The profile with a matrix-vector product of 70 MACs, which torch's counter leaves out."""
    base = builders.profile()
    return builders.profile(
        ops=(*base.ops, builders.make_op("aten.mv", 0, "forward", (0, 0), (1,), 70, 140, 8, 8, "counted"))
    )


@pytest.mark.parametrize(("left", "verdict"), [(0, "explained"), (-3, "differs")])
def test_the_parts_and_the_rest_add_up_to_the_difference(left, verdict):
    found = lines(with_vector(), SourceCount("torch", PARAMS, MACS + left, convention="torch"))
    assert found[1][-2:] == (left - 70, verdict)
    assert found[2][1] == "aten.mv, which is not in its registry"
    assert sum(row[4] for row in found[2:]) == left - 70
    assert [row[1] for row in found[3:]] == (["unexplained"] if left else [])


def test_convolutions_that_fvcore_cannot_see_are_named():
    found = lines(
        builders.profile(), SourceCount("fvcore", PARAMS, MACS - 6912, convention="fvcore", unseen=("block.conv1",))
    )
    assert found[1][-2:] == (-6912, "explained")
    assert found[2][1:5] == ('convolution with padding="same", another node to it', None, None, -6912)


def test_a_source_that_could_not_run_says_why_and_is_no_agreement():
    compared = tabulate_verification(builders.profile(), [SourceCount("a", why="it is not installed")])
    assert compared.rows[1].cells == ("a", "it is not installed", None, None, None, "not run")
    assert not all_agree(compared)


def test_parameters_alone_may_agree():
    assert lines(builders.profile(), SourceCount("a", PARAMS, why="published for another input"))[1][-1] == "agrees"


def test_the_standing_of_the_own_row():
    compared = tabulate_verification(builders.with_unknown(), [])
    assert compared.rows[0].cells[-1] == "lower bound"
    assert compared.rows[0].bounds == {"macs"}
    assert any("aten.mystery" in note and "block.conv2" in note for note in compared.notes)
    assert notes.describe_certainty(builders.stopped()) == "lower bound"
    assert notes.describe_certainty(builders.profile(ran=Ran("cpu"))) == "complete, on real tensors"


def test_the_explanation_is_in_the_data_formats():
    text = tabulate_verification(with_vector(), [SourceCount("torch", PARAMS, MACS, convention="torch")]).to_csv()
    assert 'torch,"aten.mv, which is not in its registry",,,-70,,true' in text.splitlines()
