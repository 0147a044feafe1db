"""Tables that tell many rows in a few: nothing is lost, equal siblings stand in one row, little fits in few rows."""

import re

import pytest
import torch
from torch import nn

import archprof
from archprof.analysis.counts import SUMS
from archprof.analysis.tables import layers
from archprof.analysis.tables.fold import MAX_SHOWN_ROWS
from archprof.analysis.view import ProfileView

MODELS = ("vgg16", "resnet152", "torchvision:swin_t", "torchvision:inception_v3", "torchvision:densenet121")
COLUMNS = ["kind", "output", "macs", "params", "act_fp32", "rf"]


def values(table, rows, key):
    at = [column.key for column in table.columns].index(key)
    return [row.cells[at] for row in rows if not row.subtotal]


class Blocks(nn.Module):
    """So many equal blocks, with a wider one among them."""

    def __init__(self, before: int = 12, after: int = 9) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            *(nn.Linear(8, 8) for _ in range(before)),
            nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 8)),
            *(nn.Linear(8, 8) for _ in range(after)),
        )
        self.tail = nn.Linear(8, 2)

    def forward(self, x):
        return self.tail(self.blocks(x))


@pytest.mark.parametrize("model", MODELS)
def test_folded_rows_are_few_and_add_up_to_every_total(model):
    table = archprof.profile(model).table(columns=COLUMNS)
    assert len(table.rows) > MAX_SHOWN_ROWS >= len(table.folded) >= 10
    for key in ("macs", "params", "act_fp32"):
        assert sum(values(table, table.folded, key)) == sum(values(table, table.rows, key))
    assert len(table.shown.to_text().splitlines()) <= len(table.folded) + 16
    assert len(table.unfolded().to_text().splitlines()) > len(table.rows)


def test_equal_siblings_are_one_row_with_their_sum():
    table = archprof.profile(Blocks(), torch.zeros(1, 8)).table(columns=["kind", "macs", "params"])
    told = {row.name: row.cells[1:] for row in table.folded}
    assert told["blocks.0-11 x 12"] == ("Linear", 12 * 64, 12 * 72)
    assert told["blocks.13-21 x 9"] == ("Linear", 9 * 64, 9 * 72)
    assert told["blocks.12.0"] == ("Linear", 8 * 16, 8 * 16 + 16)
    assert told["tail"] == ("Linear", 16, 18)


def test_siblings_that_differ_in_anything_stay_apart():
    net = nn.Sequential(*(nn.Linear(8, 8, bias=i != 7) for i in range(30)))
    names = [row.name for row in archprof.profile(net, torch.zeros(1, 8)).table().folded]
    assert names == ["0-6 x 7", "7", "8-29 x 22"]


def test_a_pattern_that_repeats_is_one_row():
    net = nn.Sequential(*(layer for _ in range(1500) for layer in (nn.Linear(8, 8), nn.ReLU())))
    (row,) = archprof.profile(net, torch.zeros(1, 8)).table(columns=["kind", "macs"]).folded
    assert (row.name, *row.cells[1:]) == ("0-2999 x 1500", "Linear, ReLU", 1500 * 64)


def test_what_stands_below_equal_blocks_is_summed_over_them():
    blocks = [nn.Sequential(nn.Linear(8, 32), nn.GELU(), nn.Linear(32, 8)) for _ in range(10)]
    table = archprof.profile(nn.Sequential(*blocks), torch.zeros(1, 8)).table(columns=["macs"])
    told = {row.short: (row.depth, row.subtotal, row.cells[1]) for row in table.folded}
    assert told["0-9 x 10"] == (0, True, 10 * 2 * 256)
    assert told["0"] == told["2"] == (1, False, 10 * 256)
    assert any("summed over them" in note for note in table.shown.notes)


def test_many_rows_that_are_all_different_end_in_one_for_the_others():
    net = nn.Sequential(*(nn.Linear(8 + i, 9 + i) for i in range(100)))
    table = archprof.profile(net, torch.zeros(1, 8)).table(columns=["macs"])
    assert len(table.folded) == MAX_SHOWN_ROWS
    assert table.folded[-1].name == "(76 other rows)"
    assert [row.name for row in table.folded[:-1]] == [str(i) for i in range(76, 100)]  # the largest, in their order


@pytest.mark.parametrize("by", ["op", "kind", "stage"])
def test_every_grouping_is_at_most_so_long(by):
    table = archprof.profile("torchvision:maxvit_t").table(by=by)
    assert len(table.shown.rows) <= MAX_SHOWN_ROWS
    assert sum(values(table, table.shown.rows, "macs")) == table.total.cells[table.names().index("macs")]


def test_a_flat_list_ends_in_the_others_and_keeps_its_order():
    profile = archprof.profile("resnet152")
    table, macs = profile.table(sort="macs", columns=["macs"]), sorted(profile.table().to_frame().macs)[::-1]
    assert [row.cells[1] for row in table.folded[:-1]] == macs[: MAX_SHOWN_ROWS - 1]
    assert re.fullmatch(r"\(\d+ other rows\)", table.folded[-1].name)


@pytest.mark.parametrize("options", [{"depth": 3}, {"top": 30}, {"all": True}])
def test_who_asks_for_more_gets_it(options):
    table = archprof.profile("resnet50").table(**options)
    assert not table.folded
    assert len(table.rows) > MAX_SHOWN_ROWS


def test_data_formats_have_every_row():
    table = archprof.profile("resnet152").table()
    assert len(table.to_csv().splitlines()) - 1 == len(table.records()) == len(table.to_frame()) > 500


@pytest.mark.parametrize("model", MODELS)
def test_the_outline_of_a_page_has_every_row_once_and_opens_with_few(model):
    view = ProfileView(archprof.profile(model))
    table = layers.outline_layers(view, COLUMNS)
    assert sorted(row.at for row in table.outline if row.at is not None) == list(range(len(table.rows)))
    assert 5 <= sum(not row.hidden for row in table.outline) <= MAX_SHOWN_ROWS
    for row in table.outline:
        if row.at is not None:
            assert row.row.cells == table.rows[row.at].cells
    for i, row in enumerate(table.outline):
        if row.times > 1:
            members = [one for one in table.outline[i + 1 :] if one.at is not None][: row.times]
            assert members[0].row.depth == row.row.depth + 1


def test_top_follows_the_first_number_asked_for():
    table = archprof.profile("resnet50").table(top=3, columns=["output", "params", "share_params"])
    params = sorted(archprof.profile("resnet50").table().to_frame().params)[::-1]
    assert [row.cells[2] for row in table.rows[:3]] == params[:3]


def test_stages_are_those_of_a_comparison():
    profile = archprof.profile("resnet50")
    compared = archprof.compare(profile, profile)
    assert [row.name for row in profile.table(by="stage").rows] == [row.name for row in compared.stages.rows]


def test_a_total_says_the_prefix_of_its_column():
    table = archprof.profile("torchvision:alexnet").table()
    scales = dict(zip((column.key for column in table.columns), table.scales(), strict=True))
    assert (scales["macs"].symbol, scales["params"].symbol) == ("M", "M")  # 714.2 M, 61.1 M
    assert {metric.key for metric in SUMS} >= {column.key for column in table.columns if column.unit == "count"}
