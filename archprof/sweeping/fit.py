"""The largest setting of a model inside its budgets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

from archprof import units
from archprof.errors import ArchprofError, UnknownName, UsageError
from archprof.facts.predicted import Seconds
from archprof.facts.request import PLAIN_PASS, PassRequest
from archprof.facts.sums import Totals
from archprof.predicting.devices import Device, resolve_device
from archprof.predicting.memory import predict_memory
from archprof.predicting.memory_capacity import find_capacity
from archprof.predicting.memory_room import PRECISION
from archprof.predicting.runs import choose_one_device, predict_pass, validate_device
from archprof.predicting.size_limits import find_refusal
from archprof.predicting.workspaces import choose_workspaces
from archprof.sweeping.axes import SWEEP_AXES, SweepAxis, find_axis
from archprof.sweeping.resizable_model import Attempt

LOOKED_ABOVE = 0.25
"""How many more settings are tried where memory may fall above the answer, as a share of those tried until then."""

JUMPS = (2, 3, 5, 8, 13, 21, 34)
"""By how much they are larger than the largest so far."""

MAX_STEPS_ABOVE = 64
"""How far above the answer to look for the next setting that runs."""


@dataclass(frozen=True, slots=True)
class FitStep:
    """One setting and what it costs.

    Attributes:
        value: its number; a width multiplier in hundredths.
        label: how it is written: "224x224", "batch 64", "width_mult=1.25".
        costs: by the key of the budget: params, macs, flops, activation (bytes in the dtype of the pass), memory and
            latency (seconds; both predicted, of the device, where there is such a budget); `None` where the model could
            not be built. Lower bounds where there is a problem or not all was counted.
        complete: they are exact.
        problem: why the model does not run so.
        latency: with its interval, where there is a budget of it.
        refused: the problem is that no GPU takes its sizes, nor larger ones.
        bounds: the costs that are lower bounds, since not all was counted.
    """

    value: int
    label: str
    costs: dict[str, float] | None
    complete: bool
    problem: str | None
    latency: Seconds | None = None
    refused: bool = False
    bounds: frozenset[str] = frozenset()

    def find_overruns(self, budgets: dict[str, float]) -> dict[str, float]:
        """By how much each budget that breaks is broken."""
        costs = self.costs or {}
        return {key: costs[key] - limit for key, limit in budgets.items() if key in costs and costs[key] > limit}


@dataclass(frozen=True, slots=True)
class Fit:
    """The answer.

    Attributes:
        model: as it was asked for.
        over: what was searched over.
        budgets: the limits by key, in base units.
        dtype: of the pass, in which activation memory is given.
        found: the largest setting that runs and breaks no budget; `None` if there is none.
        above: the next larger setting that runs, or else the next larger; `None` where the search ended.
        below: the next smaller one.
        smallest: the smallest setting that runs, where none fits.
        tried: how many settings were traced.
        device: on which latency is predicted; "" where there is no budget of it.
        larger: how many larger settings were tried, where memory is what lacks, and was seen not to grow evenly.
        gap: the largest smaller setting that was tried and has not the memory.
    """

    model: str
    over: str
    budgets: dict[str, float]
    dtype: str
    found: FitStep | None
    above: FitStep | None
    below: FitStep | None
    smallest: FitStep | None
    tried: int
    device: str = ""
    larger: int | None = None
    gap: FitStep | None = None


def fit_to_budgets(
    model: Any,
    *,
    over: str = "resolution",
    max_params: int | str | None = None,
    max_macs: int | str | None = None,
    max_flops: int | str | None = None,
    max_activation: int | str | None = None,
    max_memory: int | str | None = None,
    max_latency: float | str | None = None,
    device: str | None = None,
    inputs: Any = None,
    request: PassRequest = PLAIN_PASS,
) -> Fit:
    """Find the largest setting of a model that breaks no budget.

    The search relies on costs that never fall as the setting grows, and looks whether they do so at every setting it
    tried; where they fall, it tries all. Settings at which the forward fails do not count.

    Args:
        model, inputs: as for `archprof.profile`.
        over: "resolution" (input height = width, in steps of 1), "batch", "seq" (of a transformers model), "width" or
            "depth" (a keyword of the factory; depth of a block spec is the number behind its only repetition).
        max_params, max_macs, max_flops: counts of one forward, such as 25_000_000 or "25M".
        max_activation: bytes, in the dtype of the pass, or a text such as "60MiB".
        max_memory: bytes of a GPU in which the pass must go through, as predicted.
        max_latency: seconds that the pass should take on the device, by the middle of what is predicted, or "5ms".
        device: in the catalogue; no more than its memory, and no more than `max_memory` where both are given.

    Raises:
        UsageError: there is no budget, or the model has no such setting.
    """
    chosen = _choose_device(device, max_latency)
    counts = {"params": max_params, "macs": max_macs, "flops": max_flops, "activation": max_activation}
    memory = _find_memory_budget(max_memory, chosen, predicts=max_latency is not None)
    budgets = _read_budgets({**counts, "memory": memory, "latency": max_latency})
    if over not in SWEEP_AXES:
        raise UnknownName("setting", over, SWEEP_AXES)
    axis = find_axis(over, model, inputs, request)
    tried: list[Attempt] = []

    def try_at(n: int) -> FitStep:
        tried.append(axis.trace_at(n))
        return _make_step(n, axis.label_step(n), tried[-1], budgets, chosen)

    search = _FitSearch(axis, cache(try_at), budgets)
    found, above, below, smallest = search.search()
    profile = next((attempt.profile for attempt in tried if attempt.profile), None)
    if profile is None:
        raise ArchprofError(f"No {over} could be built: {tried[0].problem}")
    name = model if isinstance(model, str) else profile.model
    predicted_on = chosen.name if chosen and "latency" in budgets else ""
    larger, gap = search.describe_edge(found)
    return Fit(name, over, budgets, profile.dtype, found, above, below, smallest, len(tried), predicted_on, larger, gap)


def _choose_device(name: str | None, max_latency: float | str | None) -> Device | None:
    """The device of that name; one whose memory alone counts must be named without doubt."""
    if max_latency is None:
        return None if name is None else resolve_device(name)
    if name is None:
        raise UsageError("A latency is predicted on a device, and none was named.", "", "Add: --device t4")
    validate_device(name)
    return choose_one_device(name).device


def _find_memory_budget(max_memory: int | str | None, device: Device | None, *, predicts: bool) -> float | str | None:
    """The amount that was given, or the device's, or of both the smaller.

    A device that times are predicted on need not be known to have any.
    """
    if device is None or (predicts and "mem_gb" not in device.figures):
        return max_memory
    capacity = find_capacity(device)
    return capacity if max_memory is None else min(capacity, _read_budget("memory", max_memory))


def _read_budgets(limits: Mapping[str, float | str | None]) -> dict[str, float]:
    """Those that were given, in base units; `UsageError` where there are none, or one allows nothing."""
    budgets = {key: _read_budget(key, limit) for key, limit in limits.items() if limit is not None}
    if not budgets or not all(limit > 0 if key == "latency" else limit >= 1 for key, limit in budgets.items()):
        raise UsageError("There is no budget to fit into.", "Of params, macs, flops, activation, memory: 1 or more.")
    return budgets


def _read_budget(key: str, limit: float | str) -> float:
    if not isinstance(limit, str):
        return limit
    if key == "latency":
        return units.parse_seconds(limit)
    return units.parse_bytes(limit) if key in ("activation", "memory") else units.parse_count(limit)


def _make_step(value: int, label: str, tried: Attempt, budgets: Mapping[str, float], device: Device | None) -> FitStep:
    if tried.profile is None:
        return FitStep(value, label, None, False, tried.problem)
    totals = tried.profile.totals
    costs: dict[str, float] = {"params": totals.params, "macs": totals.macs, "flops": totals.flops}
    costs["activation"] = totals.activation_bytes[tried.profile.dtype]
    if "memory" in budgets:
        workspaces = choose_workspaces(device and device.name)
        costs["memory"] = predict_memory(tried.profile, workspaces).find_needed(int(budgets["memory"])).value
    refusal = find_refusal(tried.profile, device) if budgets.keys() & {"memory", "latency"} else None
    if refusal is not None:
        return FitStep(value, label, costs, totals.complete, str(refusal), None, True, _list_bounds(totals))
    latency = predict_pass(tried.profile, device).whole if device is not None and "latency" in budgets else None
    if latency is not None:
        costs["latency"] = latency.p50
    return FitStep(value, label, costs, totals.complete, tried.problem, latency, False, _list_bounds(totals))


def _list_bounds(totals: Totals) -> frozenset[str]:
    """The keys of budgets whose cost is a lower bound; what is predicted is where anything is."""
    bounds: set[str] = {key for key in ("params", "macs", "flops") if key in totals.lower_bounds}
    if "activation_bytes" in totals.lower_bounds:
        bounds.add("activation")
    return frozenset(bounds if totals.complete else bounds | {"memory", "latency"})


class _FitSearch:
    """The steps of an axis from 1 to its last, each tried by `try_at` when it is asked for."""

    def __init__(self, axis: SweepAxis, try_at: Callable[[int], FitStep], budgets: dict[str, float]) -> None:
        self.surely_fails, self.last_step = axis.surely_fails, axis.last_step
        self.try_at, self.budgets = try_at, budgets
        self.tried_steps: dict[int, FitStep] = {}

    def search(self) -> tuple[FitStep | None, FitStep | None, FitStep | None, FitStep | None]:
        """(found, above, below, smallest) as in `Fit`."""
        top = self._find_top()
        for beyond in (2 * top or 2, 4 * top or 4):  # do costs fall there?
            if beyond <= self.last_step:
                self._try_step(beyond)
        found = next((n for n in range(top, 0, -1) if self._fits(n)), None)
        if found is not None and "memory" in self.budgets:
            found = self._look_above(found)
        if not self._costs_never_fall():
            found = max((n for n in range(1, self.last_step + 1) if self._fits(n)), default=None)
        if found is None:
            smallest = next((n for n in range(1, self.last_step + 1) if self._runs(n)), None)
            return None, None, None, self._try_step(smallest or 1)
        return self._try_step(found), self._find_above(found), self._try_step(found - 1) if found > 1 else None, None

    def _look_above(self, found: int) -> int:
        """The largest that fits of some above, too: memory falls where more ends just inside a segment."""
        left, jumps = int(LOOKED_ABOVE * len(self.tried_steps)), iter(JUMPS)
        while (
            left > 0 and self._lacks_memory(found + 1) and (n := found + next(jumps, self.last_step)) < self.last_step
        ):
            left -= 1
            if self._fits(n):
                found, jumps = n, iter(JUMPS)
        return next(n for n in range(found, self.last_step + 1) if n == self.last_step or not self._fits(n + 1))

    def _lacks_memory(self, n: int) -> bool:
        """Whether that is all there is against it."""
        step = self._try_step(n)
        return step.problem is None and step.find_overruns(self.budgets).keys() == {"memory"}

    def describe_edge(self, found: FitStep | None) -> tuple[int | None, FitStep | None]:
        """`larger` and `gap` of `Fit`."""
        if found is None or found.value == self.last_step or not self._lacks_memory(found.value + 1):
            return None, None
        needed = [step.costs["memory"] for _, step in sorted(self.tried_steps.items()) if step.costs]
        if all(one * (1 - PRECISION) <= other for one, other in pairwise(needed)):
            return None, None
        gaps = [n for n in self.tried_steps if n < found.value and self._lacks_memory(n)]
        return sum(n > found.value for n in self.tried_steps), self._try_step(max(gaps)) if gaps else None

    def _find_top(self) -> int:
        """A setting that breaks no budget while the next one does; costs up to a failure count as lower bounds."""
        low, high = 0, 1
        while high <= self.last_step and not self._breaks(high):
            low, high = high, 2 * high
        high = min(high, self.last_step + 1)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self._breaks(middle) else (middle, high)
        return low

    def _find_above(self, found: int) -> FitStep | None:
        """The next larger setting that runs, or else the next larger; of refused ones none larger runs."""
        near = range(found + 1, min(found + MAX_STEPS_ABOVE, self.last_step) + 1)
        refused = bool(near) and self._try_step(found + 1).refused
        running = None if refused else next((n for n in near if self._runs(n)), None)
        return self._try_step(running or found + 1) if near else None

    def _costs_never_fall(self) -> bool:
        """Whether no cost falls from one tried setting to the next; what is predicted does a little, here and there."""
        counted = self.budgets.keys() - {"memory", "latency"}
        run = [step.costs for _, step in sorted(self.tried_steps.items()) if step.problem is None and step.costs]
        return all(a[key] <= b[key] for a, b in pairwise(run) for key in counted)

    def _fits(self, n: int) -> bool:
        return self._runs(n) and not self._breaks(n)

    def _runs(self, n: int) -> bool:
        return not self.surely_fails(n) and self._try_step(n).problem is None

    def _breaks(self, n: int) -> bool:
        step = self._try_step(n)
        return step.refused or bool(step.find_overruns(self.budgets))

    def _try_step(self, n: int) -> FitStep:
        self.tried_steps[n] = self.try_at(n)
        return self.tried_steps[n]
