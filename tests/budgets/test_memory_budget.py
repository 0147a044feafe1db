"""A budget of predicted memory: an amount, a device or the smaller of both, and what is said where nobody can know."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

import archprof
from archprof import cli
from archprof.budgets.pyproject import SETTINGS_FILE
from archprof.budgets.verdict_words import describe_check
from archprof.cli.check import EXIT_BUDGET_BROKEN
from archprof.predicting.memory import CONTEXT_RANGE, LAZY_CONTEXT_BYTES, ROOM_SHARES
from archprof.predicting.memory_capacity import GIB
from archprof.render import ci

MIB = 1 << 20
RESERVED = 2 * 16 * MIB
"""A ReLU of 16 images of 1 MiB: what goes in and what comes out, each in a segment of its own."""

USED = LAZY_CONTEXT_BYTES + RESERVED
LOW, HIGH = (int(RESERVED * share) + context for share, context in zip(ROOM_SHARES, CONTEXT_RANGE, strict=True))


def check_relu(most: int | None = None, **options: object) -> archprof.budgets.verdicts.LimitCheck:
    limit = {} if most is None else {"max_memory": f"{most}B"}
    ((found,),) = [one.checks for one in archprof.check([nn.ReLU()], inputs="262144", batch=16, **limit, **options)]
    return found


@pytest.mark.parametrize(
    ("most", "passes", "close"),
    [
        (HIGH, True, False),
        (HIGH - 1, True, True),
        (USED, True, True),
        (USED - 1, False, True),
        (LOW, False, True),
        (LOW - 1, False, False),
    ],
)
def test_the_predicted_value_decides_and_the_interval_is_said(most: int, passes: bool, close: bool) -> None:
    found = check_relu(most)
    assert (found.value, found.low, found.high) == (USED, LOW, HIGH)
    assert (found.status == "ok", found.is_close) == (passes, close)
    assert ("too close to say" in describe_check(found)) == close


def test_the_interval_stands_in_every_form() -> None:
    (verdict,) = archprof.check([nn.ReLU()], inputs="262144", batch=16, max_memory=f"{USED}B")
    row = verdict.table.records()[0]
    assert row["verdict"] == "ok, too close to say"
    assert "memory: 532.00 MiB, limit 532.00 MiB inside its interval [0.32, 2.18] GiB: too close to say." in (
        verdict.table.notes
    )
    written = json.loads(ci.render_verdicts_json([verdict]))["verdicts"][0]["checks"][0]
    assert (written["value"], written["low"], written["high"], written["passes"]) == (USED, LOW, HIGH, True)
    assert ci.render_annotations([verdict]).startswith("::warning title=archprof%3A memory of ReLU")


def test_a_broken_budget_names_what_fills_it() -> None:
    found = check_relu(LOW - 1)
    assert dict(found.largest_layers) == {
        "context": LAZY_CONTEXT_BYTES,
        "inputs": 16 * MIB,
        "activations and temporaries": 16 * MIB,
    }


def test_a_device_is_its_memory_unless_less_is_allowed() -> None:
    assert check_relu(device="4090").limit.most == int(24 * GIB * 0.985)
    both = check_relu(2 * GIB, device="4090")
    assert (both.limit.most, both.limit.source) == (2 * GIB, f"max-memory {2 * GIB}B")
    more = check_relu(100 * GIB, device="4090")
    assert (more.limit.most, more.limit.source) == (int(24 * GIB * 0.985), "device 4090")


def test_the_workspaces_are_those_of_the_device() -> None:
    """cuBLAS has 32 MiB on a Hopper, and 8.125 MiB elsewhere, which take segments of their own."""
    used = [
        archprof.check([nn.Linear(8, 8)], inputs="8", device=name)[0].checks[0].value for name in ("h100", "a100-40")
    ]
    assert used[0] - used[1] == 32 * MIB - 20 * MIB


def test_training_with_its_optimizer_is_what_is_checked() -> None:
    """64 MiB of weights; with Adam's gradients, moments and temporaries five times as much, at least."""
    net = nn.Linear(4096, 4096, bias=False)
    options = [{}, {"train": True}, {"train": True, "optimizer": "adam"}]
    used = [archprof.check([net], inputs="4096", max_memory="1TiB", **one)[0].checks[0].value for one in options]
    plain, trained, stepped = (nbytes - LAZY_CONTEXT_BYTES for nbytes in used)
    assert stepped >= 5 * 64 * MIB > trained > 2 * 64 * MIB > plain


def test_unknown_ops_leave_the_most_unknown() -> None:
    class Strange(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.linalg.svd(x)[0]

    (verdict,) = archprof.check([Strange()], inputs="[4,4]", max_memory="1TiB")
    assert [one.status for one in verdict.broken] == ["unknown: lower bound"]
    assert archprof.check([Strange()], inputs="[4,4]", max_memory="1TiB", allow_incomplete=True)[0].ok


def test_the_command_and_pyproject(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["check", "lenet5", "--train", "--optimizer", "adamw", "--max-memory"]
    assert CliRunner().invoke(cli.app, [*words, "256MiB"]).exit_code == EXIT_BUDGET_BROKEN
    assert CliRunner().invoke(cli.app, [*words, "3GiB"]).exit_code == 0
    (tmp_path / SETTINGS_FILE).write_text(
        '[tool.archprof]\ndevice = "4090"\n[[tool.archprof.check]]\nmodel = "alexnet"\nbatch = 65536\n'
        'train = true\noptimizer = "sgd"\nset-to-none = false\n[[tool.archprof.check]]\nmodel = "lenet5"\n'
    )
    large, small = archprof.check()
    assert (large.ok, small.ok) == (False, True)
    assert large.checks[0].limit.source == "device 4090"


@pytest.mark.parametrize(
    ("device", "said"),
    [("h10", "Near it: .*H100"), ("EPYC 9654", "is not known"), ("a100", "names 4 devices")],
)
def test_devices_that_are_none(device: str, said: str) -> None:
    with pytest.raises(archprof.UsageError, match=said):
        check_relu(device=device)
