"""Stages: where a run of one spatial size begins and ends, on shapes written by hand."""

import builders
import pytest

from archprof.analysis.tables.layers import tabulate_layers
from archprof.facts.records import Layer, TensorSpec, Window


def chain(*shapes, kernel=None, idle=()):
    """A net whose leaves have these output shapes, one parameter each but the `idle` ones."""
    leaves = [
        Layer(f"l{i}", "Leaf", 1, 0, (), (TensorSpec(shape, "float32"),), int(i not in idle))
        for i, shape in enumerate(shapes)
    ]
    window = Window(kernel, (1,), (0,), (1,)) if kernel else None
    ops = (builders.make_op("aten.convolution", 1, "forward", (), (), 1, 2, 0, 0, "counted", window),) if kernel else ()
    profile = builders.make_profile(
        "chain", (), 1, "forward", "float32", (Layer("", "Net", 0, 0), *leaves), ops, (), ()
    )
    profile.check()
    return profile


def stages(profile):
    answer = tabulate_layers(profile, by="stage", columns=["first", "last", "params"])
    return [row.cells for row in answer.rows]


def test_a_stage_is_a_run_of_one_resolution():
    convolutions = chain((1, 64, 112, 112), (1, 64, 112, 112), (1, 64, 56, 56), (1, 512, 7, 7), (1, 1000))
    assert stages(convolutions) == [
        ("112x112", "l0", "l1", 2), ("56x56", "l2", "l2", 1), ("7x7", "l3", "l3", 1), ("vector", "l4", "l4", 1),
    ]  # fmt: skip


def test_a_resolution_that_comes_back_is_a_new_stage():
    names = [row[0] for row in stages(chain((1, 8, 16, 16), (1, 8, 8, 8), (1, 8, 16, 16)))]
    assert names == ["16x16", "8x8", "16x16"]


@pytest.mark.parametrize("gate", [(1, 8, 1, 1), (1, 8)])
def test_squeeze_and_excitation_is_no_stage(gate):
    assert stages(chain((1, 8, 14, 14), gate, gate, (1, 8, 14, 14))) == [("14x14", "l0", "l3", 4)]


def test_channels_last_stays_in_its_stage():
    """ConvNeXt and Swin: a convolution, then (batch, height, width, channels), widened by a linear layer."""
    shapes = [(1, 96, 56, 56), (1, 56, 56, 96), (1, 56, 56, 384), (1, 28, 28, 192), (1, 28, 28, 768)]
    assert [(row[0], row[3]) for row in stages(chain(*shapes))] == [("56x56", 3), ("28x28", 2)]


def test_tokens_have_a_length():
    shapes = [(1, 768, 14, 14), (1, 197, 768), (1, 197, 3072), (1, 1000)]
    assert [row[0] for row in stages(chain(*shapes))] == ["14x14", "length 197", "vector"]


def test_after_a_one_dimensional_convolution_the_length_comes_last():
    assert [row[0] for row in stages(chain((1, 64, 8000), (1, 64, 8000), kernel=(3,)))] == ["length 8000"]


def test_video_has_three_dimensions():
    assert [row[0] for row in stages(chain((1, 64, 16, 56, 56)))] == ["16x56x56"]


def test_a_call_that_does_nothing_starts_no_stage():
    assert stages(chain((1, 8, 14, 14), (1, 12, 9, 9), (1, 8, 14, 14), idle=(1,))) == [("14x14", "l0", "l2", 2)]


def test_own_work_of_a_container_belongs_to_its_last_part_and_uncalled_modules_stand_apart():
    answer = tabulate_layers(builders.profile(), by="stage", columns=["first", "last", "params", "flops"])
    assert [row.cells for row in answer.rows] == [
        ("8x8", "block.conv1", "block.relu", 260, 33536),
        ("vector", "fc", "fc", 2570, 5130),
        ("not read", "aux", "aux", 30, 0),
    ]
