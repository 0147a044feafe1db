"""What a kernel refuses is said wherever memory or a time on a GPU is asked: by the 65,536th sequence of attention."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional
from typer.testing import CliRunner

import archprof
from archprof import cli
from archprof.budgets.verdict_words import describe_check
from archprof.cli.check import EXIT_BUDGET_BROKEN
from archprof.predicting.devices import Device, resolve_device
from archprof.predicting.size_limits import find_refusal
from archprof.render import ci
from archprof.sweeping.fit import fit_to_budgets

WHY = "aten.scaled_dot_product_attention has {size} sequences; its kernel on CUDA takes no more than 65,535."
SENTENCE = f"It does not run on CUDA: {WHY.format(size='65,536')}"

NET = """
import torch
from torch import nn
from torch.nn import functional

class Windows(nn.Module):
    def forward(self, x):
        return functional.scaled_dot_product_attention(*(x.half().reshape(-1, 1, 1, 8),) * 3)

class Windowed(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(8, 8)

    def forward(self, x):
        return Windows()(self.layer(x))
"""


class Windows(nn.Module):
    """64 sequences of one token an image."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.scaled_dot_product_attention(*(x.half().reshape(-1, 1, 1, 8),) * 3)


def check_windows(batch: int = 1024, **options: object) -> archprof.budgets.verdicts.Verdict:
    (verdict,) = archprof.check([Windows()], inputs="64x8", batch=batch, **options)
    return verdict


@pytest.mark.parametrize(
    "options", [{"max_memory": "1TiB"}, {"device": "h200"}, {"device": "h200", "max_latency": "1s"}]
)
def test_a_budget_of_memory_or_of_a_time_on_a_gpu_is_broken(options: dict[str, str]) -> None:
    assert check_windows(1023, **options).ok
    verdict = check_windows(**options)
    assert [(check.status, check.refusal, check.over) for check in verdict.checks] == [
        ("broken", SENTENCE, None) for _ in verdict.checks
    ]
    assert {row["verdict"] for row in verdict.table.records()} == {"does not run"}
    assert all(describe_check(check).endswith(f". {SENTENCE}") for check in verdict.checks)
    assert not check_windows(**options, allow_incomplete=True).ok


def test_what_no_gpu_does_is_not_asked_of_other_budgets() -> None:
    assert check_windows(max_params="1M", max_flops="1T").ok


def test_it_stands_in_every_form_of_a_verdict() -> None:
    verdict = check_windows(max_memory="1TiB")
    assert f"1.00 TiB. {SENTENCE}" in ci.render_annotations([verdict])
    assert SENTENCE in ci.render_junit([verdict])
    assert "does not run" in ci.render_step_summary([verdict])
    assert json.loads(ci.render_verdicts_json([verdict]))["verdicts"][0]["checks"][0]["refused"] == SENTENCE


def test_the_command(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(NET)
    words = ["check", f"{tmp_path}/net.py:Windows", "--input", "64x8", "--device", "h200", "--batch"]
    assert CliRunner().invoke(cli.app, [*words, "1023"]).exit_code == 0
    said = CliRunner().invoke(cli.app, [*words, "1024"])
    assert said.exit_code == EXIT_BUDGET_BROKEN
    assert SENTENCE in " ".join(said.output.split())


def test_a_predicted_time_says_it() -> None:
    few, many = (archprof.predict(Windows(), "64x8", device="h200", batch=batch) for batch in (1023, 1024))
    assert (few.predictions[0].refused, many.predictions[0].refused) == (False, True)
    assert SENTENCE in many.table().notes
    assert SENTENCE not in few.table().notes


def test_other_processors_have_other_kernels() -> None:
    profile = archprof.profile(Windows(), "64x8", batch=1024)
    assert find_refusal(profile, resolve_device("h200")) == find_refusal(profile)
    assert find_refusal(profile, resolve_device("EPYC 9654")) is None
    assert find_refusal(profile, Device("Tesla T4", "cuda", "", {})) is not None  # of a calibration
    assert not archprof.predict(Windows(), "64x8", device="EPYC 9654", batch=1024).predictions[0].refused


def test_a_budget_of_latency_alone_ends_before_it() -> None:
    fit = fit_to_budgets(Windows(), inputs="64x8", over="batch", device="h200", max_latency="10s")
    assert fit.found is not None
    assert fit.found.value == 1023


def test_no_mesh_runs_it(tmp_path: Path) -> None:
    """A mesh leaves the batch of each rank as it is; of two microbatches each has half the sequences."""
    (tmp_path / "net.py").write_text(NET)
    options = {"over": "mesh", "device": "h200", "gpus": 2, "train": True, "batch": 1024}
    rows = archprof.fit(f"{tmp_path}/net.py:Windowed", "64x8", **options).records()
    whole = [row for row in rows if row["mesh"] in ("dp=2", "fsdp=2")]
    assert [(row["fits"], row["reason"]) for row in whole] == [("no", WHY.format(size="65,536"))] * 2


def test_a_mesh_says_why(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(NET)
    answer = archprof.shard(f"{tmp_path}/net.py:Windowed", "64x8", mesh="dp=2", device="h200", train=True, batch=1024)
    assert "It does not run on the NVIDIA H200 SXM: aten.scaled" in " ".join(str(answer).split())


def test_a_sweep_has_no_time_for_it(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(NET)
    options = {"inputs": "64x8", "batch": "1023,1024", "jobs": 1}
    on_device = archprof.sweep(f"{tmp_path}/net.py:Windows", device="h200", **options)
    assert [*on_device["status"]] == ["ok", "does not run"]
    assert [*on_device["predicted_seconds"].isna()] == [False, True]
    assert on_device["why"][1] == SENTENCE.replace("CUDA", "the NVIDIA H200 SXM", 1)
    assert on_device["live_bytes"][1] > on_device["live_bytes"][0]
    counted = archprof.sweep(f"{tmp_path}/net.py:Windows", **options)
    assert [*counted["status"]] == ["ok", "ok"]
    assert counted["note"][1] == SENTENCE


def test_the_tile_of_a_report(tmp_path: Path) -> None:
    archprof.report(Windows(), tmp_path / "x.html", inputs="64x8", batch=1024, device="h200")
    page = (tmp_path / "x.html").read_text()
    assert "does not run on NVIDIA H200 SXM" in page
    assert SENTENCE in page
