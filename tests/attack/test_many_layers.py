"""Nets of very many layers are compared in a time that grows as they do."""

import gc
import resource
import sys
import time

import pytest
import torch
from torch import nn

import archprof
from archprof.analysis.compare.sequences import align_sequences


def chain(layers, width, nested):
    """Linear layers and activations in turn; nested, no path is that of the other."""
    with torch.device("meta"):
        parts = [nn.Linear(width, width) if i % 2 == 0 else (nn.ReLU() if i % 7 else nn.Tanh()) for i in range(layers)]
        net = nn.Sequential(*parts)
    return archprof.profile(nn.Sequential(net) if nested else net, torch.zeros(1, width, device="meta"))


@pytest.mark.parametrize("shift", [0, 1, 4_000])
def test_twenty_thousand_names_are_aligned_in_seconds(shift):
    a, b = [[f"layer{i}" for i in range(start, start + 20_000)] for start in (0, shift)]
    began = time.process_time()
    merged = align_sequences([a, b], lambda x, y: float(x == y), lambda x: x)
    assert time.process_time() - began < 5
    assert sum(None not in row for row in merged) == 20_000 - shift


def test_twenty_thousand_of_two_kinds_without_a_name_in_common_are_aligned_in_seconds():
    a, b = [[(prefix, i % 2) for i in range(20_000)] for prefix in "ab"]
    began = time.process_time()
    merged = align_sequences([a, b], lambda x, y: float(x[1] == y[1]), lambda x: x)
    assert time.process_time() - began < 5
    assert sum(None not in row for row in merged) == 20_000


@pytest.mark.parametrize("nested", [False, True], ids=["by path", "by stage"])
def test_what_a_layer_costs_to_compare_does_not_grow_with_their_number(nested):
    """Four times the layers take about four times as long; a table of all pairs takes sixteen times."""
    seconds = []
    for layers in (800, 3_200):
        nets = chain(layers, 8, False), chain(layers, 16, nested)
        began = time.process_time()
        archprof.compare(*nets)
        seconds.append(time.process_time() - began)
    assert seconds[1] < 10 * seconds[0]


@pytest.mark.slow
@pytest.mark.parametrize("nested", [False, True], ids=["by path", "by stage"])
def test_twenty_thousand_layers_against_twenty_thousand(nested):
    nets = chain(20_000, 8, False), chain(20_000, 16, nested)
    gc.disable()  # as the command does
    began = time.process_time()
    comparison = archprof.compare(*nets)
    taken = time.process_time() - began
    gc.enable()
    assert taken < 5
    assert sum(not row.subtotal for row in comparison.layers.rows) == 20_000
    if sys.platform == "linux":
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 2_000_000  # KB, traces and torch included
