"""The live-bytes peak: by hand, on paper, against a sum at every op, and against what torch's allocator saw."""

import json
from itertools import pairwise

import builders
import pytest
from hypothesis import given
from hypothesis import strategies as st

import archprof
from archprof.facts.liveness import compute_peak_bytes, find_live_at_peak, split_peak_by_layer
from archprof.facts.records import Layer, Storage

NET = Layer("", "Net", 0, 0)


def made(storages, ops):
    ops = tuple(builders.make_op("aten.relu", 0, "forward", (), (), 0, 0, 0, 0, "zero") for _ in range(ops))
    return builders.make_profile("net", (), 1, "forward", "float32", (NET,), ops, (), tuple(storages))


def test_by_hand():
    kept, first, second, third = (
        Storage(100, "float32", "parameter", None, None),
        Storage(40, "float32", "activation", 0, 1),  # live during ops 0 and 1
        Storage(50, "float32", "activation", 1, 2),
        Storage(60, "float32", "activation", 2, None),
    )
    profile = made([kept, first, second, third], 3)
    assert compute_peak_bytes(profile) == 100 + 50 + 60  # 140, 190 and 210 at the three ops
    assert find_live_at_peak(profile) == (0, 2, 3)


def test_an_input_that_is_dropped_makes_room():
    dropped, grown = Storage(500, "float32", "input", None, 0), Storage(400, "float32", "activation", 1, None)
    assert compute_peak_bytes(made([dropped, grown], 2)) == 500


def test_a_pass_without_ops_holds_what_was_there():
    assert compute_peak_bytes(made([Storage(12, "float32", "parameter", None, None)], 0)) == 12
    assert compute_peak_bytes(made([], 0)) == 0


@st.composite
def lives(draw):
    ops = draw(st.integers(1, 8))
    storages = []
    for _ in range(draw(st.integers(0, 8))):
        born = draw(st.none() | st.integers(0, ops - 1))
        died = draw(st.none() | st.integers(born or 0, ops - 1))
        storages.append(Storage(draw(st.integers(0, 10**15)), "float32", "activation", born, died))
    return made(storages, ops)


@given(lives())
def test_the_peak_is_the_largest_sum_at_any_op(profile):
    def live(storage, op):
        is_born = storage.born is None or storage.born <= op
        return is_born and (storage.died is None or op <= storage.died)

    sums = [sum(s.nbytes for s in profile.storages if live(s, op)) for op in range(len(profile.ops))]
    assert compute_peak_bytes(profile) == max(sums)
    assert sum(profile.storages[i].nbytes for i in find_live_at_peak(profile)) == max(sums)


def test_layers_own_their_parameters_and_what_they_made():
    """Nothing dies in the hand-built profile: 768 bytes of input are nobody's, the rest is the layers'."""
    profile = builders.profile()
    assert split_peak_by_layer(profile) == [0, 1024, 448 + 1024, 0, 592 + 1024, 0, 10280 + 28 + 40, 120]
    assert compute_peak_bytes(profile) == 768 + 1024 + 1024 + 1024 + 40


def test_a_chain_of_linear_layers_on_paper():
    """16 -> 64 -> 128 -> 4 without bias, one row in: the weights stay, and of the vectors the widest neighbours."""
    from torch import nn

    sizes = [16, 64, 128, 4]
    net = nn.Sequential(*(nn.Linear(a, b, bias=False) for a, b in pairwise(sizes)))
    weights = 16 * 64 + 64 * 128 + 128 * 4
    # the caller holds the input (16) throughout; 64 -> 128 is the widest step
    assert compute_peak_bytes(archprof.profile(net, (1, 16))) == 4 * (weights + 16 + 64 + 128)
    assert compute_peak_bytes(archprof.profile(net, (8, 16))) == 4 * (weights + 8 * (16 + 64 + 128))


def test_a_residual_holds_its_input_until_the_sum():
    """While the second of two 32 -> 32 layers runs: the input, what the first made, and the result."""
    from torch import nn

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.a, self.b = (nn.Linear(32, 32, bias=False) for _ in range(3))

        def forward(self, x):
            x = self.stem(x)
            return x + self.b(self.a(x))

    weights = 3 * 32 * 32
    # the input of the caller, the stem's result, a's result and b's result
    assert compute_peak_bytes(archprof.profile(Block(), (1, 32))) == 4 * (weights + 4 * 32)


def allocated(net, inputs, path):
    """The most bytes that a real forward had allocated at once on the CPU, by torch's profiler."""
    import torch

    with torch.no_grad():
        net(inputs)
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profiler:
            kept = net(inputs)
    profiler.export_chrome_trace(str(path))
    events = [event for event in json.loads(path.read_text())["traceEvents"] if event["name"] == "[memory]"]
    live, most = 0, 0
    for event in sorted(events, key=lambda event: event["ts"]):
        live += event["args"]["Bytes"]
        most = max(most, live)
    del kept
    return most


@pytest.mark.parametrize("name", ["chain", "in place", "residual", "convolutions"])
def test_against_what_a_real_forward_allocates(name, tmp_path):
    """Kernels that need no room of their own, so that every allocation is a tensor of the pass."""
    import torch
    from torch import nn

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.wide, self.narrow = nn.LayerNorm(64), nn.Linear(64, 256), nn.Linear(256, 64)

        def forward(self, x):
            return x + self.narrow(torch.relu(self.wide(self.norm(x))))

    net, inputs = {
        "chain": lambda: (nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 512), nn.GELU()), (8, 64)),
        "in place": lambda: (nn.Sequential(nn.Linear(64, 256), nn.ReLU(True), nn.Linear(256, 99)), (8, 64)),
        "residual": lambda: (nn.Sequential(*[Block() for _ in range(4)]), (8, 64)),
        "convolutions": lambda: (
            nn.Sequential(nn.Conv2d(3, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(64, 64, 3, padding=1)),
            (2, 3, 32, 32),
        ),
    }[name]()
    given = torch.zeros(inputs)
    held = 4 * (sum(p.numel() for p in net.parameters()) + given.numel())
    assert compute_peak_bytes(archprof.profile(net, inputs)) - held == allocated(
        net.eval(), given, tmp_path / "trace.json"
    )
