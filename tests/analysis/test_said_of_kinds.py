"""What is drawn and said of nets that call a module again, hold more than they multiply, or were measured once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from page_nets import Generator, trace, version
from torch import nn

import archprof
from archprof.analysis import elapsed
from archprof.analysis.compare.comparison import compare
from archprof.analysis.network.network import build_network
from archprof.analysis.report.charts import chart_fields
from archprof.analysis.report.page import build_report
from archprof.analysis.report.view import PageView
from archprof.facts.measured import Timing
from archprof.render.page.markup import escape_sentence


def columns(profile: archprof.Profile) -> dict[str, tuple[int, int]]:
    """Repeats and parameters of each column, by its name."""
    network = build_network(profile)
    params = next(lane for lane in network.lanes if lane.key == "params").values
    return {block.name: (block.count, held) for block, held in zip(network.blocks, params, strict=True)}


def test_an_embedding_stands_alone() -> None:
    """5,000 words of 128 numbers are neither the LSTM's nor what stands before them."""
    lstm = sum(4 * 256 * (size + 256 + 2) for size in (128, 128, 512, 512))
    assert columns(trace("tagger")) == {"embed": (1, 640_000), "lstm": (1, lstm), "tags": (1, 17 * 513)}
    assert columns(trace("clip"))["text_model.embeddings"] == (1, (49_408 + 77) * 512)


def test_what_nothing_calls_is_no_part_of_what_is_called() -> None:
    found = columns(trace("torchvision:inception_v3"))
    assert found["fc"] == (1, 2_049_000)  # 2,048 x 1,000 + 1,000
    assert found["AuxLogits"][1] == 3_326_696  # torchvision's 27,161,264 less the 23,834,568 without auxiliary logits


def test_calls_of_one_module_are_one_column() -> None:
    once = 16 * 26 + 32 * (16 * 9 + 1) + 64 * 3201
    found = columns(trace("siamese"))
    assert [count for count, _ in found.values()] == [2, 1]
    assert [held for _, held in found.values()] == [once, 65]


def test_a_net_in_one_long_module_is_opened_in_runs() -> None:
    blocks = build_network(trace("torchvision:mobilenet_v3_large")).blocks
    assert 7 <= len(blocks) <= 14
    assert max(block.layers for block in blocks) < 100


def said(profile: archprof.Profile) -> list[str]:
    return [finding.text for finding in build_report([profile]).models[0].findings]


def test_equal_calls_are_of_one_module_and_so_is_what_one_less_saves() -> None:
    page = build_report([trace("torchvision:raft_small")]).models[0]
    assert page.findings[0].text.startswith("12 equal calls of update_block spend ")
    assert page.savings[0].text.startswith("One call less of the 12 equal ones of update_block: ")
    assert page.savings[0].params == 0


def test_what_lies_in_one_heavy_part_is_not_said_again() -> None:
    found = said(trace("torchvision:r3d_18"))
    assert found[0].startswith("layer1 spends 55% of the MACs")
    assert not any("are spent in" in text for text in found)


def test_a_latency_of_one_round_is_no_measurement_of_steadiness() -> None:
    measured = archprof.measure("lenet5", seconds=0.3)
    latency = measured.measurement.latencies[0]  # type: ignore[union-attr]
    once = [Timing(one.key, one.rounds[:1]) for one in (*latency.layers, latency.whole)]
    cut = replace(measured.measurement, latencies=(latency._replace(layers=tuple(once[:-1]), whole=once[-1]),))  # type: ignore[type-var]
    profile = replace(measured, overlays=(cut,))
    assert "is of one round: too few to see whether they agree" in said(profile)[0]
    time = elapsed.find_model_time(profile)
    assert time is not None
    assert not time.stable
    assert elapsed.show_with_interval(time).endswith(" (one round)")
    lane = next(lane for lane in build_network(profile).lanes if lane.key == "latency")
    assert sum(lane.values) <= lane.total * 1.0001


def test_gates_do_not_end_what_windows_see() -> None:
    """Of MobileNetV3 by hand: sizes and strides of the stem and of the depthwise convolutions of its blocks."""
    seen, step = 1, 1
    windows = ((3, 2), (3, 1), (3, 2), (3, 1), (5, 2), (5, 1), (5, 1), (3, 2), (3, 1), (3, 1), (3, 1), (3, 1), (3, 1),
               (5, 2), (5, 1), (5, 1))  # fmt: skip
    for size, stride in windows:
        seen, step = seen + (size - 1) * step, step * stride
    view = PageView(trace("torchvision:mobilenet_v3_large"))
    assert view.reach == seen
    assert chart_fields(view).points[0][-1][1] == seen


@pytest.mark.parametrize("profile", [lambda: archprof.profile(Generator(), (1, 100, 1, 1)), lambda: trace("points")])
def test_no_field_is_told_of_what_sees_one_position(profile: Any) -> None:
    assert not any("receptive" in line for line in build_report([profile()]).models[0].details)


def test_detectors_take_images() -> None:
    detector, net = trace("torchvision:fasterrcnn_resnet50_fpn"), trace("resnet50")
    assert PageView(detector).image_positions == 800 * 800
    assert not any("Pixels and tokens" in str(one) for one in compare([detector, net]).findings)
    assert PageView(trace("bert")).image_positions is None


def test_a_rename_is_said_and_no_cost_with_it() -> None:
    comparison = build_report([version("@HEAD~1"), version(head="classifier")]).comparison
    assert comparison is not None
    said = [str(one) for one in comparison.findings]
    assert said[0] == "MACs and parameters stay: head is now classifier."
    assert not any(one.startswith("B: ") for one in said)


def test_the_best_step_of_a_family_comes_first() -> None:
    """ResNet-50 errs 1.44 points less than ResNet-34 for 1.12x the MACs: no neighbours gain as much for so little."""
    family = [trace(name) for name in ("resnet18", "resnet34", "resnet50", "resnet101")]
    first = str(compare(family).findings[0])
    assert first == "resnet50 was published with a top-5 error of 7.14% against 8.58% of resnet34, for 1.12x the MACs."


def test_a_picture_of_nothing_is_not_drawn() -> None:
    charts = build_report([trace("one op"), trace("one number")]).charts
    assert not any("macs" in series.key for series in charts)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("8.53x (15.47 G against 1 k)", "8.53x (15.47_G against 1_k)"),
        ("18 [15, 38] ms of 4 B", "18_[15,_38]_ms of 4_B"),
        ("3 Bottleneck, 5 blocks, 2 MACs", "3 Bottleneck, 5 blocks, 2 MACs"),
        ("15 GB · batch 8 · 9 <b>", "15_GB · batch_8 · 9 &lt;b&gt;"),
    ],
)
def test_a_number_stays_with_its_unit(text: str, kept: str) -> None:
    assert escape_sentence(text) == kept.replace("_", "\u00a0")


def test_weights_that_an_attention_reads_stay_with_it() -> None:
    """`out_proj` of torch's own attention is called by nobody, and its weights are multiplied all the same."""
    net = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    inner = build_network(archprof.profile(net, torch.zeros(1, 5, 16)))
    assert not any(block.name.endswith("out_proj") for block in inner.blocks)
