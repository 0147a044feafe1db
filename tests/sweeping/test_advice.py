"""What would lower memory: every effect is that of the change itself, and some are known by hand."""

from __future__ import annotations

import json
from typing import Any

import pytest
from torch import nn
from typer.testing import CliRunner

import archprof
from archprof import cli
from archprof.predicting.checkpoint_choice import choose_blocks

MIB = 1 << 20


def make_sigmoids(blocks: int) -> nn.Module:
    """Blocks of 20 maps each of which is kept: with 1 Mi rows, 4 MiB a map."""
    made = [nn.Sequential(*[nn.Sigmoid() for _ in range(20)]) for _ in range(blocks)]
    return nn.Sequential(nn.Linear(1, 1, bias=False), nn.Sequential(*made))


def advise(model: Any, inputs: Any = None, **options: Any) -> dict[str, Any]:
    return {one.change: one for one in archprof.predict_memory(model, inputs, advise=True, **options).advice or ()}


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("resnet18", {"batch": 32, "train": True, "optimizer": "adamw(weight_decay=0.1)", "set_to_none": False}),
        ("alexnet", {"batch": 64}),
        ("lenet5", {"batch": 4096, "train": True, "optimizer": "sgd(momentum=0.9)", "amp": "bfloat16"}),
    ],
)
def test_each_effect_is_that_of_the_change_itself(model: str, options: dict[str, Any]) -> None:
    answer = archprof.predict_memory(model, advise=True, **options)
    assert answer.advice
    saved = [one.saved for one in answer.advice]
    assert saved == sorted(saved, reverse=True)
    for one in answer.advice:
        changed = archprof.predict_memory(model, **{**options, **one.options})
        peaks = changed.device_used_bytes, changed.allocated_peak_bytes, changed.live_peak_bytes
        assert (one.device_used, one.allocated, one.live) == peaks
        assert one.saved == answer.device_used_bytes.value - changed.device_used_bytes.value > 0


def test_the_words_are_those_of_the_command() -> None:
    """What is printed can be typed, and then gives what was said."""
    words = ["memory", "resnet18", "--batch", "32", "--train", "--optimizer", "adamw"]
    said = json.loads(CliRunner().invoke(cli.app, [*words, "--advise", "--format", "json"]).stdout)["advice"]
    assert len(said) > 3
    for one in said:
        name, value = one["change"].split(" ", 1)
        if "accumulate" in value:
            continue
        again = CliRunner().invoke(cli.app, [*words, name, value.strip("'"), "--format", "json"])
        assert json.loads(again.stdout)["device_used_bytes"] == one["device_used_bytes"]


def test_checkpoints_by_hand() -> None:
    """4 blocks keep 84 maps of 4 MiB, of which 28 are left when each runs again."""
    found = advise(make_sigmoids(4), (MIB, 1), train=True)
    best = found["--checkpoint '*.*'"]
    assert best.live.value // (4 * MIB) == 28
    assert best.more_flops is not None
    assert found["--amp bfloat16"].more_flops is None


def test_a_checkpoint_makes_a_forward_again() -> None:
    """The backward of a product is two products, but for the first, whose input needs none: 4 + 7, and 4 more."""
    net = nn.Sequential(*[nn.Sequential(nn.Linear(64, 64, bias=False), *[nn.Sigmoid()] * 3) for _ in range(4)])
    found = advise(net, (1 << 20, 64), train=True)["--checkpoint '*'"]
    assert found.more_flops == pytest.approx(4 / (4 + 7), rel=0.1)  # sigmoids have FLOPs, too


def test_temporaries_of_an_optimizer_by_hand() -> None:
    """Adam has four times the weights, 256 MiB, and their roots: all at once, or none if fused.

    One after the other there are a root, what it is divided into, and that of the weight before, which the loop holds.
    """
    net = nn.Sequential(*[nn.Linear(4096, 4096, bias=False) for _ in range(4)])
    found = advise(net, (1, 4096), train=True, optimizer="adam")
    assert found["--optimizer 'adam(fused=True)'"].saved == 256 * MIB
    assert found["--optimizer 'adam(fused=True)'"].live.value // MIB == 4 * 256
    assert found["--optimizer 'adam(foreach=False)'"].live.value // MIB == 4 * 256 + 3 * 64
    said = advise(net, (1, 4096), train=True, optimizer="adam(fused=True)")
    assert not any("optimizer" in words for words in said)


def test_gradients_that_are_dropped_by_hand() -> None:
    """While a later pass goes back, gradients of 256 MiB are there that are made again, or they are not."""
    net = nn.Sequential(*[nn.Linear(4096, 4096, bias=False) for _ in range(4)])
    found = advise(net, (1, 4096), train=True, optimizer="sgd", set_to_none=False)
    assert found["--set-to-none"].live.value // MIB == 2 * 256


def test_half_the_batch_by_hand() -> None:
    found = advise(nn.ReLU(), "1048576", batch=64)
    assert found["--batch 32"].saved == 32 * 2 * 4 * MIB
    assert [*found] == ["--batch 32"]  # without weights the dtype is that of the input


def test_exact_inputs_have_no_batch_to_halve() -> None:
    assert not any("--batch" in words for words in advise(nn.ReLU(), (64, MIB)))


def test_it_is_asked_for_and_not_of_a_saved_profile(tmp_path: Any) -> None:
    assert archprof.predict_memory("lenet5").advice is None
    assert "What would lower it" not in str(archprof.predict_memory("lenet5"))
    archprof.profile("lenet5").save(tmp_path / "a.json")
    with pytest.raises(archprof.UsageError, match="saved profile"):
        archprof.predict_memory(str(tmp_path / "a.json"), advise=True)


def test_a_device_says_whether_it_then_fits() -> None:
    answer = archprof.predict_memory("alexnet", batch=16384, train=True, device="t4", advise=True)
    assert answer.verdict is not None
    assert answer.verdict.word == "does not fit"
    words = {row["change"]: row["verdict"] for row in answer.table().records()}
    assert set(words.values()) <= {"fits", "does not fit", "too close to say"}
    assert words["--batch 8192"] == archprof.predict_memory("alexnet", batch=8192, train=True, device="t4").verdict.word


def test_blocks_that_are_alike_go_together() -> None:
    profile = archprof.profile("resnet50", batch=16, train=True)
    assert "layer?.*" in choose_blocks(profile)
    assert choose_blocks(archprof.profile("resnet50", batch=16)) == []
