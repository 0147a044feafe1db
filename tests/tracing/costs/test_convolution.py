from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from archprof.facts.records import Window
from archprof.tracing.ops.costs.convolution import BACKEND_CONVOLUTIONS

CONVS = (functional.conv1d, functional.conv2d, functional.conv3d)
TRANSPOSED = (functional.conv_transpose1d, functional.conv_transpose2d, functional.conv_transpose3d)


@st.composite
def convolutions(draw):
    """A convolution that fits: any dimension, stride, padding, dilation, groups and kind."""
    dims = draw(st.integers(1, 3))
    per_dim = lambda low, high: draw(st.tuples(*[st.integers(low, high)] * dims))  # noqa: E731
    kernel, dilation, stride, padding = per_dim(1, 4), per_dim(1, 3), per_dim(1, 3), per_dim(0, 2)
    span = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    size = [s + draw(st.integers(0, 4)) for s in span]
    groups, batch = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    ins, outs = groups * draw(st.integers(1, 3)), groups * draw(st.integers(1, 3))
    transposed = draw(st.booleans())
    padding = [min(p, (s - 1) // 2) for p, s in zip(padding, span, strict=True)]
    return {
        "x": (batch, ins, *size),
        "weight": (ins, outs // groups, *kernel) if transposed else (outs, ins // groups, *kernel),
        "bias": draw(st.booleans()),
        "transposed": transposed,
        "options": {"stride": stride, "padding": tuple(padding), "dilation": dilation, "groups": groups},
    }


def run(case, device="meta", requires_grad=False):
    """The tensors and the result of such a convolution."""
    make = lambda *shape: torch.rand(shape, device=device, dtype=torch.float64, requires_grad=requires_grad)  # noqa: E731
    x, weight = make(*case["x"]), make(*case["weight"])
    groups = case["options"]["groups"]
    outs = case["weight"][1] * groups if case["transposed"] else case["weight"][0]
    bias = make(outs) if case["bias"] else None
    function = (TRANSPOSED if case["transposed"] else CONVS)[len(case["x"]) - 3]
    return x, weight, function(x, weight, bias, **case["options"])


@settings(max_examples=150, deadline=None)
@given(case=convolutions())
def test_forward_is_torchs_count_and_its_window_is_what_was_asked(dispatched, case):
    [call] = dispatched(lambda: run(case), "aten.convolution")
    macs, flops, window = call.count()
    assert macs == call.torch_macs
    assert flops == 2 * macs + case["bias"] * call.result.numel()
    options = case["options"]
    assert window == Window(
        case["weight"][2:],
        options["stride"],
        options["padding"],
        options["dilation"],
        options["groups"],
        case["transposed"],
    )


@settings(max_examples=150, deadline=None)
@given(case=convolutions(), mask=st.tuples(st.booleans(), st.booleans()))
def test_backward_is_torchs_count_but_for_its_error_with_groups(dispatched, case, mask):
    def both():
        x, weight, result = run(case, requires_grad=True)
        wanted = [tensor for tensor, want in zip((x, weight), mask, strict=True) if want]
        torch.autograd.grad(result.sum(), wanted or [x])

    [call] = dispatched(both, "aten.convolution_backward")
    [forward] = dispatched(lambda: run(case), "aten.convolution")
    input_wanted, weight_wanted, bias_wanted = call.args[-1]
    ours = call.count()
    assert ours.macs == (input_wanted + weight_wanted) * forward.torch_macs
    only = lambda *wanted: call._replace(args=(*call.args[:-1], list(wanted))).torch_macs  # noqa: E731
    theirs = only(True, False, False) * input_wanted if input_wanted else 0
    if weight_wanted:  # torch's formula reads no groups: it counts every pair of channels
        theirs += only(False, True, False) // case["options"]["groups"]
    assert ours.macs == theirs
    bias = call.args[0].numel() - call.args[0].shape[1] if bias_wanted else 0
    assert ours.flops == 2 * ours.macs + bias


def by_hand(x, weight, *, stride, padding, dilation, groups, transposed):
    """The convolution in plain loops over zero-padded data, and how many multiply-adds they did."""
    batch, ins, *size = x.shape
    kernel, per_group = weight.shape[2:], weight.shape[1]
    outs = per_group * groups if transposed else weight.shape[0]
    dims = range(len(size))
    span = [dilation[d] * (kernel[d] - 1) + 1 for d in dims]
    if transposed:
        full = [(size[d] - 1) * stride[d] + span[d] for d in dims]
        walked = size
    else:
        full = [size[d] + 2 * padding[d] for d in dims]
        walked = [(full[d] - span[d]) // stride[d] + 1 for d in dims]
        padded = torch.zeros(batch, ins, *full, dtype=x.dtype)
        padded[(..., *[slice(p, p + s) for p, s in zip(padding, size, strict=True)])] = x
    result = torch.zeros(batch, outs, *(full if transposed else walked), dtype=x.dtype)
    macs = 0
    for n, group, place in itertools.product(range(batch), range(groups), itertools.product(*map(range, walked))):
        for i, o in itertools.product(range(ins // groups), range(outs // groups)):
            i, o = group * (ins // groups) + i, group * (outs // groups) + o
            for tap in itertools.product(*map(range, kernel)):
                far = tuple(place[d] * stride[d] + tap[d] * dilation[d] for d in dims)
                if transposed:
                    result[(n, o, *far)] += x[(n, i, *place)] * weight[(i, o % per_group, *tap)]
                else:
                    result[(n, o, *place)] += padded[(n, i, *far)] * weight[(o, i % per_group, *tap)]
                macs += 1
    if transposed:
        result = result[(..., *[slice(p, f - p) for p, f in zip(padding, full, strict=True)])]
    return result, macs


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(
    ("size", "kernel", "options"),
    [
        ((5, 4), (3, 2), {"stride": (2, 1), "padding": (1, 0), "dilation": (1, 2), "groups": 1}),
        ((4, 4), (2, 2), {"stride": (1, 1), "padding": (0, 1), "dilation": (1, 1), "groups": 2}),
        ((6,), (3,), {"stride": (3,), "padding": (1,), "dilation": (2,), "groups": 2}),
    ],
)
def test_loops_that_give_torchs_result_do_as_many_multiply_adds(dispatched, transposed, size, kernel, options):
    groups = options["groups"]
    weight = (2 * groups, 3 // groups or 1, *kernel) if transposed else (2 * groups, 2, *kernel)
    case = {"x": (2, 2 * groups, *size), "weight": weight, "bias": False, "transposed": transposed, "options": options}
    made = []
    [call] = dispatched(lambda: made.extend(run(case, device="cpu")), "aten.convolution")
    x, w, theirs = made
    result, macs = by_hand(x, w, transposed=transposed, **options)
    assert torch.allclose(result, theirs)
    assert call.count().macs == macs


@pytest.mark.parametrize(
    ("layer", "shape", "macs"),
    [  # the calls on which counters disagree most; true values
        (torch.nn.Conv2d(3, 64, 11, stride=4, padding=2), (1, 3, 224, 224), 70_276_800),
        (torch.nn.ConvTranspose2d(2, 3, 3, stride=2), (1, 2, 10, 10), 5_400),
        (torch.nn.ConvTranspose2d(4, 4, 3, groups=2), (1, 4, 10, 10), 7_200),
        (torch.nn.Conv2d(4, 6, 4, padding="same"), (1, 4, 10, 10), 38_400),
        (torch.nn.Conv2d(3, 8, 3, padding=1), (1, 3, 10, 10), 21_600),
    ],
)
def test_known_counts(dispatched, meta, layer, shape, macs):
    [call] = dispatched(lambda: layer.to("meta")(meta(*shape)), "aten.convolution")
    assert call.count().macs == macs


def test_output_padding_adds_bias_but_no_macs(dispatched, meta):
    x, weight, bias = meta(1, 2, 3), meta(2, 1, 2), meta(1)
    [plain] = dispatched(lambda: functional.conv_transpose1d(x, weight, bias, stride=2), "aten.convolution")
    [padded] = dispatched(
        lambda: functional.conv_transpose1d(x, weight, bias, stride=2, output_padding=1), "aten.convolution"
    )
    assert plain.count()[:2] == (12, 24 + 6)
    assert padded.count()[:2] == (12, 24 + 7)


def test_complex_channels_cost_four_real_ones(dispatched, meta):
    x, weight = (meta(1, 2, 6, dtype=torch.complex64), meta(3, 2, 3, dtype=torch.complex64))
    calls = dispatched(lambda: torch.ops.aten.convolution(x, weight, None, [1], [0], [1], False, [0], 1))
    assert calls[0].count().macs == 4 * (3 * 4) * (2 * 3)


NAMES = [name for names in BACKEND_CONVOLUTIONS for name in names.split()]


@pytest.mark.parametrize("name", NAMES)
def test_every_backend_finds_its_arguments_where_torchs_schema_has_them(by_schema, meta, name):
    overloads = getattr(torch.ops.aten, name)
    names = {argument.name for argument in getattr(overloads, overloads.overloads()[0])._schema.arguments}
    transposed = "transpose" in name
    stride, padding, dilation = [2, 3], [1, 2], [3, 1] if "dilation" in names else [1, 1]
    groups = 2 if "groups" in names else 1
    outs = 8
    weight = meta(4, outs // groups, 3, 2) if transposed else meta(outs, 4 // groups, 3, 2)
    x, result = meta(5, 4, 20, 21), meta(5, outs, 9, 7)
    given = {
        "weight": weight,
        "stride": stride,
        "padding": padding,
        "bias": meta(outs),
        "dilation": dilation,
        "groups": groups,
    }
    given |= {"input" if "input" in names else "self": x, "kernel_size": [3, 2]}
    call = by_schema(f"aten.{name}", result, **{key: value for key, value in given.items() if key in names})
    macs, flops, window = call.count()
    assert macs == (x if transposed else result).numel() * weight[0].numel()
    extra = ("bias" in names) + ("relu" in name) + ("add_relu" in name)
    assert flops == 2 * macs + extra * result.numel()
    assert window == Window((3, 2), tuple(stride), tuple(padding), tuple(dilation), groups, transposed)


def test_time_batch_channel_layout(dispatched, meta):
    [call] = dispatched(lambda: torch.conv_tbc(meta(7, 2, 3), meta(4, 3, 5), meta(5), 1), "aten.conv_tbc")
    outputs = math.prod((7 + 2 - 4 + 1, 2, 5))
    assert call.count()[:2] == (outputs * 12, 2 * outputs * 12 + outputs)
