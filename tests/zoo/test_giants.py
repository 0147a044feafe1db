"""Models far larger than the machine: less than 1.5 GB of memory, each in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

pytest.importorskip("transformers")
pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")

MOST_BYTES = 1.5e9

RUN = """
import json, pathlib, sys
import archprof
profile = archprof.profile(sys.argv[1], **json.loads(sys.argv[2]))
status = pathlib.Path("/proc/self/status").read_text()  # rusage would begin with what the parent took
peak = int(status.split("VmHWM:")[1].split()[0]) * 1024
totals = profile.totals
print(json.dumps([totals.params, totals.macs, totals.complete, profile.ran.device, peak]))
"""


def run(spec: str, **options: object) -> tuple[int, int]:
    """Parameters and MACs, within the limit of memory."""
    words = [sys.executable, "-c", RUN, spec, json.dumps(options)]
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    done = subprocess.run(words, capture_output=True, text=True, check=True, env=environment)
    params, macs, complete, device, peak = json.loads(done.stdout)
    assert complete
    assert device == "meta"
    assert peak < MOST_BYTES
    return params, macs


def test_llama_405b() -> None:
    h, ff, layers, kv, vocab, seq = 16384, 53248, 126, 8 * 128, 128256, 8192
    params, macs = run("hf:llama-3.1-405b", set={"seq": seq})
    weights = layers * (2 * h * h + 2 * h * kv + 3 * h * ff) + h * vocab
    assert params == weights + vocab * h + (2 * layers + 1) * h
    assert macs == seq * weights + layers * 2 * seq * seq * h


TRAIN = """
import json, pathlib, time
import archprof
answer = archprof.predict_memory("hf:llama-3.1-405b", train=True, optimizer="adamw", set={"seq": 8192})
answer.to_json()
status = pathlib.Path("/proc/self/status").read_text()
peak = int(status.split("VmHWM:")[1].split()[0]) * 1024
weights = sum(one.nbytes for one in answer.profile.storages if one.role == "parameter")
print(json.dumps([answer.prediction.peak.categories, weights, time.process_time(), peak]))
"""


@pytest.mark.slow
def test_a_training_step_of_llama_405b() -> None:
    """In bfloat16, AdamW keeps two numbers a weight; the whole takes ten seconds of one core and 2 GB at most."""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", TRAIN], capture_output=True, text=True, check=True)
    sizes, weights, seconds, peak = json.loads(done.stdout)
    assert weights == 2 * 405_853_388_800
    assert sizes["weights"] == weights
    assert 0 <= sizes["optimizer state"] - 2 * weights < 1e6
    assert seconds < 10
    assert peak < 2e9


@pytest.mark.slow
def test_llama_405b_decodes_against_its_longest_context() -> None:
    h, ff, layers, kv, vocab, context = 16384, 53248, 126, 8 * 128, 128256, 131072
    _, macs = run("hf:llama-3.1-405b", phase="decode", context=context)
    assert macs == layers * (2 * h * h + 2 * h * kv + 3 * h * ff) + h * vocab + layers * 2 * (context + 1) * h


def test_a_mixture_of_experts() -> None:
    h, ff, layers, kv, vocab, seq = 4096, 14336, 32, 8 * 128, 32000, 4096
    params, macs = run("hf:mixtral-8x7b", set={"seq": seq})
    used = layers * (2 * h * h + 2 * h * kv + 2 * 3 * h * ff + 8 * h) + h * vocab
    assert params == used + layers * 6 * 3 * h * ff + vocab * h + (2 * layers + 1) * h
    assert macs == seq * used + layers * 2 * seq * seq * h


@pytest.mark.slow
def test_671_billion_parameters_in_257_experts() -> None:
    params, _ = run("hf:deepseek-v3")
    assert params == 671_026_419_200 - 58 * 256  # without the corrections of the router, which are buffers
