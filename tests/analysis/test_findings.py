"""Findings: each sentence in both grammars, each number against the tables, and none about what is not known."""

import dataclasses
import re

import pytest
import torch
from builders import change_op
from torch import nn

import archprof
from archprof.analysis import phrases
from archprof.analysis.compare.comparison import compare
from archprof.analysis.report.page import build_report


def texts(*models, **options):
    return [finding.text for finding in compare(models, **options).findings]


def traced(*layers, shape=(1, 4, 16, 16), name="net"):
    return dataclasses.replace(archprof.profile(nn.Sequential(*layers), torch.zeros(shape)), model=name)


def conv(inputs, outputs, kernel, stride=1):
    return nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)


def test_equal_models_cost_exactly_the_same():
    said = texts(archprof.profile("vgg16"), archprof.profile("vgg_d"))
    expected = "vgg_d costs exactly what vgg16 does: 138.36 M parameters, 15.47 G MACs, 57.65 MiB of activations"
    assert said[0].startswith(expected)
    assert "89% of the parameters of vgg16 and of vgg_d sit in three linear layers." in said


def test_one_layer_is_singular():
    one = traced(conv(4, 4, 3), nn.Flatten(), nn.Linear(1024, 10), name="one")
    two = traced(conv(4, 4, 3), conv(4, 4, 3), name="two")
    said = texts(one, two)
    assert "99% of the parameters of one sit in one linear layer." in said
    assert not any("1 weight layers" in text for text in said)


def test_depth_of_one_is_singular():
    said = texts(traced(nn.ReLU(), conv(4, 4, 3), name="a"), traced(nn.ReLU(), conv(4, 4, 3), name="b"))
    assert "b is as deep as a: 1 weight layer." in said


def test_the_larger_comes_first_whatever_the_order():
    small, large = archprof.profile("resnet18"), archprof.profile("vgg16")
    assert texts(small, large)[0] == texts(large, small)[0]


def test_same_macs_other_parameters():
    """One layer called twice against two layers: 4 x 4 x 9 = 144 parameters each."""
    shared = conv(4, 4, 3)
    said = texts(traced(shared, shared, name="tied"), traced(conv(4, 4, 3), conv(4, 4, 3), name="untied"))
    assert said[0] == "untied has 2.00x the parameters of tied (288 against 144) for the same number of MACs."


def test_where_the_difference_sits():
    """Twice the channels in the second stage only: 8x8 positions x 9 x (4x16 + 16x16 - 4x8 - 8x8)."""
    narrow = traced(conv(4, 4, 3), conv(4, 8, 3, 2), conv(8, 8, 3), name="narrow")
    wide = traced(conv(4, 4, 3), conv(4, 16, 3, 2), conv(16, 16, 3), name="wide")
    here, there = 64 * 9 * (64 + 256), 64 * 9 * (32 + 64)
    assert f"100% of the MACs that wide spends beyond narrow are spent at 8x8: {here:,} against {there:,}." in texts(
        narrow, wide
    )


def test_where_more_is_spent_than_the_whole_difference():
    early = traced(conv(4, 8, 3), conv(8, 4, 3, 2), name="early")
    late = traced(conv(4, 4, 3), conv(4, 32, 3, 2), conv(32, 32, 3), name="late")
    macs = {"early": (256 * 9 * 32, 64 * 9 * 32), "late": (256 * 9 * 16, 64 * 9 * (128 + 1024))}
    more = macs["late"][1] - macs["early"][1]
    fewer = macs["early"][0] - macs["late"][0]
    expected = f"late spends {more:,} MACs more than early at 8x8, and {fewer:,} fewer in the rest of the net."
    assert expected in texts(early, late)


def test_a_surprise_in_memory_is_said():
    wide = traced(conv(4, 64, 1), conv(64, 4, 1), name="wide")
    heavy = traced(conv(4, 4, 15), conv(4, 4, 15), name="heavy")
    (said,) = [text for text in texts(wide, heavy) if "memory of those" in text]
    assert said.endswith("though it spends fewer MACs.")


def test_early_stages_without_parameters():
    pools = traced(nn.ReLU(), nn.MaxPool2d(2), conv(4, 4, 3), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 2), name="p")
    said = texts(pools, traced(conv(4, 4, 3), name="q"))
    assert any("is made at 16x16, by layers without parameters." in text for text in said)


def test_an_entry_is_not_set_against_one_net():
    assert not any("published" in text for text in texts(archprof.profile("alexnet_2012"), archprof.profile("vgg11")))
    assert any("published" in text for text in texts(archprof.profile("alexnet_2012"), archprof.profile("zfnet")))


def test_nothing_is_said_of_what_is_a_lower_bound():
    small, large = traced(conv(4, 4, 3), name="small"), traced(conv(4, 4, 3), conv(4, 4, 3), name="large")
    first = change_op(large.ops[0], status="unknown", macs=None, flops=None)
    unknown = dataclasses.replace(large, ops=(first, *large.ops[1:]), model="unsure")
    said = texts(small, unknown)
    assert said[0] == "The MACs and FLOPs of unsure are lower bounds: no cost rule covers 1 op of it."
    assert said[1] == "unsure has 2.00x the parameters of small (288 against 144)."
    assert not any("MACs" in text or "deep" in text for text in said[1:])
    assert any("for 2.00x the MACs" in text for text in texts(small, large))


def test_a_forward_that_stopped_is_said_first():
    with pytest.raises(archprof.TraceError) as error:
        archprof.profile(nn.Sequential(conv(4, 64, 3), conv(64, 4, 3), conv(3, 4, 3)), torch.zeros(1, 4, 16, 16))
    said = texts(traced(conv(4, 4, 3)), error.value.profile)
    assert said[0] == "The forward of Sequential stopped in 2: its work and activations are lower bounds."
    assert not any(word in text for text in said for word in ("MACs", "memory of those", "deep", "pixels"))


def test_other_inputs_are_said():
    said = texts(archprof.profile("alexnet"), archprof.profile("alexnet_2012"))
    expected = "3x224x224 for alexnet; 3x227x227 for alexnet_2012."
    assert said[0] == f"The passes differ, which is part of every ratio: {expected}"


PAIRS = [("alexnet", "vgg11"), ("vgg16", "resnet18"), ("resnet18", "resnet50"), ("lenet5", "zfnet"), ("vgg11", "vgg13")]


@pytest.mark.parametrize("models", [*PAIRS, ("alexnet", "vgg11", "vgg16", "resnet18", "resnet50", "zfnet")])
def test_three_to_seven_well_formed_sentences(models):
    comparison = compare([archprof.profile(name) for name in models])
    assert 3 <= len(comparison.findings) <= 7
    columns = {column.key for column in comparison.summary.columns}
    for finding in comparison.findings:
        assert re.fullmatch(r"[^ ].*[^ .]\.", finding.text)
        assert "  " not in finding.text
        assert "None" not in finding.text
        assert set(finding.columns) <= columns
        assert finding.models
    assert len(set(map(str, comparison.findings))) == len(comparison.findings)


@pytest.mark.parametrize("models", PAIRS)
def test_the_first_ratio_is_that_of_the_table(models):
    comparison = compare([archprof.profile(name) for name in models])
    (first,) = [f for f in comparison.findings if "the MACs of" in f.text and " spends " in f.text]
    _, second = comparison.summary.records()
    ratio = max(second["macs_ratio"], 1 / second["macs_ratio"])
    assert f"spends {phrases.say_times(ratio)} the MACs" in first.text


@pytest.mark.parametrize(
    ("ratio", "text"),
    [(8.527, "8.53x"), (11.836, "11.8x"), (1204.4, "1,204x"), (0.27, "0.27x"), (0.0041, "0.0041x"), (1, "1.00x")],
)
def test_ratios(ratio, text):
    assert phrases.say_times(ratio) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "0%"), (0.0003, "under 1%"), (0.01, "1%"), (0.894, "89%"), (0.9999, "over 99%"), (1, "100%")],
)
def test_percents_never_say_all_or_nothing_too_soon(share, text):
    assert phrases.say_percent(share) == text


POOLS = ("pool2 pool2 pool2 pool2", "avgpool2 avgpool2 avgpool2", "relu", "flatten")


@pytest.mark.parametrize("other", [*POOLS, "conv3-8 pool2", "gap flatten linear-10"])
def test_models_without_parameters(other):
    """Pooling takes 3x64x64 to 32x32, which is three quarters of all that the four poolings make."""
    traced = [archprof.profile(spec, "3x64x64") for spec in (POOLS[0], other)]
    for pair in (traced, traced[::-1]):
        said = [finding.text for finding in compare(pair).findings]
        if other == POOLS[0]:
            assert said == [f"Nothing changed: {other} (A) and {other} (B) cost the same."]
            continue
        assert any("memory of pool2" in text and "at 32x32, by layers without parameters." in text for text in said)


@pytest.mark.parametrize("spec", POOLS)
def test_the_report_of_a_model_without_parameters(spec):
    (page,) = build_report([archprof.profile(spec, "3x64x64")]).models
    said = [finding.text for finding in page.findings]
    assert f"{spec} has no parameters." in said
