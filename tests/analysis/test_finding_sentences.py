"""Every sentence of a page is computed again from the JSON of its profile; one that no pattern knows fails."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import torch
from torch import nn

import archprof
from archprof.analysis.report.page import build_report

P = r"(over \d+%|under \d+%|\d+%|none|no)"
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down, self.pool = nn.Conv2d(3, 8, 3, padding=1), nn.MaxPool2d(2)
        self.mid = nn.Sequential(nn.Conv2d(8, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 8, 3, padding=1))
        self.up, self.out = nn.Upsample(scale_factor=2), nn.Conv2d(16, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.down(x)
        return self.out(torch.cat([x, self.up(self.mid(self.pool(x)))], 1))


def deep() -> nn.Module:
    return nn.Sequential(*(nn.Sequential(nn.Linear(16, 16), nn.ReLU()) for _ in range(1000)))


MODELS: dict[str, Any] = {
    **{name: (name,) for name in ("lenet5", "alexnet", "vgg16", "resnet152")},
    **{
        name: (f"torchvision:{name}",)
        for name in ("swin_t", "vit_b_16", "efficientnet_b0", "convnext_tiny", "inception_v3")
    },
    "fasterrcnn": ("torchvision:fasterrcnn_resnet50_fpn",),
    "unet": (UNet, (1, 3, 32, 32)),
    "deep": (deep, (1, 16)),
    "one op": (nn.ReLU, (1, 4)),
}


class Facts:
    """A profile as JSON, read here by its columns and nothing else."""

    def __init__(self, document: str) -> None:
        self.json = json.loads(document)
        self.layers, self.totals = self.json["layers"], self.json["totals"]

    def inside(self, path: str) -> list[dict[str, Any]]:
        return [layer for layer in self.layers if layer["path"] == path or layer["path"].startswith(f"{path}.")]

    def share(self, layers: list[dict[str, Any]], key: str) -> str:
        if key == "activations":
            part = sum(layer["activation_bytes"]["float32"] for layer in layers)
            return percent(part, self.totals["activation_bytes"]["float32"])
        return percent(sum(layer[key] for layer in layers), self.totals[key])

    def named(self, rows: tuple[str, ...]) -> list[dict[str, Any]]:
        """The layers of rows of the table, by path and number of the call."""
        found = []
        for row in rows:
            path, _, call = row.removesuffix(" (own)").removeprefix("(model)").partition(" #")
            number = int(call or 1) - 1
            found.append(next(one for one in self.layers if one["path"] == path and (one["call"] or 0) == number))
        return found


def percent(part: float, whole: float) -> str:
    share = part / whole
    if not part:
        return "none"
    return "under 1%" if share < 0.01 else "over 99%" if 0.99 < share < 1 else f"{share:.0%}"


def check_heavy(facts: Facts, rows: tuple[str, ...], part: str, macs: str, params: str, made: str) -> None:
    inside = facts.inside(part)
    assert [facts.share(inside, key) for key in ("macs", "params", "activations")] == [macs, params, made]
    assert int(re.sub(r"\D", "", macs)) >= 50


def check_holder(facts: Facts, rows: tuple[str, ...], part: str, params: str, macs: str) -> None:
    inside = facts.inside(part)
    assert [facts.share(inside, key) for key in ("params", "macs")] == [params, macs]


def check_equal(facts: Facts, rows: tuple[str, ...], count: str, kind: str, macs: str, each: str, params: str) -> None:
    blocks = [facts.inside(row) for row in rows]
    assert len(rows) == int(count.replace(",", "")) if count[0].isdigit() else NUMBERS.index(count.lower())
    assert {block[0]["kind"] for block in blocks} == {kind}
    assert len({sum(layer["macs"] for layer in block) for block in blocks}) == 1
    together = [layer for block in blocks for layer in block]
    assert [facts.share(together, key) for key in ("macs", "params")] == [macs, params]


def check_hot(facts: Facts, rows: tuple[str, ...], share: str, few: str, many: str) -> None:
    spent = sorted((layer["macs"] for layer in facts.layers if layer["macs"]), reverse=True)
    named = [layer["macs"] for layer in facts.named(rows)]
    assert sorted(named, reverse=True) == spent[: len(rows)]
    assert share.lower() == percent(sum(named), facts.totals["macs"])
    assert many in (f"{len(spent):,}", NUMBERS[len(spent)] if len(spent) < 10 else "")
    assert 4 * len(rows) <= len(spent)


def check_only(facts: Facts, rows: tuple[str, ...], where: str) -> None:
    assert sum(layer["macs"] > 0 for layer in facts.layers) == 1


def check_early(facts: Facts, rows: tuple[str, ...], share: str, params: str) -> None:
    assert facts.share(facts.named(rows), "activations") == share.lower()


def check_unread(facts: Facts, rows: tuple[str, ...], count: str, share: str) -> None:
    named = facts.named(rows)
    assert facts.share(named, "params") == share
    assert all(not layer["macs"] and not layer["flops"] for layer in named)


def check_moved(facts: Facts, rows: tuple[str, ...], share: str, flops: str) -> None:
    assert facts.share(facts.named(rows), "flops") == flops
    assert int(re.sub(r"\D", "", share)) >= 70


def check_absent(facts: Facts, rows: tuple[str, ...], what: str) -> None:
    key = {"parameters": "params", "MACs": "macs"}[what]
    assert facts.totals[key] == 0


SENTENCES = {
    rf"(.+) spends {P} of the MACs of .+, holds {P} of its parameters and makes {P} of its activations"
    r"(?:, in its \d+ \w+ blocks)?\.": check_heavy,
    rf"(.+) holds {P} of the parameters of .+ and spends {P} of its MACs\.": check_holder,
    rf"(\S+) equal (\w+) blocks spend {P} of the MACs of .+, ([\d.,]+ ?\w?) each, and hold {P} of its parameters\.":
        check_equal,
    rf"(?i:{P}) of the MACs of .+ are spent in (\w+) of its ([\d,]+|\w+) layers with MACs\.": check_hot,
    r"All MACs of .+ are spent in (.+)\.": check_only,
    rf"(?i:{P}) of the activation memory of .+ is made .+, by layers with(?:out)? (?:{P} of the )?parameters\.":
        check_early,
    rf"([\d.,]+(?: \w)?) parameters of .+, {P} of all, are weights of .+ that no op of this pass reads\.": check_unread,
    rf"{P} of the bytes that .+ moves are moved by layers with {P} of its FLOPs, which compute under 10 a byte\.":
        check_moved,
    r".+ has no (parameters)\.": check_absent,
    r".+ multiplies no matrices and convolves nothing: it has no (MACs)\.": check_absent,
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_every_sentence_is_so(name: str) -> None:
    model, *inputs = MODELS[name]
    profile = archprof.profile(model if isinstance(model, str) else model(), *inputs)
    facts, page = Facts(profile.to_json()), build_report([profile]).models[0]
    assert len(page.findings) <= 4
    listed = {row.name for row in page.table.rows}
    for finding in page.findings:
        assert set(finding.rows) <= listed
        assert "never called" not in finding.text
        tried = [(check, re.fullmatch(pattern, finding.text)) for pattern, check in SENTENCES.items()]
        check, found = next((pair for pair in tried if pair[1]), (None, None))
        assert found, finding.text
        check(facts, finding.rows, *found.groups())


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("vgg16", "classifier holds 89% of the parameters of vgg16 and spends under 1% of its MACs."),
        ("resnet152", "layer3 spends 70% of the MACs of resnet152, holds 67% of its parameters and makes 49% of its"),
        ("torchvision:vit_b_16", "12 equal EncoderBlock blocks spend over 99% of the MACs"),
    ],
)
def test_the_first_sentence_says_what_deviates(model: str, words: str) -> None:
    assert build_report([archprof.profile(model)]).models[0].findings[0].text.startswith(words)


@pytest.mark.parametrize("model", ["torchvision:swin_t", "torchvision:vit_b_16", "torchvision:convnext_tiny"])
def test_weights_that_get_gradients_are_not_said_to_be_unread(model: str) -> None:
    said = " ".join(finding.text for finding in build_report([archprof.profile(model)]).models[0].findings)
    assert "no op" not in said
    assert "never" not in said


def test_spread_evenly_over_everything_is_no_finding() -> None:
    net = nn.Sequential(*(nn.Linear(16 + i % 2, 16 + (i + 1) % 2) for i in range(60)))
    said = [finding.text for finding in build_report([archprof.profile(net, (1, 16))]).models[0].findings]
    assert not any("of its 60 layers" in text for text in said)


def test_a_tied_embedding_is_not_said_to_spend_nothing() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.wte, self.body = nn.Embedding(1000, 32), nn.Sequential(*(nn.Linear(32, 32) for _ in range(4)))
            self.head = nn.Linear(32, 1000, bias=False)
            self.head.weight = self.wte.weight

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            return self.head(self.body(self.wte(ids)))

    said = [one.text for one in build_report([archprof.profile(Tied(), "int64[1,8]<1000")]).models[0].findings]
    assert not any("wte" in text for text in said)
