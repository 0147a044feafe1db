"""Every statistic against numpy, on tensors that plain hooks caught in a pass of our own."""

from __future__ import annotations

import copy
import math
import weakref
from collections import Counter
from typing import Any

import nets
import numpy as np
import pytest
import torch
from torch import nn

import archprof
from archprof.facts.records import Profile
from archprof.probing.statistics import CallStatistics, measure_rank
from archprof.probing.watch import ActivationWatch

SEED = 5


def catch(net: nn.Module, given: torch.Tensor) -> dict[tuple[str, int], list[np.ndarray]]:
    """The floating tensors that each call returned, copied at once."""
    caught: dict[tuple[str, int], list[np.ndarray]] = {}
    numbers: Counter[str] = Counter()
    begun: dict[str, list[int]] = {}

    def enter(path: str) -> Any:
        def hook(*_: Any) -> None:
            begun.setdefault(path, []).append(numbers[path])
            numbers[path] += 1

        return hook

    def leave(path: str) -> Any:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            caught[path, begun[path].pop()] = [each.detach().clone().numpy() for each in flatten(output)]

        return hook

    net = copy.deepcopy(net).train()
    for path, module in net.named_modules():
        module.register_forward_pre_hook(enter(path))
        module.register_forward_hook(leave(path))
    torch.manual_seed(SEED)
    net(given)
    return caught


def flatten(output: Any) -> list[torch.Tensor]:
    if isinstance(output, torch.Tensor):
        return [output] if output.is_floating_point() else []
    if output is None:
        return []
    return [each for part in (output.values() if isinstance(output, dict) else output) for each in flatten(part)]


def probe(name: str) -> Profile:
    net, given, labels = nets.make(name)
    loss = None
    if name == "words":
        loss = lambda output, labels: nn.functional.cross_entropy(output["logits"], labels)  # noqa: E731
    return archprof.probe(net, data=[(given, labels)], seed=SEED, loss=loss)


@pytest.mark.parametrize("name", nets.NETS)
def test_every_number_is_that_of_numpy(name: str) -> None:
    net, given, _ = nets.make(name)
    caught, profile = catch(net, given), probe(name)
    assert profile.probe is not None
    profile.check()
    seen = {}
    for one in profile.probe.activations:
        call = profile.calls[one.key]
        seen[profile.modules[call.module].path, call.number] = one
    assert set(seen) == {key for key, tensors in caught.items() if tensors}
    modules = dict(net.named_modules())
    for (path, number), one in seen.items():
        check_row(one, caught[path, number], modules[path], nets.UNIT_AXIS.get(name, {}).get(path))


def check_row(one: Any, tensors: list[np.ndarray], module: nn.Module, axis: int | None) -> None:
    wide = np.concatenate([each.astype(np.float64).ravel() for each in tensors])
    finite = wide[np.isfinite(wide)]
    assert (one.elements, one.nonfinite) == (wide.size, wide.size - finite.size)
    assert one.zeros == (wide == 0).sum()
    if finite.size:
        assert (one.least, one.largest) == (finite.min(), finite.max())
        scale = np.abs(finite).max()
        assert one.mean == pytest.approx(finite.mean(), rel=1e-5, abs=1e-6 * scale)
        assert one.std == pytest.approx(finite.std(), rel=1e-5, abs=1e-6 * scale)
    first = tensors[0]
    axis = axis if axis is not None else 1 if first.ndim > 3 else first.ndim - 1
    dead = (first == 0).all(tuple(dim for dim in range(first.ndim) if dim != axis))
    assert (one.units, one.dead) == (dead.size, dead.sum())
    assert one.saturated == saturation(wide, module)
    check_rank(one, first)


def saturation(wide: np.ndarray, module: nn.Module) -> int | None:
    if isinstance(module, nn.Sigmoid):
        return int(((wide <= 0.01) | (wide >= 0.99)).sum())
    if isinstance(module, nn.Tanh):
        return int((np.abs(wide) >= 0.98).sum())
    if isinstance(module, nn.ReLU6):
        return int(((wide <= 0.06) | (wide >= 5.94)).sum())
    if isinstance(module, nn.Hardtanh):
        return int(((wide <= -0.1 + 0.003) | (wide >= 0.2 - 0.003)).sum())
    return None


def check_rank(one: Any, first: np.ndarray) -> None:
    matrix = first.reshape(len(first), -1).astype(np.float64)
    if not np.isfinite(matrix).all():
        assert one.rank is None
        return
    values = np.linalg.svd(matrix, compute_uv=False)
    assert one.rank == (values >= 0.01 * values[0]).sum()
    assert one.rank_limit == min(matrix.shape)


def test_the_nets_show_what_they_are_for() -> None:
    """A test of the test: each kind of value occurs."""
    rows = {name: probe(name).probe.activations for name in ("dead", "saturated", "not finite", "norm, in place")}
    assert max(one.dead for one in rows["dead"]) == 2
    assert max(one.saturated or 0 for one in rows["saturated"]) > 10
    assert max(one.nonfinite for one in rows["not finite"]) > 0
    assert max(one.zeros for one in rows["norm, in place"]) > 100


def test_a_layer_before_a_relu_in_place_is_not_that_relu() -> None:
    profile = probe("norm, in place")
    rows = {profile.modules[profile.calls[one.key].module].path: one for one in profile.probe.activations}
    assert rows["1"].zeros == 0 < rows["2"].zeros < rows["3"].zeros


def test_batches_are_merged() -> None:
    """Three batches of one another's mean and size, as numpy sees them at once."""
    parts = [torch.randn(4, 3) + shift for shift in (0, 100, -7)] + [torch.zeros(1, 3)]
    found = CallStatistics()
    for part in parts:
        found.add(part, 1, None)
    whole = torch.cat(parts).double().numpy()
    row = found.record(0)
    assert row.std == pytest.approx(whole.std(), rel=1e-6)
    assert row.mean == pytest.approx(whole.mean(), rel=1e-6)
    assert (row.zeros, row.dead, row.elements) == (3, 0, 39)


def test_large_means_do_not_swallow_the_spread() -> None:
    values = torch.randn(1000, 4).double() * 1e-3 + 1e6
    found = CallStatistics()
    found.add(values, 1, None)
    assert found.record(0).std == pytest.approx(values.numpy().std(), rel=1e-6)


@pytest.mark.parametrize("values", [torch.tensor([math.inf, math.nan]), torch.zeros(0, 4)])
def test_nothing_finite_has_no_mean(values: torch.Tensor) -> None:
    found = CallStatistics()
    found.add(values, None, None)
    row = found.record(0)
    assert (row.mean, row.std, row.least, row.largest) == (None,) * 4
    assert row.nonfinite == values.numel()


def test_rank_of_a_matrix_of_known_rank() -> None:
    """Three directions, one of them a thousandth as large as the others: two count."""
    basis = torch.linalg.qr(torch.randn(50, 3))[0].T * torch.tensor([[1.0], [0.5], [0.001]])
    assert measure_rank(torch.linalg.qr(torch.randn(20, 3))[0] @ basis) == (2, 20)
    assert measure_rank(torch.zeros(5, 9)) == (0, 5)
    assert measure_rank(torch.ones(100, 9000)) == (1, 64)


class Hidden(nn.Module):
    """Returns a tensor that may lie where that of its part was, after that was gone."""

    def __init__(self) -> None:
        super().__init__()
        self.part, self.same, self.written = nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 4)), Written()
        self.turn = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.part(x)
        y = y * 2
        y = y + 1
        y = y * 3
        return self.written(self.same(y))


class Written(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.part = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.part(x).add_(100)


def test_a_container_has_the_numbers_of_what_it_returns_itself() -> None:
    torch.manual_seed(0)
    net, given = Hidden(), torch.randn(500, 4)
    for _ in range(3):
        caught = catch(net, given)
        profile = archprof.probe(net, data=[(given, torch.zeros(500, dtype=torch.int64))], seed=SEED)
        found = {profile.modules[profile.calls[one.key].module].path: one for one in profile.probe.activations}
        for (path, _), tensors in caught.items():
            assert found[path].mean == pytest.approx(tensors[0].mean(dtype=np.float64), rel=1e-5), path
            assert found[path].largest == tensors[0].max(), path


def test_a_container_that_returns_now_this_now_that_has_no_row() -> None:
    class Turning(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.part, self.turn = nn.Linear(4, 3), 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.turn += 1
            y = self.part(x)
            return y if self.turn % 2 else y * 2

    batches = [(torch.randn(5, 4), torch.arange(5) % 3) for _ in range(2)]
    profile = archprof.probe(Turning(), data=batches, batches=2)
    found = {profile.modules[profile.calls[one.key].module].path: one for one in profile.probe.activations}
    assert found.keys() == {"part"}
    assert found["part"].elements == 2 * 15


def test_no_activation_is_kept() -> None:
    """Of a forward without a graph, every tensor is gone when the next but one layer has run."""
    made: list[weakref.ref[torch.Tensor]] = []
    alive: list[int] = []

    class Layer(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            alive.append(sum(each() is not None for each in made))
            made.append(weakref.ref(out := super().forward(x)))
            return out

    net = nn.Sequential(*(Layer(4, 4) for _ in range(10)))
    watch = ActivationWatch(net)
    with torch.no_grad(), watch.watching():
        net(torch.randn(5, 4))
    assert max(alive) <= 1
    assert sum(each() is not None for each in made) == 0
    assert len(watch.by_call) == 11
