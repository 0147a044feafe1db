"""Models nested as deep as plain torch goes under Python's recursion limit. Oracle: torch itself, asked how deep."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import archprof
from archprof.errors import TraceError

pytestmark = pytest.mark.filterwarnings("ignore")

ROWS = torch.rand(3, 4, requires_grad=True)
LINE = 3 * 4 * 4
LIMIT, SMALL = sys.getrecursionlimit(), 512 * 1024


class Around(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x)


class Again(Around):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return checkpoint(self.inner, x, use_reentrant=False)


class OutOfSight(nn.Module):
    """Holds the next one in a list, which no table of modules tells of."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = [inner]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner[0](x)


class Valued(nn.Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) * x.sum().item()


def hooked(inner: nn.Module) -> nn.Module:
    made = nn.Sequential(inner)
    made.register_forward_hook(lambda module, args, result: result)
    return made


def nest(levels: int, wrap: Callable[[nn.Module], nn.Module] = nn.Sequential, leaf: Any = nn.Linear) -> nn.Module:
    made = leaf(4, 4, bias=False)
    for _ in range(levels):
        made = wrap(made)
    return made


def find_deepest(wrap: Callable[[nn.Module], nn.Module]) -> int:
    """How many levels plain torch's forward goes from here."""
    low, high = 1, sys.getrecursionlimit()
    while low < high:
        middle = (low + high + 1) // 2
        try:
            nest(middle, wrap)(ROWS)
            low = middle
        except RecursionError:
            high = middle - 1
    return low


@pytest.mark.parametrize("leaf", [nn.Linear, Valued])
@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("wrap", [nn.Sequential, Around, Again, OutOfSight, hooked])
def test_as_deep_as_plain_torch(wrap: Any, train: bool, leaf: Any) -> None:
    limit, levels = sys.getrecursionlimit(), find_deepest(wrap)
    assert levels > 90
    profile = archprof.profile(nest(levels, wrap, leaf), ROWS, train=train)
    assert sys.getrecursionlimit() == limit
    profile.check()
    assert (profile.totals.macs, profile.totals.complete) == (LINE, True)
    assert profile.ran.device == ("cpu" if leaf is Valued else "meta")


def test_what_calls_itself_for_ever_is_a_failure() -> None:
    limit, model = sys.getrecursionlimit(), OutOfSight(nn.Linear(4, 4))
    model.inner[0] = model
    with pytest.raises(TraceError, match="RecursionError"):
        archprof.profile(model, ROWS)
    assert sys.getrecursionlimit() == limit


def test_a_small_stack_is_not_filled_further() -> None:
    """Endless calls in a thread of 512 KiB would end the process, and do not by themselves."""
    found: list[int] = []
    before = threading.stack_size(SMALL)
    try:
        thread = threading.Thread(target=lambda: found.append(archprof.profile(Limit(), ROWS).totals.macs))
        thread.start()
        thread.join()
    finally:
        left = threading.stack_size(before)
    found.append(archprof.profile(Limit(), ROWS).totals.macs)
    assert (found, left) == ([0, 0], SMALL)


class Limit(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        is_main = threading.current_thread() is threading.main_thread()
        assert (sys.getrecursionlimit() > LIMIT) == is_main
        return x


@pytest.fixture(scope="module")
def very_deep() -> tuple[archprof.Profile, archprof.Profile]:
    """Deeper than Python's own limit: made by a user who raised it, and read by one who did not."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(8 * 1100)
    try:
        model = nest(1100)
        return archprof.profile(model, ROWS), archprof.profile(model, ROWS, train=True)
    finally:
        sys.setrecursionlimit(before)


def test_all_that_is_made_of_a_deep_profile(very_deep: Any, tmp_path: Path) -> None:
    for profile in very_deep:
        profile.save(tmp_path / "deep.json")
        loaded = archprof.load(tmp_path / "deep.json")
        loaded.check()
        assert loaded.totals == profile.totals
        for by in ("layer", "stage", "kind", "op"):
            assert "48" in str(loaded.table(by=by))
        table = loaded.table()
        assert all("48" in text for text in (table.to_markdown(), table.to_csv(), table.to_latex()))
        assert LINE in set(table.to_frame().stack())
        assert len(loaded.table(depth=700).rows) > 600
        assert str(archprof.compare(loaded, profile))
        archprof.report([loaded, profile], tmp_path / "deep.html")
        assert (tmp_path / "deep.html").stat().st_size > 10_000
