"""Comparisons: the lectures' cases in their own numbers, the layout, and what stands in each cell."""

import csv
import dataclasses
import json
from pathlib import Path

import builders
import pytest
import torch
from builders import change_op
from torch import nn

import archprof
from archprof.analysis.compare.comparison import compare
from archprof.errors import UsageError

LECTURES = {
    row["id"]: row["expected"]
    for row in csv.DictReader((Path(__file__).parent.parent / "data" / "lectures.csv").open(encoding="utf-8"))
}


def named(*names):
    return [archprof.profile(name) for name in names]


def blocks():
    """The VGG lecture: one 5x5 against two 3x3 with a narrow middle, without biases."""
    one = nn.Conv2d(64, 128, 5, padding=2, bias=False)
    two = nn.Sequential(nn.Conv2d(64, 32, 3, padding=1, bias=False), nn.Conv2d(32, 128, 3, padding=1, bias=False))
    return [archprof.profile(block, torch.zeros(1, 64, 32, 32)) for block in (one, two)]


def summary(comparison):
    return {record["model"]: record for record in comparison.summary.records()}


def test_the_block_lecture():
    """V1, V2: 204,800 against 55,296 or 3.70x; MACs are parameters times 32 * 32 positions. V3: both see 5."""
    comparison = compare(blocks())
    first, second = comparison.summary.records()
    assert (first["params"], second["params"]) == (int(LECTURES["V1"]), int(LECTURES["V2"])) == (204_800, 55_296)
    assert 1 / second["params_ratio"] == pytest.approx(3.7037, abs=5e-5)
    assert (first["macs"], second["macs"]) == (204_800 * 1024, 55_296 * 1024)
    assert first["field"] == second["field"] == int(LECTURES["V3"])
    assert (first["depth"], second["depth"]) == (1, 2)
    assert "3.70x its parameters (204,800 against 55,296)" in comparison.findings[0].text
    assert any("sees as far as Conv2d, 5 pixels" in finding.text for finding in comparison.findings)


def test_the_cifar_ladder():
    """V6, V7, R1 to R6: every step of the lectures' ladder and its ratio to the first."""
    ladder = {
        "cifar_alexnet": "R1",
        "cifar_alexnet_bn": "V6",
        "cifar_vgg": "R2",
        "cifar_vgg_bn": "V7",
        "cifar_vgg_bn_deep": "R4",
        "cifar_resnet": "R5",
        "cifar_resnet_deep": "R6",
    }
    rows = summary(compare(named(*ladder)))
    expected = {name: int(LECTURES[row]) for name, row in ladder.items()}
    assert {name: row["params"] for name, row in rows.items()} == expected
    for name, row in rows.items():
        assert row["params_ratio"] == expected[name] / expected["cifar_alexnet"]
    half = summary(compare(named("cifar_alexnet_bn", "cifar_vgg_bn")))["cifar_vgg_bn"]["params_ratio"]
    assert half == pytest.approx(0.521, abs=5e-4)  # "half the parameters"


def test_alexnet_against_vgg_and_resnet():
    """MACs as torchvision publishes them (0.714, 7.609, 15.470, 1.814 G) and its parameter counts."""
    rows = summary(compare(named("alexnet", "vgg11", "vgg16", "resnet18")))
    assert [round(row["macs"] / 1e9, 3) for row in rows.values()] == [0.714, 7.609, 15.47, 1.814]
    assert [row["params"] for row in rows.values()] == [61_100_840, 132_863_336, 138_357_544, 11_689_512]
    assert rows["vgg16"]["params_ratio"] == 138_357_544 / 61_100_840
    assert [row["depth"] for row in rows.values()] == [8, 11, 16, 18]
    assert [row["top5_error"] for row in rows.values()] == [20.934, 11.372, 9.618, 10.922]


def test_the_sentence_of_the_issue():
    first, *others = compare(named("resnet18", "vgg16")).findings
    assert first.text.startswith("vgg16 spends 8.53x the MACs of resnet18")
    assert "89% of the parameters of vgg16 sit in three linear layers." in [finding.text for finding in others]


def test_one_family_is_matched_by_path():
    comparison = compare(named("resnet18", "resnet34"))
    rows = {record["part"]: record for record in comparison.layers.records()}
    assert comparison.layers.title.startswith("Layers by path")
    assert rows["layer1.0.conv1"]["params_a"] == rows["layer1.0.conv1"]["params_b"] == 64 * 64 * 9
    assert rows["layer1.2.conv1"]["params_a"] is None
    marks = {row.name for row in comparison.layers.rows}
    assert "+ layer1.2.conv1" in marks
    assert "layer1.0.conv1" in marks
    assert "- layer1.2.conv1" in {row.name for row in compare(named("resnet34", "resnet18")).layers.rows}


def test_names_alone_make_no_family():
    """Both have features.0 and classifier.1, and they are different layers."""
    assert compare(named("alexnet", "vgg11")).layers.title.startswith("Layers by stage")


def test_one_model_at_two_inputs_is_one_family():
    small, large = archprof.profile("resnet18", "3x64x64"), archprof.profile("resnet18")
    comparison = compare([small, large])
    assert comparison.layers.title == "Layers by path: A resnet18 (A), B resnet18 (B)"
    assert all(row["params_a"] == row["params_b"] for row in comparison.layers.records())
    assert comparison.findings[0].text.startswith("The passes differ")


def test_kinds_are_matched_inside_a_stage():
    """Batch norm is added to VGG, and every other layer finds its partner though all paths have moved."""
    rows = compare(named("vgg11", "vgg11_bn")).layers.rows
    added = [row.name for row in rows if row.name.startswith(("+", "-"))]
    assert added == ["+ BatchNorm2d"] * 8


def test_the_order_of_the_models_is_kept():
    names = ["vgg11", "alexnet", "resnet18"]
    comparison = compare(named(*names))
    assert [record["model"] for record in comparison.summary.records()] == names
    assert [row.name for row in comparison.summary.rows] == ["A vgg11", "B alexnet", "C resnet18"]
    total = comparison.stages.record(comparison.stages.total)
    assert [total[f"params_{letter}"] for letter in "abc"] == [132_863_336, 61_100_840, 11_689_512]


def test_lower_bounds_stay_marked():
    exact, failing = blocks()
    unknown = dataclasses.replace(exact, ops=(change_op(exact.ops[0], status="unknown", macs=None, flops=None),))
    with pytest.raises(archprof.TraceError) as error:
        archprof.profile(nn.Sequential(nn.Conv2d(64, 8, 3), nn.Conv2d(64, 8, 3)), torch.zeros(1, 64, 32, 32))
    comparison = compare([exact, unknown, error.value.profile])
    bounds = [row.bounds for row in comparison.summary.rows]
    assert bounds[:2] == [frozenset(), {"macs", "flops", "depth"}]
    assert {"macs", "flops", "act_fp32", "act_fp16", "depth", "field"} <= bounds[2]
    assert comparison.stages.total.bounds == comparison.layers.total.bounds == {"macs_b", "macs_c"}
    assert not compare([exact, failing]).stages.total.bounds


def test_a_column_that_nobody_has_is_left_out():
    keys = [column.key for column in compare(blocks()).summary.columns]
    assert "top5_error" not in keys


def test_a_row_of_stages_knows_whose_they_are():
    """AlexNet begins at 55x55, VGG-11 at 224x224 and comes to 56x56: the page links to the row by either name."""
    rows = compare(named("alexnet", "vgg11")).stages.rows
    assert ("55x55", "56x56") in [row.stages for row in rows]
    assert ("224x224",) in [row.stages for row in rows]


def test_errors_of_entries_are_named_as_such():
    notes = compare(named("alexnet_2012", "vgg11")).summary.notes
    assert any("competition entry" in note and "alexnet_2012" in note for note in notes)
    assert not any("competition entry" in note for note in compare(named("alexnet", "vgg11")).summary.notes)


@pytest.mark.parametrize("width", [80, 120, 160])
@pytest.mark.parametrize("models", [("alexnet", "vgg11"), ("resnet18", "resnet34", "vgg16", "alexnet", "zfnet")])
def test_no_line_is_wider_than_the_page(models, width):
    comparison = compare(named(*models))
    text = comparison.to_text(width) + comparison.layers.to_text(width)
    assert max(map(len, text.splitlines())) <= width
    assert all(f"{letter} {name}" in text for letter, name in zip("ABCDE", models, strict=False))


def test_json_has_raw_values_and_what_each_finding_rests_on():
    document = json.loads(compare(named("vgg16", "resnet18")).to_json())
    assert document["schema"] == 1
    assert document["summary"]["rows"][1]["params"] == 11_689_512
    (linear,) = [finding for finding in document["findings"] if "linear layers" in finding["text"]]
    assert linear["rows"] == ["classifier.0", "classifier.3", "classifier.6"]
    assert linear["models"] == [0]
    assert document["layers"]["total"]["params_a"] == 138_357_544


def test_markdown_has_all_of_it():
    text = compare(named("vgg11", "vgg13")).to_markdown()
    assert text.count("\n| ") > 30
    assert "* vgg13 spends 1.49x the MACs of vgg11" in text


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: compare([]), "0 models were given"),
        (lambda: compare([builders.profile()]), "1 model was given"),
        (lambda: compare([builders.profile()] * 27), "27 models were given"),
        (lambda: compare([builders.profile()] * 2, by="name"), "Allowed: auto, path, stage"),
    ],
)
def test_what_cannot_be_compared(call, said):
    with pytest.raises(UsageError, match=said):
        call()
