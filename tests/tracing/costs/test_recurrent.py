from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence
from torch.utils.flop_counter import FlopCounterMode

from archprof.tracing.ops.costs import find_cost_rule

KINDS = {"lstm": (nn.LSTM, 4), "gru": (nn.GRU, 3), "rnn_tanh": (nn.RNN, 1)}
POINTWISE = {"lstm": 13, "gru": 10, "rnn_tanh": 2}


def count_of(name, layer, x, *, packed=None, half=""):
    """Our count of a layer's one function call, its arguments as `nn.LSTM.forward` passes them."""
    params = [parameter for name_ in layer._flat_weights_names for parameter in [getattr(layer, name_)]]
    state = torch.empty(0, device="meta")
    states = [state, state] if name == "lstm" else state
    common = (params, layer.bias, layer.num_layers, layer.dropout, layer.training, layer.bidirectional)
    args = (x, states, *common, layer.batch_first) if packed is None else (x, packed, states, *common)
    return find_cost_rule(f"aten.{name}{half}")(None, *args)


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(sorted(KINDS)),
    ins=st.integers(1, 6),
    hidden=st.integers(2, 6),
    layers=st.integers(1, 3),
    both=st.booleans(),
    bias=st.booleans(),
    projected=st.booleans(),
    steps=st.integers(1, 5),
    batch=st.integers(1, 4),
)
def test_macs_are_those_of_the_unrolled_products(meta, name, ins, hidden, layers, both, bias, projected, steps, batch):
    make, gates = KINDS[name]
    extra = {"proj_size": hidden - 1} if projected and name == "lstm" else {}
    layer = make(ins, hidden, layers, bidirectional=both, bias=bias, device="meta", **extra)
    x = meta(steps, batch, ins)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        layer(x)
    macs, flops, window = count_of(name, layer, x)
    assert window is None
    assert macs == counter.get_total_flops() // 2
    # by hand: every weight matrix once a row, biases and cells by the stated rule
    out = extra.get("proj_size", hidden)
    ways = 2 if both else 1
    widths = [ins] + [ways * out] * (layers - 1)
    weights = sum(ways * (gates * hidden * (width + out) + (out * hidden if extra else 0)) for width in widths)
    assert macs == steps * batch * weights
    cells = steps * batch * ways * layers * hidden
    assert flops == 2 * macs + cells * (POINTWISE[name] + (2 * gates if bias else 0))
    assert count_of(name, layer, x, half="_backward") == (2 * macs, 2 * flops, None)


def test_the_published_trap(meta):
    """An LSTM from 8 to 16 over five steps of two sequences, which most counters take for nothing."""
    assert count_of("lstm", nn.LSTM(8, 16, device="meta"), meta(5, 2, 8)).macs == 15_360


@pytest.mark.parametrize("name", sorted(KINDS))
def test_packed_sequences_count_their_rows(meta, name):
    layer = KINDS[name][0](3, 4, device="meta")
    packed = pack_padded_sequence(torch.zeros(5, 3, 3), torch.tensor([5, 2, 1]))
    assert packed.data.shape[0] == 8
    ours = count_of(name, layer, packed.data, packed=packed.batch_sizes)
    assert ours == count_of(name, layer, meta(2, 4, 3))


def test_dropout_between_layers_costs_two_an_element_and_only_in_training(meta):
    layer, x = nn.GRU(3, 4, 3, dropout=0.5, bidirectional=True, device="meta"), meta(5, 2, 3)
    training = count_of("gru", layer, x).flops
    evaluating = count_of("gru", layer.eval(), x).flops
    assert training - evaluating == 2 * (5 * 2) * (2 * (2 * 4))


@pytest.mark.parametrize("name", sorted(KINDS))
def test_cells_dispatch_the_same_macs(dispatched, meta, name):
    make, gates = {"lstm": (nn.LSTMCell, 4), "gru": (nn.GRUCell, 3), "rnn_tanh": (nn.RNNCell, 1)}[name]
    cell = make(5, 7, device="meta")
    counts = [call.count() for call in dispatched(lambda: cell(meta(2, 5)))]
    assert sum(count.macs for count in counts) == 2 * gates * 7 * (5 + 7)
    one_step = count_of(name, KINDS[name][0](5, 7, device="meta"), meta(1, 2, 5))
    assert sum(count.flops for count in counts) == one_step.flops


def test_what_the_cpu_runs_for_an_lstm_is_the_same(dispatched):
    layer = nn.LSTM(5, 7, 2, bidirectional=True)
    with torch.no_grad():
        calls = dispatched(lambda: layer(torch.rand(3, 2, 5)))
    counts = [call.count() for call in calls]
    whole = count_of("lstm", layer, torch.rand(3, 2, 5))
    assert sum(count.macs for count in counts) == whole.macs
    if any(call.name == "aten.mkldnn_rnn_layer" for call in calls):
        assert sum(count.flops for count in counts) == whole.flops


@pytest.mark.parametrize(("mode", "name"), list(enumerate(["rnn_relu", "rnn_tanh", "lstm", "gru"])))
@pytest.mark.parametrize("half", ["", "_backward"])
def test_cudnn_finds_its_arguments_where_torchs_schema_has_them(by_schema, meta, mode, name, half):
    make = {**KINDS, "rnn_relu": (nn.RNN, 1)}[name][0]
    layer, x = make(5, 7, 2, dropout=0.5, device="meta"), meta(3, 2, 5)
    weights = [getattr(layer, parameter) for parameter in layer._flat_weights_names]
    given = {"input": x, "weight": weights, "mode": mode, "num_layers": 2, "dropout": 0.5, "train": True}
    call = by_schema(f"aten._cudnn_rnn{half}", None, **given)
    assert call.count() == count_of(name, layer, x, half=half)


def test_mkldnn_backward_finds_its_arguments_where_torchs_schema_has_them(by_schema, meta):
    layer, x = nn.LSTM(5, 7, device="meta"), meta(3, 2, 5)
    weights = {f"weight{i + 1}": getattr(layer, name) for i, name in enumerate(layer._flat_weights_names)}
    call = by_schema("aten.mkldnn_rnn_layer_backward", None, input=x, mode=2, has_biases=True, **weights)
    assert call.count() == count_of("lstm", layer, x, half="_backward")


@pytest.mark.parametrize(("name", "flops"), [("lstm", 13 + 8), ("gru", 10 + 6)])
def test_fused_cells_of_the_gpu(meta, name, flops):
    gates, state, bias = meta(2, 28), meta(2, 7), meta(28)
    assert find_cost_rule(f"aten._thnn_fused_{name}_cell")(None, gates, gates, state, bias, bias) == (
        0,
        flops * 14,
        None,
    )
    without = {"lstm": 13, "gru": 10}[name]
    assert find_cost_rule(f"aten._thnn_fused_{name}_cell")(None, gates, gates, state).flops == without * 14


def test_fused_cells_backward(by_schema, meta):
    state = meta(2, 7)
    lstm = by_schema("aten._thnn_fused_lstm_cell_backward_impl", None, grad_hy=state, grad_cy=state, cx=state, cy=state)
    assert lstm.count() == (0, 26 * 14, None)
    assert by_schema("aten._thnn_fused_gru_cell_backward", None, grad_hy=state).count() == (0, 20 * 14, None)
