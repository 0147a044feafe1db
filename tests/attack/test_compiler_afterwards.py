"""torch's exporter and compiler after passes in the same process: models with control flow run as before."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PASSES = {
    "training": "archprof.profile('lenet5', train=True, optimizer='adamw')",
    "checkpoints": "archprof.profile(Net(), x, train=True, optimizer='sgd')",
    "autocast": "archprof.profile(Net(), x, train=True, amp='bfloat16')",
    "a probe": "archprof.probe(Net(), data=[x])",
    "compiled": "archprof.profile(torch.compile(Net(), backend='eager'), x, train=True)",
    "a choice": "archprof.profile(Chooses(), x)",
}
PASSES["all"] = "; ".join(PASSES.values())

CODE = """
import sys, torch, archprof
from torch import nn
from torch.utils.checkpoint import checkpoint

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.l = nn.Linear(8, 8)
    def forward(self, x):
        return checkpoint(self.l, x, use_reentrant=False)

class Chooses(Net):
    def forward(self, x):
        return torch.cond(x.sum() > 0, lambda t: self.l(t), lambda t: t.clone(), (x,))

x = torch.rand(4, 8)
{passes}
from sources.test_exported_control_flow import CASES
from tracing.odd import Runs, line

for name, (run, x, _) in CASES.items():
    model = Runs(run, a=line(8, 8), b=line(8, 8), at=-1e9)
    wanted = model(x)
    for again in (torch.export.export(model, (x,)).module(), torch.compile(model, backend="eager")):
        torch.testing.assert_close(again(x), wanted)
"""


@pytest.mark.parametrize("kind", ["all", *(pytest.param(kind, marks=pytest.mark.slow) for kind in [*PASSES][:-1])])
def test_control_flow_is_exported_and_compiled(kind: str) -> None:
    """Each in a process of its own, in which the first pass may be what imports the compiler."""
    tests = Path(__file__).parents[1]
    place = os.pathsep.join(filter(None, [str(tests.parent), str(tests), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CODE.format(passes=PASSES[kind])],
        capture_output=True, text=True, timeout=300, env=os.environ | {"PYTHONPATH": place},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
