"""What other tools print, against what they really printed (`tests/data/conventions.csv`, made by the benchmark)."""

from __future__ import annotations

import copy
import functools
from pathlib import Path

import builders
import pytest
import torch
from benchmarks.conventions import MODELS, TOOLS, Forward, Printed, read
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import archprof
from archprof.analysis.other_tools import CONVENTIONS, count_as_tool, validate_tool_name
from archprof.analysis.other_tools.tool_view import ToolView
from archprof.errors import UnknownName, UsageError
from archprof.facts.records import Layer, Profile

OPEN = {
    *(("ptflops", name) for name in (
        "mobilenet_v2", "densenet121", "convnext_tiny", "vit_b_16", "swin_t", "efficientnet_b0", "googlenet",
        "inception_v3", "x @ x.T", "own parameter and linear", "own parameter alone", "functional net",
    )),
    *((tool, name) for tool in ("fvcore", "deepspeed") for name in (
        "large einsum", "tensordot", "inner", "chain of products", "power of matrices", "parameter times a batch",
        "vector times a batch",
    )),
    ("fvcore", "outer einsum"),
    *(("ptflops", name) for name in ("power of matrices", "parameter times a batch", "vector times a batch")),
    *(("torchinfo", name) for name in (
        "convnext_tiny", "conv2d on a parameter", "own parameter alone", "parameter times a batch",
        "vector times a batch",
    )),
    *(("deepspeed", name) for name in ("einsum", "matrix times vector", "matrix and vector")),
}  # fmt: skip
"""What a profile does not tell: ptflops sees `torch.add` and no `+`, torchinfo reads the names of parameters."""

RAISES = {("fvcore", "matrix times vector")}
"""Where the tool itself fails."""

EIGHT = {
    "torch": 101_440,
    "deepspeed": 50_720,
    "torchinfo": 51_780,
    "fvcore": 53_280,
    "thop": 55_336,
    "ptflops": 55_844,
}
"""One net of 876 parameters; torch prints 2 FLOPs for each of its 50,720 multiply-adds."""


@functools.cache
def profile_of(name: str) -> Profile:
    case = MODELS[name]
    if case.shapes == ((1, 3, 224, 224),) and name.isidentifier():
        return archprof.profile(f"torchvision:{name}")  # on meta: no time is spent on weights
    return archprof.profile(case.make(), case.inputs())


@pytest.mark.parametrize("line", read(), ids=lambda line: f"{line.tool}-{line.model}")
def test_what_the_tool_printed(line: Printed) -> None:
    tally = count_as_tool(profile_of(line.model), line.tool)
    assert tally.convention.version == line.version
    if (line.tool, line.model) in RAISES:
        assert line.why
        assert "raises" in tally.lines[0].what
        return
    value = int(line.value)
    assert tally.low is not None
    assert tally.high is not None
    assert tally.low <= value <= tally.high
    assert tally.is_exact == ((line.tool, line.model) not in OPEN)


def test_every_tool_and_model_was_run() -> None:
    """ptflops takes one input only."""
    ran = {(line.tool, line.model) for line in read()}
    missing = {(tool, name) for tool in TOOLS for name in MODELS} - ran
    assert missing == {("ptflops", name) for name, case in MODELS.items() if len(case.shapes) > 1}
    assert set(TOOLS) == set(CONVENTIONS)


@pytest.mark.parametrize("tool", EIGHT)
def test_one_net_many_totals(tool: str) -> None:
    tally = count_as_tool(profile_of("small net"), tool)
    assert (tally.low, tally.high) == (EIGHT[tool], EIGHT[tool])


@pytest.mark.parametrize("tool", CONVENTIONS)
def test_the_lines_hold_all_that_archprof_counts(tool: str) -> None:
    for name in MODELS:
        profile, tally = profile_of(name), count_as_tool(profile_of(name), tool)
        assert tally.failure is None, name
        assert sum(line.macs for line in tally.lines) == profile.totals.macs, name
        assert all(line.low <= line.high for line in tally.lines), name
        differs = sum(line.low - line.macs for line in tally.find_differences())
        assert profile.totals.macs + differs == tally.low // tally.convention.per_mac, name


LAYERS = st.one_of(
    st.builds(
        lambda k, s, p, d, bias, out: nn.LazyConv2d(out, k, s, p, d, bias=bias),
        st.integers(1, 3), st.integers(1, 2), st.integers(0, 2), st.integers(1, 2), st.booleans(), st.integers(1, 6),
    ),
    st.builds(
        lambda k, s, out: nn.LazyConvTranspose2d(out, k, s), st.integers(1, 3), st.integers(1, 2), st.integers(1, 4)
    ),
    st.builds(lambda affine: nn.LazyBatchNorm2d(affine=affine), st.booleans()),
    st.just(nn.ReLU()),
    st.builds(nn.AdaptiveAvgPool2d, st.integers(1, 7)),
    st.builds(lambda mode: nn.Upsample(scale_factor=2, mode=mode), st.sampled_from(["nearest", "bilinear"])),
    st.builds(nn.LazyLinear, st.integers(1, 9), bias=st.booleans()),
)  # fmt: skip


def stack_of(layers: list[nn.Module]) -> nn.Module | None:
    """The layers one after another, `None` where they do not fit; images of 20 x 20."""
    net = nn.Sequential(*layers)
    try:
        net(torch.zeros(2, 3, 20, 20))
    except (RuntimeError, ValueError):
        return None
    return net.eval()


@settings(max_examples=25, deadline=None)
@given(st.lists(LAYERS, min_size=1, max_size=5))
def test_fvcore_and_torch_on_stacks_of_random_layers(layers: list[nn.Module]) -> None:
    net = stack_of(layers)
    if net is None:
        return
    x = torch.zeros(2, 3, 20, 20)
    profile = archprof.profile(net, x)
    for tool in ("fvcore", "torch"):
        really = TOOLS[tool][1](copy.deepcopy(net), (x,))
        assert count_as_tool(profile, tool).low == really == count_as_tool(profile, tool).high


def test_a_forward_that_stopped_has_no_total() -> None:
    tally = count_as_tool(builders.stopped(), "thop")
    assert (tally.low, tally.high, tally.is_exact) == (None, None, False)
    assert tally.failure == "the forward of the model stopped before its end"


def test_attention_without_a_batch_makes_ptflops_raise() -> None:
    x = torch.zeros(10, 64)
    tally = count_as_tool(archprof.profile(nn.MultiheadAttention(64, 4), (x, x, x)), "ptflops")
    assert tally.low is None
    assert "raises" in str(tally.failure)


def test_a_training_pass_is_refused() -> None:
    with pytest.raises(UsageError, match="evaluation"):
        count_as_tool(builders.trained(), "fvcore")


def test_an_unknown_name_is_met_with_the_known_ones() -> None:
    with pytest.raises(UnknownName, match="ptflops"):
        validate_tool_name("ptflop")
    with pytest.raises(UnknownName):
        count_as_tool(builders.profile(), "archprof")
    validate_tool_name("archprof")


@pytest.mark.parametrize("tool", ["fvcore", "deepspeed"])
def test_a_linear_layer_is_no_other_function(tool: str) -> None:
    """Its product alone may be that of `multi_dot`, viewed behind it, or of a `matmul` that was folded."""
    layer = nn.Linear(6, 5, bias=False)
    for net, shape in (
        (nn.Sequential(layer, nn.Unflatten(1, (5,))), (7, 6)),
        (Forward(lambda m, x: m.layer(x.transpose(1, 2)).transpose(1, 2), layer=layer), (4, 6, 3)),
    ):
        profile = archprof.profile(net, torch.zeros(shape))
        tally = count_as_tool(profile, tool)
        assert (tally.low, tally.high) == (profile.totals.macs,) * 2


def test_a_covariance_is_not_counted() -> None:
    """fvcore takes 0 of it, and 7 x 6 x 7 of the same product written out."""
    profile = archprof.profile(Forward(lambda m, x: torch.cov(x)), torch.rand(7, 6))
    tally = count_as_tool(profile, "fvcore")
    assert (tally.low, tally.high) == (0, 7 * 6 * 7)


def test_a_module_held_by_two_is_told_by_its_callers() -> None:
    layers = (
        Layer("", "Net", 0, 0),
        Layer("first", "Sequential", 1, 0),
        Layer("first.0", "Linear", 2, 0),
        Layer("second", "Sequential", 1, 0),
        Layer("first.0", "Linear", 2, 1),
        Layer("first.0", "Linear", 1, 2),
    )
    profile = builders.profile(layers=layers, ops=(), tensors=(), storages=())
    assert [row.holder_count for row in ToolView(profile).module_calls] == [1, 1, 2, 1, 2, 2]
    assert [row.is_leaf for row in ToolView(profile).module_calls] == [False, False, True, False, True, True]


@pytest.mark.parametrize("tool", CONVENTIONS)
def test_a_saved_profile_says_the_same(tool: str, tmp_path: Path) -> None:
    for name in (
        "mobilenet_v2",
        "functional net",
        "lstm both ways",
        "multi-head attention",
        "upsampling",
        "activations",
    ):
        profile_of(name).save(tmp_path / "x.json")
        assert count_as_tool(archprof.load(tmp_path / "x.json"), tool) == count_as_tool(profile_of(name), tool)


def test_a_linear_layer_of_a_class_that_ptflops_does_not_know_is_told_too() -> None:
    """`nn.MultiheadAttention` keeps its last projection in such a class, and never calls it."""
    layer = nn.modules.linear.NonDynamicallyQuantizableLinear(4, 3)
    (line,) = count_as_tool(archprof.profile(layer, torch.zeros(1, 4)), "ptflops").lines
    assert (line.low, line.high, line.macs) == (0, 0, 12)
