"""Two versions of one model: what changed, in signs that read forwards, with every cause and nothing left over."""

from __future__ import annotations

import dataclasses
import json

import builders
import pytest
import torch
from torch import nn

import archprof
from archprof.analysis.compare.comparison import compare


class Blocks(nn.Module):
    """Blocks of two convolutions on 8x8, and a head."""

    def __init__(self, blocks: int = 6, groups: int = 1, width: int = 16, gate: bool = False) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, padding=1, bias=False)
        self.layer = nn.Sequential(
            *(nn.Sequential(nn.Conv2d(width, width, 3, padding=1, bias=False), nn.ReLU()) for _ in range(blocks))
        )
        self.mix = nn.Conv2d(width, width, 3, padding=1, groups=groups, bias=False)
        if gate:
            self.gate = nn.Conv2d(width, width, 1, bias=False)
        self.head = nn.Linear(width, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.mix(self.layer(self.stem(x)))
        if hasattr(self, "gate"):
            x = x * self.gate(x).sigmoid()
        return self.head(x.mean((2, 3)))


BLOCK = 16 * 16 * 9 * 64
"""MACs of one 3x3 convolution, 16 to 16 channels on 8x8."""


def traced(**options):
    return dataclasses.replace(archprof.profile(Blocks(**options), (1, 3, 8, 8)), model="net.py:Net")


def texts(*profiles):
    return [finding.text for finding in compare(profiles).findings]


def test_blocks_and_groups_by_hand():
    """Two blocks less are 2 x 147,456 MACs; a quarter of the weights in groups is three quarters less."""
    before, after = traced(), traced(blocks=4, groups=4)
    whole, saved = before.totals.macs, 2 * BLOCK + BLOCK * 3 // 4
    assert before.totals.macs - after.totals.macs == saved
    said = texts(before, after)[0]
    assert said.startswith(f"-{saved / whole:.1%} MACs (")
    assert said.endswith(f": layer 6 to 4 blocks (-{2 * BLOCK:,}), mix groups 1 to 4 (-{BLOCK * 3 // 4:,}).")
    assert texts(after, before)[0].startswith(f"+{saved / (whole - saved):.1%} MACs (")


def test_the_changes_are_the_whole_difference():
    before, after = traced(), traced(blocks=9, groups=2, gate=True)
    table = compare([before, after]).changes
    rows = table.records()
    assert {row["part"]: row["what"] for row in rows} == {
        "layer": "6 to 9 blocks", "mix": "groups 1 to 2", "gate": "added", "(what stays)": None,
    }  # fmt: skip
    for key in ("macs", "params"):
        for letter, profile in (("a", before), ("b", after)):
            assert sum(row[f"{key}_{letter}"] for row in rows) == getattr(profile.totals, key)
        change = getattr(after.totals, key) - getattr(before.totals, key)
        assert sum(row[f"{key}_change"] for row in rows) == change == table.record(table.total)[f"{key}_change"]


def test_a_wider_net_says_how_much_wider():
    said = texts(traced(), traced(width=24))
    assert "outputs 16 to 24" in said[0]
    assert said[2] == "Everything grows: MACs, parameters and activations."


def test_nothing_changed_is_said():
    assert texts(traced(), traced()) == ["Nothing changed: net.py:Net (A) and net.py:Net (B) cost the same."]


def test_lower_bounds_are_not_subtracted():
    said = texts(builders.stopped(), builders.profile())
    assert "lower bounds" in said[0]
    assert not any("% MACs" in text or "Nothing" in text for text in said)


@pytest.mark.parametrize(
    ("a", "b", "versions"),
    [
        ("net.py:Net@HEAD~1", "net.py:Net", True),
        ("resnet50", "resnet50(num_classes=10)", True),
        ("vgg16", "vgg16 rewritten", True),
        ("net.py:Net", "net.py:Other", False),
        ("vgg11", "vgg13", False),
    ],
)
def test_versions_are_told_by_their_names(a, b, versions):
    pair = [dataclasses.replace(traced(blocks=blocks), model=name) for blocks, name in ((6, a), (5, b))]
    assert (compare(pair).changes is not None) is versions


def test_what_shares_no_path_is_no_version():
    one, other = nn.Sequential(nn.Linear(4, 4)), nn.Sequential()
    other.add_module("x", nn.Linear(4, 4))
    other.add_module("y", nn.Linear(4, 4))
    pair = [archprof.profile(net, (1, 4)) for net in (one, other)]
    assert compare(pair).changes is not None  # the model itself is half of the smaller one
    wide = nn.Sequential(*(nn.Linear(4, 4) for _ in range(4)))
    named = nn.Sequential()
    for name in "abcd":
        named.add_module(name, nn.Linear(4, 4))
    assert compare([archprof.profile(net, (1, 4)) for net in (wide, named)]).changes is None


def test_many_equal_changes_are_one_row_and_one_clause():
    done = archprof.whatif("resnet152", separable=True)
    compared = archprof.compare(done.before, done.after)
    assert len(compared.changes.shown.rows) <= 25 < len(compared.changes.rows)
    saved = done.before.totals.macs - done.after.totals.macs
    assert f"layers Conv2d to Sequential (-{saved / 1e9:.2f} G)" in compared.findings[0].text
    at = compared.changes.names().index("macs_change")
    assert sum(row.cells[at] for row in compared.changes.folded) == -saved


def test_markdown_is_a_comment_of_a_pull_request():
    text = archprof.compare(traced(), traced(blocks=4)).to_markdown()
    lines = text.splitlines()
    assert lines[0] == "### net.py:Net (A) to net.py:Net (B)"
    assert lines[2].startswith("* -")
    assert "| layer " in text
    assert "| stem " not in text


def test_the_json_holds_the_changes():
    document = json.loads(archprof.compare(traced(), traced(blocks=4)).to_json())
    assert document["changes"]["rows"][0]["part"] == "layer"
    assert "changes" not in json.loads(archprof.compare("lenet5", "alexnet").to_json())


# A contest


def test_who_is_better_in_macs_parameters_and_error_dominates():
    """torchvision's published figures: 138.36 M, 15.47 G, 9.618 % against 25.56 M, 4.09 G, 7.138 %."""
    compared = archprof.compare("alexnet", "vgg16", "resnet50")
    text = (
        "resnet50 dominates vgg16: 3.78x fewer MACs, 5.41x fewer parameters, 2.48 points less top-5 error, "
        "though its activations take 1.48x the memory."
    )
    assert text in [finding.text for finding in compared.findings]
    marked = [record["dominated"] for record in compared.summary.records()]
    assert marked == [None, "C", None]
    assert "dominated" not in archprof.compare("vgg11", "vgg13").summary.names()


def test_an_error_stays_at_80_columns():
    text = archprof.compare("alexnet", "vgg16", "resnet50").summary.to_text(80)
    assert "Top-5 err %" in text.partition("Too narrow")[0]
    assert "Top-5" not in text.partition("Too narrow")[2]


def test_tokens_and_pixels_are_not_subtracted():
    tokens = archprof.profile(nn.Sequential(nn.Embedding(100, 8), nn.Linear(8, 8)), "int64[1,16]<100")
    compared = archprof.compare("lenet5", tokens)
    assert compared.stages.rows == ()
    assert compared.parts is None
    said = " ".join(finding.text for finding in compared.findings)
    assert "Pixels and tokens are not set beside each other." in said
    assert "length" not in said.replace("int64", "")
    assert len(compared.findings[0].text.split()) < 40
