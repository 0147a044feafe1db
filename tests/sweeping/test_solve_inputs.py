"""Backwards questions. Oracle: brute force by torch's own forward over every size, and figures worked by hand."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import archprof
from archprof.analysis.tables import search as tables
from archprof.errors import ArchprofError, UnknownName, UsageError
from archprof.sweeping.axes import _add_keyword
from archprof.sweeping.fit import fit_to_budgets
from archprof.sweeping.solve_inputs import InputSizes, SizeCondition, find_input_sizes, parse_condition


def sizes(answer: InputSizes) -> list[int]:
    return [found.size[0] for found in answer.found]


class Branches(nn.Module):
    """Convolution, ceil-mode pooling, a dilated branch beside a padded one, and a linear layer that fits one size."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 4, 5, 3, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True)
        )
        self.left = nn.Conv2d(4, 4, 3, padding=2, dilation=2)
        self.right = nn.AvgPool2d(3, 1, 1)
        self.last = nn.Conv2d(8, 2, 2)
        self.fc = nn.Linear(2 * 4 * 4, 3)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        return self.last(torch.cat([self.left(x), self.right(x)], 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.features(x).flatten(1))


class UNet(nn.Module):
    """Runs where halving and doubling give the size again: multiples of 8."""

    def __init__(self, width: int = 4, depth: int = 3) -> None:
        super().__init__()
        self.inside = nn.Conv2d(3, width, 3, padding=1)
        self.deep = nn.Sequential(*(nn.Conv2d(width, width, 3, padding=1) for _ in range(depth)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.inside(x)
        small = self.deep(nn.functional.max_pool2d(x, 8))
        return x + nn.functional.interpolate(small, scale_factor=8)


class Shrinks(nn.Module):
    """A layer whose output gets smaller as the input grows."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x[:, :, : 40 - x.shape[2], : 40 - x.shape[3]])


def brute(model: nn.Module, layer: nn.Module, wanted: tuple[int, int], among: range) -> list[int]:
    """The sizes n for which n x n gives the wanted output at the layer, by running the model."""
    seen: list[tuple[int, ...]] = []
    handle = layer.register_forward_hook(lambda module, args, out: seen.append(tuple(out.shape[2:])))
    found = []
    for n in among:
        seen.clear()
        with torch.no_grad(), suppress(RuntimeError):
            model(torch.zeros(1, 3, n, n))
        found += [n] if seen == [wanted] else []
    handle.remove()
    return found


def test_d9_which_inputs_give_55x55() -> None:
    answer = find_input_sizes("alexnet_2012", "features.0=55x55")
    assert sizes(answer) == [227, 228, 229, 230]
    assert [(near.size, near.layer_sizes) for near in answer.near] == [
        ((226, 226), ((54, 54),)),
        ((231, 231), ((56, 56),)),
    ]
    table = tables.tabulate_inputs(answer)
    assert [record["input"] for record in table.records()] == ["227x227", "228x228", "229x229", "230x230"]
    assert {record["runs"] for record in table.records()} == {"yes"}
    assert 224 in sizes(find_input_sizes("alexnet_2012", "features.0=54x54"))


@pytest.mark.parametrize(
    ("path", "wanted"), [("stem", 5), ("stem.0", 9), ("left", 6), ("last", 4), ("last", 1), ("last", 99)]
)
def test_finds_what_running_every_size_finds(path: str, wanted: int) -> None:
    model = Branches().eval()
    answer = find_input_sizes(model, f"{path}={wanted}x{wanted}", hi=60, inputs=(1, 3, 32, 32))
    assert sizes(answer) == brute(model, model.get_submodule(path), (wanted, wanted), range(1, 61))


def test_says_where_the_forward_fails_after_the_layer() -> None:
    model = Branches().eval()
    answer = find_input_sizes(model, "stem=5x5", hi=60, inputs=(1, 3, 32, 32))
    assert [found.problem is None for found in answer.found] == [
        model.stem(torch.zeros(1, 3, n, n)).shape[2] == 5 and model.features(torch.zeros(1, 3, n, n)).shape[2] == 4
        for n in sizes(answer)
    ]
    failing = find_input_sizes(model, "stem=6x6", hi=60, inputs=(1, 3, 32, 32))
    assert "fc" in " ".join(tables.tabulate_inputs(failing).notes)


def test_a_layer_that_shrinks_is_found_by_trying_every_size() -> None:
    model = Shrinks()
    for wanted in (5, 20):
        answer = find_input_sizes(model, f"conv={wanted}x{wanted}", hi=39, inputs=(1, 3, 30, 30))
        assert sizes(answer) == brute(model, model.conv, (wanted, wanted), range(1, 40)) != []
    with pytest.raises(ArchprofError, match="cannot be solved apart"):
        find_input_sizes(model, "conv=5x6", hi=39, inputs=(1, 3, 30, 30))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 7), st.integers(1, 4), st.integers(0, 3), st.integers(1, 3), st.integers(1, 9))
def test_one_window_is_inverted(kernel: int, stride: int, padding: int, dilation: int, wanted: int) -> None:
    spec = f"conv{kernel}-2/s{stride}/p{padding}/d{dilation}"
    made = [n for n in range(1, 80) if (n + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1 == wanted]
    answer = find_input_sizes(spec, f"conv1={wanted}x{wanted}", hi=79, inputs="3x64x64")
    assert sizes(answer) == made


def test_height_and_width_apart() -> None:
    answer = find_input_sizes("alexnet_2012", "features.0=55x40")
    assert not answer.square
    assert {found.size for found in answer.found} == {(h, w) for h in range(227, 231) for w in range(167, 171)}
    assert not any(found.problem is None for found in answer.found)
    assert not find_input_sizes("alexnet_2012", "features.0=55x40", square=True).found
    both = find_input_sizes("conv3-4/s2 conv3-4/s2", ["conv1=9x7", "conv2=5x4"], inputs="3x32x32")
    assert {found.size for found in both.found} == {(17, 13), (17, 14), (18, 13), (18, 14)}


def test_conditions_hold_together() -> None:
    assert sizes(find_input_sizes("conv3-4/s4 conv3-4/s4", ["conv1=9x9", "conv2=3x3"], inputs="3x32x32")) == [
        33,
        34,
        35,
        36,
    ]
    nothing = find_input_sizes("conv3-4/s4", ["conv1=9x9", "conv1=10x10"], inputs="3x32x32")
    assert nothing.found == ()
    assert tables.tabulate_inputs(nothing).notes[0] == "No input size gives this."


@pytest.mark.parametrize(
    ("where", "options", "says"),
    [
        ("features.0", {}, "PATH=HEIGHTxWIDTH"),
        ("features.0=55", {}, "PATH=HEIGHTxWIDTH"),
        ("features.0=0x5", {}, "PATH=HEIGHTxWIDTH"),
        ("feature.0=55x55", {}, "features.0"),
        ("classifier.0=1x1", {}, "no height and width"),
        ([], {}, "no condition"),
        ("features.0=55x55", {"lo": 9, "hi": 3}, "9 to 3"),
        ("features.0=55x55", {"inputs": "[1,3,4]"}, "no image"),
    ],
)
def test_questions_without_sense(where: object, options: dict[str, object], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        find_input_sizes("vgg16", where, **options)


def test_more_sizes_than_can_be_listed() -> None:
    with pytest.raises(UsageError, match="Narrow"):
        find_input_sizes("conv1-2/s60 bn", "conv1=2x3", inputs="3x99x99")


def test_reads_a_condition() -> None:
    assert parse_condition(" a.b = 5x7 ") == SizeCondition("a.b", (5, 7))


@pytest.mark.parametrize("key", ["params", "macs", "flops", "activation"])
def test_fits_what_trying_every_size_fits(key: str) -> None:
    spec = "conv5-8/s3 relu pool2 conv3-4/p0 flatten linear-7"
    costs = {}
    for n in range(1, 70):
        try:
            totals = archprof.profile(spec, f"3x{n}x{n}").totals
        except UsageError:
            continue
        costs[n] = totals.activation_bytes["float32"] if key == "activation" else getattr(totals, key)
    for budget in (costs[40], costs[40] - 1, costs[55] + 1):
        result = fit_to_budgets(spec, inputs="3x32x32", **{f"max_{key}": budget})
        assert result.found is not None
        assert result.found.value == max(n for n, cost in costs.items() if cost <= budget)
        assert result.above is not None
        assert result.above.find_overruns({key: budget}) == {key: costs[result.found.value + 1] - budget}


def test_only_sizes_that_run_count() -> None:
    result = fit_to_budgets(UNet(), inputs=(1, 3, 64, 64), max_macs=500_000)
    macs = {n: archprof.profile(UNet(), (1, 3, n, n)).totals.macs for n in range(8, 160, 8)}
    best = max(n for n in macs if macs[n] <= 500_000)
    assert result.found is not None
    assert result.above is not None
    assert result.below is not None
    assert (result.found.value, result.above.value) == (best, best + 8)
    assert result.above.find_overruns({"macs": 500_000}) == {"macs": macs[best + 8] - 500_000}
    assert result.below.problem is not None


def test_resnet50_in_4_1_gmacs_is_224() -> None:
    result = fit_to_budgets("resnet50", max_macs=4_100_000_000)
    assert result.found is not None
    assert result.found.label == "224x224"
    notes = " ".join(tables.tabulate_fit(result).notes)
    assert "The largest that fits: 224x224." in notes
    assert "225x225 is over the budget of MACs by 526.71 M (12.8%)" in notes


def test_over_the_batch() -> None:
    one = archprof.profile("alexnet").totals.activation_bytes["float32"]
    result = fit_to_budgets("alexnet", over="batch", max_activation=10 * one + one // 2)
    assert result.found is not None
    assert result.found.value == 10
    with pytest.raises(UsageError, match=r"exact[\s\S]*resolution"):
        fit_to_budgets("alexnet", over="batch", inputs="[1,3,224,224]", max_activation=2**30)


def test_over_a_keyword_of_the_factory(tmp_path: Path) -> None:
    file = tmp_path / "net.py"
    file.write_text(
        "from torch import nn\n"
        "def make(classes=2, width=8, depth=1):\n"
        "    inner = [nn.Conv2d(width, width, 1, bias=False) for _ in range(depth)]\n"
        "    return nn.Sequential(nn.Conv2d(3, width, 1, bias=False), *inner), (1, 3, 4, 4)\n"
    )
    width = fit_to_budgets(f"{file}:make(classes=3)", over="width", max_params=13 * 16 - 1)  # width^2 + 3 width
    assert width.found is not None
    assert (width.found.label, width.found.costs["params"]) == ("width=12", 180)
    depth = fit_to_budgets(f"{file}:make", over="depth", max_params=8 * 3 + 7 * 64)
    assert depth.found is not None
    assert depth.found.label == "depth=7"
    assert tables.tabulate_fit(depth).records()[1]["fits"] == "yes"
    taken = fit_to_budgets(UNet, over="width", max_params=9 * 9 * 9 * 9, inputs="3x16x16")
    assert taken.found is not None
    assert taken.found.label.startswith("width=")


def test_a_keyword_is_added_to_the_model_as_it_was_asked_for() -> None:
    assert _add_keyword("net.py:Net(a=(1, 2), width=3)@HEAD~1", "width", 5) == "net.py:Net(a=(1, 2), width=5)@HEAD~1"
    assert _add_keyword("timm:some_net", "width_mult", 0.5) == "timm:some_net(width_mult=0.5)"


def test_costs_that_fall_are_all_tried(tmp_path: Path) -> None:
    file = tmp_path / "net.py"
    file.write_text(
        "from torch import nn\n"
        "def make(width=8):\n"
        "    return nn.Conv2d(3, abs(width - 100) + 1, 1, bias=False), (1, 3, 4, 4)\n"
    )
    result = fit_to_budgets(f"{file}:make", over="width", max_params=60)  # up to 20 channels: 81 to 119
    assert result.found is not None
    assert result.found.value == 119


def test_over_the_repetition_of_a_block_spec() -> None:
    result = fit_to_budgets(
        "conv3-8/nobias (conv3-8/nobias relu)x2 pool2", over="depth", inputs="3x8x8", max_params=216 + 576 * 5
    )
    assert result.found is not None
    assert result.found.label == "x5"
    with pytest.raises(UsageError, match=r"no repetition[\s\S]*resolution, batch"):
        fit_to_budgets("conv3-8", over="depth", inputs="3x8x8", max_params=9)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"over": "width", "max_params": 9}, r"no setting for its width[\s\S]*resolution, batch"),
        ({"over": "height", "max_params": 9}, "resolution"),
        ({}, "no budget"),
    ],
)
def test_settings_that_are_not_there(options: dict[str, object], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        fit_to_budgets("vgg16", **options)


def test_nothing_fits_and_nothing_breaks() -> None:
    nothing = fit_to_budgets("conv3-8", inputs="3x8x8", max_params=10)
    assert nothing.found is None
    assert nothing.smallest is not None
    assert "Nothing fits." in tables.tabulate_fit(nothing).notes
    assert "1x1, the smallest that runs, is over" in tables.tabulate_fit(nothing).notes[1]
    everything = fit_to_budgets("conv3-8", inputs="3x8x8", max_params=1000)
    assert everything.found is not None
    assert everything.found.value == 4096
    assert everything.above is None
    assert "No budget breaks" in tables.tabulate_fit(everything).notes[1]


def test_the_model_is_only_read() -> None:
    model = Branches()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    find_input_sizes(model, "stem=5x5", hi=40, inputs=(1, 3, 32, 32))
    assert model.training
    assert not model.stem._forward_hooks
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_a_saved_profile_has_one_setting() -> None:
    for ask in (
        lambda: find_input_sizes("x.json", "a=1x1"),
        lambda: fit_to_budgets("x.json", over="batch", max_macs=9),
    ):
        with pytest.raises(UsageError, match="saved profile"):
            ask()


def test_strided_shortcuts_do_not_need_every_size() -> None:
    answer = find_input_sizes("resnet20_cifar", "layer3=8x8")
    assert sizes(answer) == [29, 30, 31, 32]


def test_an_unknown_path_offers_the_near_ones() -> None:
    with pytest.raises(UnknownName) as caught:
        find_input_sizes("conv3-4 relu", "conv2=3x3", inputs="3x8x8")
    assert caught.value.known == ["conv1", "relu1"]


def test_a_keyword_that_is_swallowed_is_no_setting(tmp_path: Path) -> None:
    file = tmp_path / "net.py"
    file.write_text(
        "from torch import nn\n"
        "def named(width=8, **kwargs):\n"
        "    return nn.Conv2d(3, width, 1, bias=False), '3x4x4'\n"
        "def deaf(**kwargs):\n"
        "    return nn.Conv2d(3, 8, 1, bias=False), '3x4x4'\n"
    )
    result = fit_to_budgets(f"{file}:named", over="width", max_params=60)
    assert result.found is not None
    assert result.found.label == "width=20"
    for over in ("width", "depth"):
        with pytest.raises(UsageError, match=r"changes nothing[\s\S]*resolution"):
            fit_to_budgets(f"{file}:deaf", over=over, max_params=60)


def test_a_share_that_is_not_0_is_not_shown_as_0() -> None:
    result = fit_to_budgets("conv1-1/nobias", inputs="1x8x8", max_macs=999_999)
    assert "over the budget of MACs by 1 (<0.1%)" in " ".join(tables.tabulate_fit(result).notes)
