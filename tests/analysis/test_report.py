"""The facts of the report page: sums that are exact, sentences that are true, and the same page twice."""

import dataclasses
import json
import re
from collections import Counter
from math import prod

import builders
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import archprof
from archprof.analysis import view
from archprof.analysis.report import charts, joint_charts, model_findings, treemap
from archprof.analysis.report.page import build_report
from archprof.analysis.report.view import PageView
from archprof.errors import UsageError
from archprof.facts import liveness
from archprof.facts.records import Layer, Storage
from archprof.render.page import figures, svg
from archprof.sweeping import trials

MODELS = (
    "lenet5", "alexnet", "vgg16", "resnet18", "resnet50", "cifar_resnet_deep", "zfnet",
    "torchvision:vit_b_16", "torchvision:googlenet", "torchvision:mobilenet_v3_small", "torchvision:swin_t",
)  # fmt: skip


@pytest.fixture(scope="module")
def pages():
    return {name: build_report([archprof.profile(name)]).models[0] for name in MODELS}


def conv(inputs, outputs, kernel, **options):
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False, **options)


def traced(*layers, shape=(1, 4, 16, 16), name="net", **options):
    return dataclasses.replace(archprof.profile(nn.Sequential(*layers), torch.zeros(shape), **options), model=name)


def blocks():
    """The VGG lecture: one 5x5 against two 3x3 with a narrow middle."""
    shape = (1, 64, 32, 32)
    return [
        traced(conv(64, 128, 5), shape=shape, name="one"),
        traced(conv(64, 32, 3), conv(32, 128, 3), shape=shape, name="two"),
    ]


def texts(profile):
    return [finding.text for finding in build_report([profile]).models[0].findings]


def drawn(series):
    return {one.key: one for one in series}


# The treemap


def check_nodes(nodes, profile):
    """What the renderers rely on: unique ids, parents first, and at every level the exact sum."""
    first, *rest = nodes
    assert first.parent == ""
    assert first.depth == 0
    seen, inside = {first.id: first}, {}
    for node in rest:
        assert node.id not in seen
        assert node.depth == seen[node.parent].depth + 1
        seen[node.id] = node
        inside.setdefault(node.parent, []).append(node)
    for node in nodes:
        parts = inside.get(node.id, [])
        for metric in treemap.AREA_METRICS:
            assert node.total[metric] == node.own[metric] + sum(part.total[metric] for part in parts)
            assert not parts or node.own[metric] == 0
    totals = profile.totals
    assert first.total == {
        "params": totals.params,
        "macs": totals.macs,
        "flops": totals.flops,
        "act_fp32": totals.activation_bytes["float32"],
    }


@pytest.mark.parametrize("name", MODELS)
def test_the_boxes_of_real_models_add_up_at_every_level(pages, name):
    page = pages[name]
    check_nodes(page.nodes, page.profile)
    paths = {page.nodes[0].id: ""}
    for node in page.nodes[1:]:
        paths[node.id] = f"{paths[node.parent]}.{node.label}".lstrip(".")
    whole = {layer.path for layer in page.profile.layers}
    around = {path[:at] for path in whole for at in range(len(path)) if path[at] == "."}  # a ModuleList has no row
    assert {path for path in paths.values() if not path.endswith("(own)")} == whole | around
    check_nodes(treemap.build_treemap(PageView(page.profile), most=12), page.profile)


@pytest.mark.parametrize("make", ["profile", "with_unknown", "stopped", "trained", "hostile"])
def test_the_boxes_of_profiles_built_by_hand_add_up(make):
    profile = getattr(builders, make)()
    check_nodes(treemap.build_treemap(PageView(profile)), profile)


def test_boxes_by_hand():
    """The add of the block is its own; both calls of the relu are one box: 2 x 256 FLOPs."""
    nodes = treemap.build_treemap(PageView(builders.profile()))
    assert [(node.label, node.kind, node.depth) for node in nodes] == [
        ("net", "Net", 0), ("block", "Residual", 1), ("conv1", "Conv2d", 2), ("relu", "ReLU", 2),
        ("conv2", "Conv2d", 2), ("(own)", "Residual", 2), ("fc", "Linear", 1), ("aux", "Linear", 1),
    ]  # fmt: skip
    assert [node.total["params"] for node in nodes] == [2860, 260, 112, 0, 148, 0, 2570, 30]
    assert [node.total["macs"] for node in nodes] == [18688, 16128, 6912, 0, 9216, 0, 2560, 0]
    assert [node.total["flops"] for node in nodes] == [38666, 33536, 14080, 512, 18688, 256, 5130, 0]
    assert [node.total["act_fp32"] for node in nodes] == [3112, 3072, 1024, 0, 1024, 1024, 40, 0]


SIZES = st.lists(st.integers(0, 10**12), min_size=1, max_size=60)


@st.composite
def nets(draw):
    """Layers under random parents, with random parameters and no ops; also huge and empty ones."""
    paths, layers = [""], [Layer("", "Net", 0, 0, params=draw(st.integers(0, 9)))]
    for i, size in enumerate(draw(SIZES)):
        parent = draw(st.sampled_from(paths))
        paths.append(f"{parent}.{i}" if parent else f"{i}")
        layers.append(Layer(paths[-1], "Part", paths[-1].count(".") + 1, None, params=size, trainable=size))
    return builders.make_profile("net", (), 1, "forward", "float32", tuple(layers), (), (), ())


@given(nets(), st.integers(1, 70))
def test_however_few_boxes_there_may_be_they_add_up(profile, most):
    nodes = treemap.build_treemap(PageView(profile), most)
    assert len(nodes) <= most
    check_nodes(nodes, profile)


def test_the_smallest_boxes_become_one():
    """20 layers with 1 to 20 parameters; of 6 boxes one is the model and one the 16 smallest: 1 + ... + 16 = 136."""
    layers = (Layer("", "Net", 0, 0), *(Layer(f"l{i}", "Part", 1, 0, params=i) for i in range(1, 21)))
    profile = builders.profile(layers=layers, ops=(), tensors=(), storages=())
    nodes = treemap.build_treemap(PageView(profile), most=6)
    assert [(node.label, node.total["params"]) for node in nodes] == [
        ("net", 210), ("l17", 17), ("l18", 18), ("l19", 19), ("l20", 20), ("other (16)", 136),
    ]  # fmt: skip


def test_a_box_that_is_large_in_any_way_stays():
    """Ten layers with 100 parameters each and one with none that spends all MACs: it is not the one to go."""
    layers = (
        Layer("", "Net", 0, 0),
        *(Layer(f"l{i}", "Part", 1, 0, params=100) for i in range(10)),
        Layer("x", "X", 1, 0),
    )
    op = builders.make_op("aten.mm", 11, "forward", (), (), 50, 100, 0, 0, "counted")
    nodes = treemap.build_treemap(PageView(builders.profile(layers=layers, ops=(op,), tensors=(), storages=())), most=5)
    assert [(node.label, node.total["macs"]) for node in nodes] == [
        ("net", 50), ("l0", 0), ("l1", 0), ("x", 50), ("other (8)", 0),
    ]  # fmt: skip


def unstable():
    """Measured on a machine that was busy in one round."""
    whole = builders.LATENCY.whole._replace(rounds=((0.04,), (0.041,), (0.09,)))
    return builders.measured(latencies=(builders.LATENCY._replace(whole=whole),))


# The first screen


def tiles_of(profile, **options):
    return {tile.key: tile for tile in build_report([profile], **options).models[0].tiles}


def test_tiles_by_hand():
    """3,880 bytes are live while fc runs: 2,860 - 30 parameters are no storage of this pass; see test_liveness."""
    tiles = tiles_of(builders.profile())
    assert list(tiles) == ["params", "macs", "peak", "activation"]
    assert (tiles["params"].value, tiles["params"].second) == (2860, (2712, "trainable"))
    assert (tiles["macs"].value, tiles["macs"].second) == (18688, (38666, "FLOPs"))
    assert (tiles["peak"].value, tiles["activation"].value) == (3880, 3112)
    assert tiles["peak"].note == "at fc, in float32"
    assert not any(tile.is_lower_bound for tile in tiles.values())


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64"])
def test_the_dtype_that_ran_leads(dtype):
    """A product of 1,000 elements."""
    profile = archprof.profile(nn.Linear(10, 1000, bias=False), (1, 10), dtype=dtype)
    tile, size = tiles_of(profile)["activation"], 8 if dtype == "float64" else 2
    assert (tile.value, tile.second) == (1000 * size, None)
    assert dtype in tile.note
    columns = [column.key for column in build_report([profile]).models[0].table.columns]
    assert "act_fp32" not in columns


def test_a_receptive_field_stands_on_pages_of_convolutional_nets_alone(pages):
    """212 is the field of VGG-16's last pool (METHODS of the Distill article)."""
    assert pages["vgg16"].details == ("16 weight layers deep", "receptive field 212 px")
    for name in ("torchvision:vit_b_16", "torchvision:swin_t"):
        assert not any("field" in line for line in pages[name].details)
    assert not any("field" in finding.text for page in pages.values() for finding in page.findings)


def test_a_field_goes_on_past_a_gate():
    """Two 3x3 with a squeeze-and-excitation gate between: 5 pixels but for the gate."""

    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.gate = conv(4, 4, 3), conv(4, 4, 3), nn.AdaptiveAvgPool2d(1)

        def forward(self, x):
            x = self.first(x)
            return self.second(x * self.gate(x).sigmoid())

    page = build_report([archprof.profile(Gated(), torch.zeros(1, 4, 16, 16))]).models[0]
    assert page.details == ("2 weight layers deep", "receptive field 5 px")


def test_bounds_are_marked_on_the_tiles():
    def bounds(profile):
        return {tile.key for tile in tiles_of(profile).values() if tile.is_lower_bound}

    assert bounds(builders.with_unknown()) == {"macs"}
    assert bounds(builders.stopped()) == {"macs", "peak", "activation"}


def test_the_backward_pass_stands_beside_the_forward():
    macs = tiles_of(builders.trained())["macs"]
    assert (macs.value, macs.second) == (18688, (38666, f"FLOPs; {2 * (6912 + 9216) / 1000:.2f} k backward"))


def test_a_device_is_held_against_the_model():
    """vgg16 takes 553 MiB, and a T4 has 16 GB; 4,096 images at once are 4,096 times 25 MiB and more."""
    profile = archprof.profile("vgg16")
    tiles = tiles_of(profile, device="NVIDIA T4")
    assert tiles["fits"].value == archprof.predict_memory("vgg16", device="NVIDIA T4").prediction.needed_bytes.value
    assert tiles["fits"].note == "fits on NVIDIA T4, predicted"
    assert "on NVIDIA T4" in tiles["latency"].note
    large = archprof.profile("vgg16", batch=4096)
    assert tiles_of(large, device="NVIDIA T4")["fits"].note.startswith("does not fit")
    assert "fits" not in tiles_of(profile)


# Where to save


def test_what_rewrites_save_is_what_they_save():
    """One forward each of the model as it was, and as `whatif` writes it."""
    profile = archprof.profile("vgg16")
    tried = trials.try_rewrites(["vgg16"], None, [profile])
    found = {one.option: one for one in build_report([profile], tried=tried).models[0].savings}
    assert set(found) == {"--separable", "--no-fc", "--width 0.75"}
    after = archprof.whatif("vgg16", separable=True).after.totals
    assert found["--separable"].macs == after.macs - profile.totals.macs
    assert found["--separable"].params == after.params - profile.totals.params
    share = after.macs / profile.totals.macs - 1
    assert f"({share:+.1%})" in found["--separable"].text
    assert "(13 layers)" in found["--separable"].text


def test_a_block_less_saves_what_the_block_costs():
    net = nn.Sequential(*(nn.Linear(16, 16) for _ in range(10)))
    saving = build_report([archprof.profile(net, (1, 16))]).models[0].savings[0]
    assert (saving.macs, saving.params) == (-256, -272)
    text = "One Linear less of the 10 equal ones from 0 to 9: -256 MACs (-10.0%), -272 parameters (-10.0%)."
    assert saving.text == text
    shorter = archprof.profile(nn.Sequential(*net[:9]), (1, 16)).totals
    assert shorter.macs == archprof.profile(net, (1, 16)).totals.macs + saving.macs


def test_nothing_is_tried_on_what_cannot_be_rewritten():
    profile = archprof.profile("lenet5")
    assert trials.try_rewrites([profile], None, [profile]) == []
    assert trials.try_rewrites(["lenet5", "vgg16"], None, [profile, profile]) == []


# Findings


@pytest.mark.parametrize("name", MODELS)
def test_early_memory_is_made_by_the_rows_named(pages, name):
    page = pages[name]
    for finding in page.findings:
        if "of the activation memory" in finding.text:
            records = {row.name: page.table.record(row) for row in page.table.rows if not row.subtotal}
            share = (
                sum(records[row]["act_fp32"] for row in finding.rows) / page.profile.totals.activation_bytes["float32"]
            )
            assert finding.text.startswith(f"{share:.0%} of the activation memory")


def test_nothing_is_said_of_what_is_not_known():
    unknown, stopped = texts(builders.with_unknown()), texts(builders.stopped())
    assert "lower bounds" in unknown[0]
    assert not any("MACs" in text for text in unknown[1:])
    assert stopped == [
        "The forward of net stopped in block.conv2: its work and activations are lower bounds.",
        "Until it stopped, net spent 6,912 MACs and made 1,024 B of activations in float32.",
        "net holds 260 parameters, whatever runs.",
    ]


def test_equal_models_have_three_findings_too():
    identity = archprof.profile(nn.Identity(), torch.zeros(1, 4))
    found = build_report([identity, identity]).comparison.findings
    assert [finding.text for finding in found[1:]] == [
        "A: Identity has no parameters.",
        "A: Identity runs no op in this pass.",
    ]
    assert found[1].models == (0,)


def test_models_that_stopped_are_not_spoken_of_twice():
    found = build_report([builders.stopped(), builders.stopped()]).comparison.findings
    assert [finding.text for finding in found] == [
        "The forward of net (A) stopped in block.conv2: its work and activations are lower bounds.",
        "The forward of net (B) stopped in block.conv2: its work and activations are lower bounds.",
    ]


def test_rows_that_the_table_leaves_out_are_not_named():
    """A container that only copies has nothing in the table, though it moves most bytes."""
    base = builders.profile()
    copy = builders.make_op("aten.copy_", 1, "forward", (0,), (), 0, 0, 10**6, 10**6, "zero")
    ops = (*base.ops[:4], copy, base.ops[5])  # in the place of the block's add
    storages = tuple(one._replace(born=None, role="input") if one.born == 4 else one for one in base.storages)
    page = build_report([dataclasses.replace(base, ops=ops, storages=storages)]).models[0]
    assert "block (own)" not in {row.name for row in page.table.rows}
    assert page.findings
    assert all(set(finding.rows) <= {row.name for row in page.table.rows} for finding in page.findings)


# Pictures


@pytest.mark.parametrize("name", MODELS)
def test_stages_add_up(pages, name):
    stages, totals = PageView(pages[name].profile).stages, pages[name].profile.totals
    expected = {"params": totals.params, "macs": totals.macs, "act_fp32": totals.activation_bytes["float32"]}
    for key, total in expected.items():
        assert sum(getattr(stage.counts, key) for stage in stages) == total
    names = charts.number_repeats(stage.name for stage in stages)
    assert len(names) == len(set(names))


def test_stages_of_one_size_keep_apart():
    """Down and up again: 16x16, 8x8, 16x16."""
    up = traced(conv(4, 4, 3), nn.ReLU(), nn.MaxPool2d(2), conv(4, 8, 3), nn.Upsample(scale_factor=2), conv(8, 4, 3))
    stages = PageView(up).stages
    assert charts.number_repeats(stage.name for stage in stages) == ["16x16", "8x8", "16x16 (2)"]
    assert [stage.counts.params for stage in stages] == [144, 288, 288]


@pytest.mark.parametrize("name", MODELS)
def test_memory_along_the_pass_has_its_peak(pages, name):
    live, peak = pages[name].network.live, liveness.compute_peak_bytes(pages[name].profile)
    assert live.peak == peak == max(max(curve) for curve in live.curves if curve)
    assert peak in live.curves[live.peak_column]
    assert live.peak == max(PageView(pages[name].profile).live_bytes)


def test_live_bytes_by_hand():
    """Four ops: an input of 100 all the time, 10 from op 0 to 2, 20 from op 1 on, 40 at op 3 that nobody keeps."""
    storages = (
        Storage(100, "float32", "input", None, None),
        Storage(10, "float32", "activation", 0, 2),
        Storage(20, "float32", "auxiliary", 1, None),
        Storage(40, "float32", "activation", 3, 3),
    )
    ops = tuple(builders.make_op(f"aten.op{i}", 0, "forward", (), (), 0, 0, 0, 0, "zero") for i in range(4))
    subject = PageView(builders.profile(layers=(Layer("", "Net", 0, 0),), ops=ops, tensors=(), storages=storages))
    assert subject.live_bytes == [110, 130, 130, 160]


@given(st.lists(st.integers(0, 10**9), max_size=300), st.integers(4, 60))
def test_thinning_keeps_the_ends_and_the_extremes(values, most):
    points = tuple((i, value, "") for i, value in enumerate(values))
    kept = charts.thin_points(points, most)
    assert len(kept) <= most
    assert len(kept) == len(points) or len(points) > most
    assert list(kept) == sorted(set(kept))
    assert set(kept) <= set(points)
    if points:
        assert kept[0] == points[0]
        assert kept[-1] == points[-1]
        assert max(y for _, y, _ in kept) == max(values)
        assert min(y for _, y, _ in kept) == min(values)


def test_fields_against_depth(pages):
    """VGG-16 convolution by convolution, as every course works it out."""
    [points] = drawn(pages["vgg16"].charts)["field"].points
    assert [y for _, y, _ in points] == [3, 5, 10, 14, 24, 32, 40, 60, 76, 92, 132, 164, 196]
    assert [x for x, _, _ in points] == list(range(1, 14))
    assert points[2][2] == "features.5"


def test_intensity_of_a_convolution():
    """4 -> 8 channels, 3x3 on 16x16 without bias: 2 x 256 x 8 x 36 FLOPs over input, weight and output in float32."""
    [points] = drawn(build_report([traced(conv(4, 8, 3))]).models[0].charts)["intensity"].points
    flops, moved = 2 * 256 * 8 * 36, 4 * (4 * 256 + 8 * 4 * 9 + 8 * 256)
    assert points == ((flops / moved, flops, "0"),)


def test_a_layer_with_an_unknown_op_has_no_intensity():
    sets = drawn(build_report([builders.with_unknown()]).models[0].charts)["intensity"].points
    names = [name for points in sets for _, _, name in points]
    assert "fc" in names
    assert "block.conv2" not in names


def test_windows_of_a_chain():
    """Kernel 3 dilated by 2 reaches 5; steps of 2 double what the next window adds: 5, 5 + 2, 7 + 2 x 2."""
    chain = traced(nn.Conv2d(4, 4, 3, dilation=2), conv(4, 4, 3), nn.ReLU(), conv(4, 4, 3, stride=2), conv(4, 4, 3))
    series = drawn(build_report([chain]).models[0].charts)["windows"]
    assert series.names == ("kernel", "stride", "receptive field")
    kernels, strides, fields = ([y for _, y, _ in points] for points in series.points)
    assert (kernels, strides, fields) == ([5, 3, 3, 3], [1, 1, 2, 1], [5, 7, 9, 13])


def test_only_chains_of_convolutions_have_windows(pages):
    assert not any("windows" in drawn(page.charts) for page in pages.values())

    class Fork(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = conv(4, 4, 3), conv(4, 4, 5)

        def forward(self, x):
            return self.a(x) + self.b(x)

    fork = build_report([archprof.profile(Fork(), torch.zeros(1, 4, 8, 8))]).models[0]
    assert "windows" not in drawn(fork.charts)


# Several models


NUMBERS = st.integers(0, 8)


@given(st.lists(st.tuples(NUMBERS, NUMBERS), max_size=25))
@settings(max_examples=300)
def test_the_front_is_what_nothing_beats(points):
    def beaten(p):
        return any(q[0] <= p[0] and q[1] <= p[1] and q != p for q in points)

    kept = joint_charts.find_pareto_front(points)
    assert sorted(kept) == [i for i, point in enumerate(points) if not beaten(point)]
    assert [points[i] for i in kept] == sorted(points[i] for i in kept)


@pytest.fixture(scope="module")
def four():
    return build_report([archprof.profile(name) for name in ("alexnet", "vgg11", "vgg16", "resnet18")])


def test_costs_against_published_errors(four):
    """torchvision's errors and MACs; VGG-11 is off the front, for ResNet-18 errs less with fewer MACs."""
    series = drawn(four.charts)["error_macs"]
    assert series.names == ("A alexnet", "B vgg11", "C vgg16", "D resnet18", "Pareto front")
    *models, front = series.points
    assert [(round(x / 1e9, 3), y) for [(x, y, _)] in models] == [
        (0.714, 20.934), (7.609, 11.372), (15.47, 9.618), (1.814, 10.922),
    ]  # fmt: skip
    assert [name for _, _, name in front] == ["A alexnet", "D resnet18", "C vgg16"]
    assert {"error_macs", "error_params"} <= set(drawn(four.charts))


def test_what_cannot_be_compared_is_not_on_the_front():
    entry, single = archprof.profile("alexnet_2012"), archprof.profile("resnet18")
    *_, front = drawn(build_report([entry, single, archprof.profile("vgg16")]).charts)["error_macs"].points
    assert "A alexnet_2012" not in [name for _, _, name in front]
    bound = build_report([builders.with_unknown(), dataclasses.replace(builders.profile(), model="other")])
    first, _, front = drawn(bound.charts)["params_macs"].points
    assert first[0][2] == "A net (lower bound)"
    assert [name for _, _, name in front] == ["B other"]
    assert "error_macs" not in drawn(bound.charts)


def test_stages_on_stages_add_up(four):
    """A bar a model, a piece a stage: the pieces of a bar are the model's total."""
    for key in ("params", "macs"):
        stacked = drawn(four.charts)[f"stage_{key}"]
        assert stacked.kind == "stack"
        assert len(stacked.names) == len(stacked.points) == len(set(stacked.names))
        bars = {}
        for points in stacked.points:
            for model, value, _ in points:
                bars[model] = bars.get(model, 0) + value
        in_order = [bars[name] for name in sorted(bars)]  # "A alexnet", "B vgg11" ...
        assert in_order == [getattr(page.profile.totals, key) for page in four.models]


def test_the_block_lecture_as_a_picture():
    """One 5x5 against two 3x3: both see 5 pixels at the end."""
    page = build_report(blocks())
    series = drawn(page.charts)["windows"]
    assert [[y for _, y, _ in points] for points in series.points] == [[5], [3, 5]]
    assert page.comparison.summary.records()[0]["params"] == 204_800
    assert page.title == "one against two"


def test_a_model_without_a_field_is_no_obstacle():
    flat = dataclasses.replace(archprof.profile(nn.Linear(4, 2), torch.zeros(1, 4)), model="flat")
    series = drawn(build_report([blocks()[0], flat]).charts)
    assert [len(points) for points in series["field"].points] == [1, 0]
    assert "windows" not in series


# The whole page


def test_two_runs_give_the_same_page():
    def make():
        return build_report([archprof.profile("resnet18"), archprof.profile("vgg11")], command="archprof report")

    assert make() == make()


def test_what_was_asked_stands_under_the_title():
    small = archprof.profile("resnet18", "3x64x64", batch=2)
    page = build_report([archprof.profile("resnet18"), small], title="Review")
    assert page.title == "Review"
    assert page.badge == "counted"
    assert page.subtitle == ("input 3x224x224; input 3x64x64", "float32", "batch 1; batch 2", "forward pass")


def test_the_appendix_says_what_was_not_counted():
    sections = dict(build_report([builders.with_unknown(), builders.profile()], command="archprof report a b").appendix)
    assert sections["Not counted"] == ("A: aten.mystery: 1 call",)
    assert "Built by hand." in sections["Notes"]
    assert sections["Command"] == "archprof report a b"
    assert all(sections.values())
    assert "Every op" in dict(build_report([builders.profile()]).appendix)["Not counted"][0]


def test_published_errors_have_their_source(four):
    lines = dict(four.appendix)["Published errors"]
    assert any(line.startswith("vgg16: 9.618% top-5") and "torchvision" in line for line in lines)


def test_hostile_names_are_data():
    """They come out as they went in: escaping is the renderers' business."""
    page = build_report([builders.hostile()])
    assert page.title == builders.HOSTILE[0]
    assert {row.name for row in page.models[0].table.rows} == set(builders.HOSTILE)
    labels = {node.label for node in page.models[0].nodes}
    assert {name.rpartition(".")[2] for name in builders.HOSTILE} <= labels
    assert all(re.fullmatch(r"n\d+", node.id) for node in page.models[0].nodes)
    assert all(re.fullmatch(r"[a-z0-9_]+", series.key) for series in page.models[0].charts)


def test_one_model_has_no_comparison():
    page = build_report([builders.profile()])
    assert page.comparison is None
    assert page.charts == ()


def test_no_model_and_too_many_are_refused():
    with pytest.raises(UsageError):
        build_report([])
    with pytest.raises(UsageError):
        build_report([builders.profile()] * 27)


def test_train_mode_has_the_columns_of_the_backward_pass():
    keys = {column.key for column in build_report([builders.trained()]).models[0].table.columns}
    assert {"backward_macs", "backward_flops"} <= keys


def test_a_model_of_2000_layers(pages):
    """A thousand convolutions: 1 + 2 x 1,000 pixels are seen, and no picture has more points than it can show."""
    deep = traced(*(layer for _ in range(1000) for layer in (conv(4, 4, 3), nn.ReLU())))
    page = build_report([deep]).models[0]
    check_nodes(page.nodes, deep)
    assert len(page.nodes) == treemap.MAX_BOXES
    assert len(page.table.rows) == 2000
    assert "receptive field 2,001 px" in page.details
    assert all(len(points) <= 1000 for series in page.charts for points in series.points)


def test_every_rule_is_used_by_some_model(pages):
    """No rule is dead: each says something about one of these profiles."""
    seen = [PageView(page.profile) for page in pages.values()] + [PageView(archprof.profile("resnet152"))]
    seen += [
        PageView(profile)
        for profile in (builders.stopped(), builders.hostile(), builders.on_gpu(), builders.measured(), unstable())
    ]
    seen.append(PageView(archprof.probe("lenet5", batch=2)))
    for rule in model_findings.MODEL_RULES:
        assert any(list(rule(subject)) for subject in seen), rule.__name__


FRONT_END = """
from torch import nn

class FrontEnd(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 16, 3))

class Roof(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(3, 4, 3))
"""


def test_a_model_whose_name_sounds_like_a_line_keeps_its_point(tmp_path):
    """`FrontEnd` and `Roof` are points of the scatter: a marker each in the drawing, and in the data for plotly."""
    (tmp_path / "net.py").write_text(FRONT_END)
    models = [archprof.profile(f"{tmp_path / 'net.py'}:{name}", (1, 3, 16, 16)) for name in ("FrontEnd", "Roof")]
    archprof.report(models, tmp_path / "x.html", plotly="inline")
    text = (tmp_path / "x.html").read_text()
    figure = re.search(r"<figure class=fig id=fig-params_macs>.*?</figure>", text, re.DOTALL)
    assert figure
    assert [len(re.findall(rf'class="c{i} bar"', figure[0])) for i in range(2)] == [1, 1]
    found = json.loads(re.search(r'id="figures">(.*?)</script>', text, re.DOTALL)[1])
    [scatter] = [drawn for id, drawn in found.items() if id.endswith("params_macs")]
    assert [trace["mode"] for trace in scatter["data"]] == ["markers+text", "markers+text", "lines"]
    assert [len(trace["x"]) for trace in scatter["data"]][:2] == [1, 1]
    alone = {series.key: series for series in build_report([models[0]]).models[0].charts}["intensity"]
    assert "dots" in svg.draw_chart(alone)
    assert figures.to_plotly(alone)["data"][0]["mode"].startswith("markers")


def test_each_thing_is_worked_out_once_for_each_model_of_a_report(monkeypatch):
    """Four models, compared and each on its page: so many calls of whatever walks a profile."""
    profiles = [archprof.profile(name) for name in ("lenet5", "alexnet", "vgg11", "resnet20_cifar")]
    calls = Counter()

    def counted(module, name):
        real = getattr(module, name)

        def call(*args, **options):
            calls[name] += 1
            return real(*args, **options)

        monkeypatch.setattr(module, name, call)

    counted(view, "count_rows")
    counted(view, "CallTree")
    counted(view, "count_weight_layers")
    counted(view.fields, "compute_fields")
    counted(view.stages, "find_stages")
    build_report(profiles)
    assert calls == dict.fromkeys(
        ("count_rows", "CallTree", "count_weight_layers", "compute_fields", "find_stages"), len(profiles)
    )


def test_shapes_in_the_table_are_raw(pages):
    record = pages["vgg16"].table.records()[0]
    assert record["output"] == ((1, 64, 224, 224),)
    assert record["rf"] == "3"
    assert record["act_fp32"] == 4 * prod((64, 224, 224))
