"""Functions of torch that check devices before any op, given what a forward makes on the CPU. Counts by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tracing.odd import LINE, ROWS, Runs, line

import archprof

CHECKED: dict[str, Any] = {
    "stft": lambda x: torch.stft(x.flatten(), 8, window=torch.hann_window(8), return_complex=True).abs(),
    "take_along_dim": lambda x: torch.take_along_dim(x, torch.zeros(3, 1, dtype=torch.int64), 1),
    "meshgrid": lambda x: torch.cartesian_prod(x[0], torch.ones(3)),
    "inner": lambda x: torch.inner(x, torch.ones(2, 4)),
    "multi_dot": lambda x: torch.linalg.multi_dot([x, torch.ones(4, 5), torch.ones(5, 6)]),
}
PRODUCTS = {"inner": 3 * 4 * 2, "multi_dot": 3 * 4 * 5 + 3 * 5 * 6}


@pytest.mark.parametrize("name", CHECKED)
def test_a_constant_made_in_forward(name: str) -> None:
    def run(self: Any, x: torch.Tensor) -> torch.Tensor:
        return CHECKED[name](self.layer(x))

    profile = archprof.profile(Runs(run, layer=line()), ROWS)
    profile.check()
    assert (profile.totals.macs, profile.totals.complete) == (LINE + PRODUCTS.get(name, 0), True)
    assert profile.calls[0].outputs[0].shape == tuple(CHECKED[name](torch.ones(3, 4)).shape)


def test_what_fails_on_any_device_fails() -> None:
    def run(self: Any, x: torch.Tensor) -> torch.Tensor:
        return torch.inner(self.layer(x), torch.ones(2, 5))

    with pytest.raises(archprof.TraceError, match="inner"):
        archprof.profile(Runs(run, layer=line()), ROWS)


def test_frequencies_are_known() -> None:
    """As an arange: nothing, by declaration."""

    def run(self: Any, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x) * torch.fft.fftfreq(4, device=x.device) + torch.fft.rfftfreq(6, device=x.device)

    totals = archprof.profile(Runs(run, layer=line()), ROWS).totals
    assert (totals.flops, totals.complete) == (2 * LINE + 12 + 12, True)
