"""The network along its length: nothing is lost or counted twice, equal blocks fold, branches and joins are those of
the forward, and the peak is that of the pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import builders
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import archprof
from archprof.analysis.network import naming
from archprof.analysis.network.families import find_row_families
from archprof.analysis.network.flows import OUTSIDE
from archprof.analysis.network.network import CallTimes, build_network
from archprof.analysis.network.pieces import cut_pass
from archprof.analysis.network.strip import Network
from archprof.analysis.report.tiles import build_tiles
from archprof.analysis.report.view import PageView
from archprof.errors import UsageError
from archprof.facts import liveness
from archprof.facts.records import Profile
from archprof.predicting import runs
from archprof.units import choose_unit_scale

MODELS = (
    "alexnet", "vgg16", "resnet18", "resnet152", "torchvision:swin_t", "torchvision:vit_b_16", "torchvision:googlenet",
    "torchvision:efficientnet_b0", "torchvision:convnext_tiny", "torchvision:densenet121", "hf:gpt2", "hf:llama-2-7b",
    "hf:mixtral-8x7b",
)  # fmt: skip


@pytest.fixture(scope="module")
def profiled() -> Callable[[str], Profile]:
    known: dict[str, Profile] = {}

    def of(name: str) -> Profile:
        if name not in known:
            known[name] = archprof.profile(name)
        return known[name]

    return of


def insides(network: Network) -> Iterator[Network]:
    """The network and all that is opened in it."""
    yield network
    for block in network.blocks:
        if block.inner is not None:
            yield from insides(block.inner)


def names(network: Network) -> list[str]:
    return [block.name for block in network.blocks]


def skips(network: Network) -> set[tuple[str, str]]:
    """What does not go to the neighbour on the right, by name."""
    labels = ["input" if at == OUTSIDE else network.blocks[at].label for at in range(OUTSIDE, len(network.blocks))]
    return {(labels[e.source + 1], labels[e.target + 1]) for e in network.edges if not e.is_next}


@pytest.mark.parametrize("name", MODELS)
def test_nothing_is_lost(profiled: Callable[[str], Profile], name: str) -> None:
    profile = profiled(name)
    whole = cut_pass(profile)
    forward = [i for i, op in enumerate(profile.ops) if op.phase == "forward"]
    ops = list(whole.all_ops())
    assert len(ops) == len(set(ops))
    assert all(profile.ops[i].status == "zero" for i in set(forward) - set(ops))
    network = build_network(profile)
    macs, params = network.lanes
    assert sum(macs.values) == macs.total == profile.totals.macs
    assert sum(params.values) == params.total == profile.totals.params
    assert 1 < len(network.blocks) <= 14
    assert network.live.peak == liveness.compute_peak_bytes(profile)
    peak = network.live.peak_column
    assert peak is not None
    assert (
        network.live.peak == network.live.most(peak) == max(network.live.most(i) or 0 for i in range(len(macs.values)))
    )


@pytest.mark.parametrize("name", MODELS)
def test_what_is_inside_is_what_stands_outside(profiled: Callable[[str], Profile], name: str) -> None:
    for network in insides(build_network(profiled(name), inner=400)):
        for at, block in enumerate(network.blocks):
            if block.inner is not None:
                assert len(block.inner.blocks) > 1
                for outer, inner in zip(network.lanes, block.inner.lanes, strict=True):
                    once = 1 if outer.key == "params" and not outer.values[at] else block.count
                    assert sum(inner.values) * once == outer.values[at]


def test_the_blocks_of_resnet152_are_those_of_the_paper(profiled: Callable[[str], Profile]) -> None:
    """3, 8, 36 and 3 bottlenecks (He et al. 2015, table 1), the first of each with a shortcut of its own."""
    network = build_network(profiled("resnet152"))
    assert names(network) == [
        "conv1", "layer1.0", "layer1.1–2", "layer2.0", "layer2.1–7", "layer3.0", "layer3.1–35",
        "layer4.0", "layer4.1–2", "fc",
    ]  # fmt: skip
    assert [block.count for block in network.blocks] == [1, 1, 2, 1, 7, 1, 35, 1, 2, 1]
    assert [block.shape for block in network.blocks][:3] == [(64, 112, 112), (256, 56, 56), (256, 56, 56)]
    assert network.blocks[6].words == "35 equal: Bottleneck, 9 layers"
    assert network.blocks[6].rows[0] == "layer3.1"
    assert len(network.blocks[6].rows) == 35
    inner = network.blocks[6].inner
    assert inner is not None
    assert [block.label for block in inner.blocks] == ["conv1", "conv2", "conv3"]
    assert skips(inner) == {("input", "conv3")}  # the shortcut ends in the add behind it


@pytest.mark.parametrize(
    ("name", "block", "count"),
    [
        ("hf:gpt2", "transformer.h.0–11", 12),
        ("hf:llama-2-7b", "model.layers.0–31", 32),
        ("hf:mixtral-8x7b", "model.layers.0–31", 32),
    ],
)
def test_a_language_model_is_one_block_many_times(
    profiled: Callable[[str], Profile], name: str, block: str, count: int
) -> None:
    network = build_network(profiled(name))
    assert [one.count for one in network.blocks] == [1, count, 1]
    assert network.blocks[1].name == block
    assert network.blocks[1].inner is not None


def test_queries_keys_and_values_all_read_what_goes_in(profiled: Callable[[str], Profile]) -> None:
    """The norm before them is merged with the first; it is no branch from the queries to the keys."""
    inner = build_network(profiled("hf:mixtral-8x7b")).blocks[1].inner
    assert inner is not None
    found = skips(inner)
    assert {("input", "self_attn.k_proj"), ("input", "self_attn.v_proj")} <= found
    assert ("self_attn.q_proj", "self_attn (own)") in found
    assert not any(edge.source == 0 and edge.target in (1, 2) for edge in inner.edges)


def test_blocks_that_take_turns_fold_in_rounds(profiled: Callable[[str], Profile]) -> None:
    """The third stage of Swin-T has six blocks, every second one with shifted windows (Liu et al. 2021)."""
    network = build_network(profiled("torchvision:swin_t"))
    [stage] = [block for block in network.blocks if block.name == "features.5.0–5"]
    assert (stage.count, stage.members, stage.repeats) == (3, 2, "3×2")


class Twice(nn.Sequential):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(), nn.Conv2d(outputs, outputs, 3, padding=1), nn.ReLU()
        )


class UNet(nn.Module):
    """Ronneberger et al. 2015, with two steps down."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.ModuleList([Twice(3, 8), Twice(8, 16)])
        self.pool, self.bottom = nn.MaxPool2d(2), Twice(16, 32)
        self.up = nn.ModuleList([nn.ConvTranspose2d(32, 16, 2, 2), nn.ConvTranspose2d(16, 8, 2, 2)])
        self.back = nn.ModuleList([Twice(32, 16), Twice(16, 8)])
        self.head = nn.Conv2d(8, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kept = []
        for down in self.down:
            x = down(x)
            kept.append(x)
            x = self.pool(x)
        x = self.bottom(x)
        for up, back in zip(self.up, self.back, strict=True):
            x = back(torch.cat([up(x), kept.pop()], 1))
        return self.head(x)


def test_the_joins_of_a_u_net() -> None:
    network = build_network(archprof.profile(UNet(), (1, 3, 32, 32)), most=8)
    assert names(network) == ["down.0", "down.1", "bottom", "up.0", "back.0", "up.1", "back.1", "head"]
    assert skips(network) == {("down.0", "up.1"), ("down.1", "up.0")}


class Fork(nn.Module):
    """Two branches and a join."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.a = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 4, 1)
        self.b, self.c = nn.Conv2d(8, 6, 3, padding=1), nn.Conv2d(6, 4, 3, padding=1)
        self.join = nn.Conv2d(8, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        return self.join(torch.cat([self.a(x), self.c(self.b(x))], 1))


def test_branches_and_joins() -> None:
    network = build_network(archprof.profile(Fork(), (1, 3, 8, 8)))
    assert names(network) == ["stem", "a", "b", "c", "join"]
    found = {(edge.source, edge.target) for edge in network.edges}
    assert found == {(OUTSIDE, 0), (0, 1), (0, 2), (1, 3), (2, 3), (3, 4)}  # the cat stands with c


def test_macs_of_each_block_are_those_of_torch() -> None:
    net = UNet().eval()
    with FlopCounterMode(display=False) as counter:
        net(torch.zeros(1, 3, 32, 32))
    counted = counter.get_flop_counts()
    network = build_network(archprof.profile(net, (1, 3, 32, 32)), most=8)
    for block, macs in zip(network.blocks, network.lanes[0].values, strict=True):
        assert 2 * macs == sum(counted[f"UNet.{block.name}"].values())


def test_deep_chains_are_cut_into_runs() -> None:
    """3,000 different layers: never more columns than fit, and all of them inside one another."""
    layers = (nn.Linear(8 + i % 97, 8 + (i + 1) % 97) for i in range(3000))
    profile = archprof.profile(nn.Sequential(*layers), (1, 8))
    network = build_network(profile)
    assert len(network.blocks) == 14
    assert names(network)[:2] == ["0–214", "215–429"]
    assert sum(network.lanes[0].values) == profile.totals.macs
    assert all(len(one.blocks) <= 14 for one in insides(network))
    assert sum(len(one.blocks) for one in insides(network)) <= 14 + 120


def test_a_thousand_equal_layers_are_one_block() -> None:
    blocks = (nn.Sequential(nn.Linear(4, 4), nn.ReLU()) for _ in range(1000))
    [block] = build_network(archprof.profile(nn.Sequential(*blocks), (1, 4))).blocks
    assert (block.name, block.count) == ("0–999", 1000)


@pytest.mark.parametrize("layer", [nn.ReLU(), nn.Linear(4, 2), nn.Identity(), nn.Flatten()])
def test_a_model_of_one_op_or_none(layer: nn.Module) -> None:
    network = build_network(archprof.profile(layer, (1, 4)))
    [block] = network.blocks
    assert block.name == "(model)"
    assert block.inner is None


def test_a_model_without_macs_still_has_its_layers() -> None:
    network = build_network(archprof.profile(nn.Sequential(nn.ReLU(), nn.MaxPool2d(2), nn.Sigmoid()), (1, 2, 8, 8)))
    assert names(network) == ["0", "1", "2"]


@pytest.mark.parametrize(
    "made", [builders.profile, builders.with_unknown, builders.stopped, builders.trained, builders.measured,
             builders.on_gpu, builders.hostile],
)  # fmt: skip
def test_every_kind_of_profile_has_a_network(made: Callable[[], Profile]) -> None:
    profile = made()
    network = build_network(profile)
    assert sum(network.lanes[0].values) == profile.totals.macs
    assert sum(network.lanes[1].values) == profile.totals.params
    assert network.lanes[0].is_bound == ("macs" in profile.totals.lower_bounds)
    assert network.live.peak == liveness.compute_peak_bytes(profile)


def test_measured_times_and_what_is_in_no_layer_make_the_whole() -> None:
    profile = builders.measured()
    latency = profile.measurement.latencies[0]  # type: ignore[union-attr]
    lane = build_network(profile).lanes[2]
    assert (lane.key, lane.is_predicted) == ("latency", False)
    assert sum(lane.values) == pytest.approx(sum(max(one.p50, 0) for one in latency.layers))
    assert lane.total == pytest.approx(latency.whole.p50)
    assert "in no layer" in lane.source


@pytest.mark.parametrize("make", [builders.measured, lambda: runs.predict_on(archprof.profile("resnet18"), "t4")])
def test_the_time_of_a_strip_is_that_of_its_tile(make: Callable[[], Profile]) -> None:
    """A page says one total, with one interval: the median of a sum is no sum of medians."""
    view = PageView(make())
    tile = {one.key: one for one in build_tiles(view)}["latency"]
    lane = build_network(view).lanes[2]
    assert lane.total == tile.value
    number = choose_unit_scale([tile.value], "seconds").format(tile.value, tile.half_interval)
    interval = tile.note.split(";")[0]
    assert lane.words.startswith(f"{number} {interval}")


def test_any_seconds_of_calls_make_a_lane() -> None:
    """A second for every call: blocks hold as many as they have calls."""
    profile = archprof.profile("resnet18")
    times = CallTimes(dict.fromkeys(range(len(profile.calls)), 1.0), "predicted for a device", is_predicted=True)
    lane = build_network(profile, times=times).lanes[2]
    assert lane.is_predicted
    assert lane.total == len(profile.calls)
    assert sum(lane.values) == pytest.approx(lane.total)


def test_depth_opens_all_to_there(profiled: Callable[[str], Profile]) -> None:
    profile = profiled("resnet18")
    outer = names(build_network(profile, depth=1))
    assert outer == ["conv1", "layer1", "layer2", "layer3", "layer4", "fc"]
    inner = build_network(profile, depth=3)
    assert "layer4.0.conv1" in names(inner)
    assert sum(inner.lanes[0].values) == profile.totals.macs
    with pytest.raises(UsageError):
        build_network(profile, depth=0)


def test_the_peak_of_a_training_step_may_be_in_its_backward() -> None:
    profile = archprof.profile("lenet5", train=True)
    live = build_network(profile).live
    assert live.peak == liveness.compute_peak_bytes(profile)
    assert live.peak_column is not None
    assert any(back is not None for back in live.backward)
    assert live.peak_phase in live.words or live.peak_phase == "forward"


def test_live_bytes_by_hand() -> None:
    """Linear(4, 8), ReLU, Linear(8, 2) on one sample in float32: bytes of weights, and of what lives beside them."""
    profile = archprof.profile(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), (1, 4))
    live = build_network(profile).live
    weights = 4 * (4 * 8 + 8 + 8 * 2 + 2)
    assert live.weights == weights
    assert [max(curve) - weights for curve in live.curves] == [16 + 32 + 32, 16 + 32 + 8]
    assert live.peak == weights + 80


def test_the_table_of_a_network_adds_up(profiled: Callable[[str], Profile]) -> None:
    table = build_network(profiled("resnet152")).table()
    records: list[dict[str, Any]] = table.records()
    assert sum(one["macs"] for one in records) == profiled("resnet152").totals.macs
    assert sum(one["share_params"] for one in records) == pytest.approx(1)
    assert "layer3.1–35" in str(table)
    assert any("1 MAC = 2 FLOPs" in note for note in table.notes)
    assert "peak 241.49 MiB in layer1.0.bn3" in table.notes[0]


def test_a_lower_bound_says_so() -> None:
    network = build_network(builders.with_unknown())
    assert network.lanes[0].total_words.startswith("≥ ")
    table = network.table()
    assert table.total is not None
    assert "macs" in table.total.bounds
    assert any("lower bound" in note for note in table.notes)


@pytest.mark.parametrize(
    ("first", "last", "range_"),
    [
        ("layer3.1", "layer3.35", "layer3.1–35"),
        ("encoder_layer_0", "encoder_layer_11", "encoder_layer_0–11"),
        ("a.0.conv", "a.4.conv", "a.0–4.conv"),
        ("Mixed_5b", "Mixed_5d", "Mixed_5b–5d"),
        ("a.0.x", "b.1.y", "a.0.x–b.1.y"),
        ("fc", "fc", "fc"),
    ],
)
def test_names_of_ranges(first: str, last: str, range_: str) -> None:
    assert naming.name_range(first, last) == range_


def test_kinds_of_work_are_those_of_ops(profiled: Callable[[str], Profile]) -> None:
    """GPT-2's `Conv1D` is a matrix product, whatever its name has in it."""
    profile = profiled("hf:gpt2")
    families = dict(zip([layer.path for layer in profile.layers], find_row_families(profile), strict=True))
    assert families["transformer.h.0.attn.c_attn"] == families["lm_head"] == "matrix product"
    assert families["transformer.h.0.attn"] == "attention"
    assert families["transformer.h.0.ln_1"] == "norm"
    assert families["transformer.wte"] == "lookup"
    assert "convolution" not in families.values()
