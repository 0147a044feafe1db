"""The process after passes that import torch's compiler: each in a process of its own, where it is not imported yet."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

IMPORTS = {
    "the compiler": "import torch._dynamo, torch._inductor.codecache as cache; cache.cache_dir(); y = self.l(x)",
    "attention by blocks": (
        "from torch.nn.attention.flex_attention import flex_attention; q = self.l(x)[None, None]; "
        "y = flex_attention(q, q, q)"
    ),
    "a filter of warnings": "import warnings; warnings.simplefilter('error'); y = self.l(x)",
}
CODE = """
import gc, os, sys, warnings, logging, torch, archprof

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.l = torch.nn.Linear(4, 4)
    def forward(self, x):
        {forward}
        return y

def look():
    return (dict(os.environ), warnings.filters[:], warnings.showwarning, torch.manual_seed, gc.get_freeze_count(),
            gc.get_threshold(), sys.excepthook, sys.unraisablehook, logging.root.handlers[:], sys.getrecursionlimit())

net, before = Net(), look()
for train in (False, True):
    archprof.profile(net, torch.randn(3, 4), train=train)
    assert look() == before, [pair for pair in zip(before, look()) if pair[0] != pair[1]]
assert 'torch._dynamo' in sys.modules or {plain}
compiled = torch.compile(lambda x: torch.manual_seed(3).initial_seed() + x, backend="eager")
assert compiled(torch.ones(1)) == 4
"""


@pytest.mark.parametrize("kind", IMPORTS)
def test_a_pass_leaves_the_process_as_it_was(kind: str) -> None:
    code = CODE.format(forward=IMPORTS[kind], plain=kind == "a filter of warnings")
    place = os.pathsep.join(filter(None, [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=200,
        env=os.environ | {"PYTHONPATH": place},
    )
    assert done.returncode == 0, done.stderr[-3000:]
